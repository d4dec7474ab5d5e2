"""Fetching a real list, in which many hosts are dead, slow or odd: a whole build against img2dataset.

A server on loopback (`pipeline.smallweb.trouble`) answers after 0.3 s with thumbnails; every address is a host of its
own. Ours is `pairmill build` with the list as its input: robots.txt, default settings, all stages, no CLIP model. The
peer is img2dataset with 2 processes of 256 threads, the same list and server, images stored as served as ours are.
Both have the same names (`web.resolve`; the peer's `socket.getaddrinfo` is replaced), and run in turn.

    python benchmarks/longtail.py [--case dead] [--scale 1.0] [--rounds 1] [--timeout 600] [--set fetch.lanes=2]

    fine     2,000 hosts with 3 images
    limited  the same, where a process may have 1,024 files open; ours once without the limit, to compare the outcomes
    dead     the same and 150 hosts that accept and never answer, and 50 that refuse
    small    31 hosts with 3 images, one of which refuses; the same at every scale
    mixed    1,000 hosts with one image, one host with 1,000, and a fifth of all hosts in trouble, of every kind

From the server's log: seconds from the first request until 99% of the reachable images were answered
(``reachable_s``), until the last was (``big_host_s``: of the host with 1,000, whose end is set by the rate that we
allow ourselves, so that it is not in the 99%), the most connections, and what a host saw. ``end_s``: until fetch
committed its last part, or the peer ended. ``wall_s``, CPU, sockets and memory (PSS) are those of the whole command and
its children. A command that is not done after ``--timeout`` is killed, and ``timed_out``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CASES = ("fine", "limited", "dead", "small", "mixed")
LATENCY_S = 0.3
HOSTS, IMAGES_A_HOST = 2000, 3
SILENT_HOSTS, REFUSING_HOSTS = 150, 50
MIXED_HOSTS = 1000
PEER_PROCESSES, PEER_THREADS = 2, 256
FILES_LIMIT = 1024
SAMPLE_S = 0.2  # between two looks at sockets; memory is looked at every fifth time
CONTACT = "mailto:bench@pairmill.example"
CAPTION = "Photograph {} of a {} {} on a {} table"
WORDS = (("red", "blue", "green", "white", "black"), ("cup", "book", "lamp", "clock", "vase"), ("wooden", "round"))


# -- the peer, in a process of its own, whose workers import this file again


def name_hosts(table: dict[str, str]) -> None:
    """Have the names of ``table`` lead to its addresses and ports in this process."""
    ask = socket.getaddrinfo

    def answered(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        address, _, own_port = table.get(host, f"{host}:{port}").rpartition(":")
        return ask(address.strip("[]"), own_port, *rest, **options)

    socket.getaddrinfo = answered


if named := os.environ.get("LONGTAIL_NAMES"):
    name_hosts(json.loads(Path(named).read_text()))


def run_peer(listed: Path, folder: Path) -> None:
    from img2dataset import download

    count = sum(1 for _ in listed.open()) - 1
    download(
        url_list=str(listed),
        input_format="csv",
        url_col="url",
        caption_col="caption",
        output_folder=str(folder),
        output_format="webdataset",
        image_size=512,
        resize_mode="keep_ratio_largest",
        resize_only_if_bigger=True,
        skip_reencode=True,
        processes_count=PEER_PROCESSES,
        thread_count=PEER_THREADS,
        number_sample_per_shard=min(10_000, -(-count // PEER_PROCESSES)),
        enable_wandb=False,
    )


# -- the lists


@dataclass(frozen=True)
class List:
    """Hosts, as kind, number and how many images; ``big`` is the one with very many."""

    hosts: list[tuple[Any, int, int]]
    big: tuple[Any, int] | None = None


def list_of(case: str, scale: float) -> List:
    from pipeline.smallweb.trouble import Trouble

    def hosts(kind: Trouble, count: float, images: int = IMAGES_A_HOST) -> list[tuple[Any, int, int]]:
        return [(kind, number, images) for number in range(round(count))]

    if case == "small":
        return List(hosts(Trouble.FINE, 30) + hosts(Trouble.REFUSED, 1))
    if case == "mixed":
        single, many = hosts(Trouble.FINE, MIXED_HOSTS * scale, 1), round(MIXED_HOSTS * scale)
        kinds = list(Trouble)[1:]
        each = math.ceil((len(single) + 1) / 4 / len(kinds))
        planted = [host for kind in kinds for host in hosts(kind, each)]
        return List([*single, (Trouble.FINE, many, many), *planted], (Trouble.FINE, many))
    fine = hosts(Trouble.FINE, HOSTS * scale)
    if case == "dead":
        fine += hosts(Trouble.SILENT, SILENT_HOSTS * scale) + hosts(Trouble.REFUSED, REFUSING_HOSTS * scale)
    return List(fine)


def caption(number: int) -> str:
    """A caption that no other image has."""
    return CAPTION.format(
        number, *(words[number // 7 ** (place + 1) % len(words)] for place, words in enumerate(WORDS))
    )


@dataclass
class Plan:
    """A list on a server: its files, and what is expected of it."""

    listed: List
    folder: Path
    web: Any
    urls: list[str] = field(default_factory=list)
    reachable: set[str] = field(default_factory=set)  # of hosts but the big one: those that answer with an image
    big: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)


def plan(listed: List, web: Any, folder: Path) -> Plan:
    """Write the list and the names; images are numbered in the order of hosts, the list is in a random order."""
    from pipeline.smallweb.trouble import REACHABLE

    made, number = Plan(listed, folder, web), 0
    for kind, host, images in listed.hosts:
        urls = [web.url(kind, host, number + place) for place in range(images)]
        number += images
        made.urls += urls
        if (kind, host) == listed.big:
            made.big.update(urls)
        elif kind in REACHABLE:
            made.reachable.update(urls)
    made.names = web.resolve((kind, host) for kind, host, _ in listed.hosts)
    rows = [f"{url},{caption(place)}\n" for place, url in enumerate(made.urls)]
    random.Random(0).shuffle(rows)
    (folder / "list.csv").write_text("url,caption\n" + "".join(rows))
    (folder / "names.json").write_text(json.dumps(made.names))
    return made


def ours(plan: Plan, run: Path, bundle: Path, options: argparse.Namespace) -> list[str]:
    """The command of a build."""
    web = plan.web
    config = {
        "extract": {"inputs": [str(plan.folder / "list.csv")]},
        "web": {
            "contact": CONTACT,
            "allow_networks": ["127.0.0.0/8", "100::/64", "fe80::/10"],
            "allow_ports": [web.http, web.tls, web.refused],
            "ca_file": str(bundle),
            "resolve": plan.names,
        },
    }
    (plan.folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    command = [str(Path(sys.executable).with_name("pairmill")), "build", f"--run={run}", "-c"]
    command += [str(plan.folder / "config.yaml")]
    command += [f"--until={options.until}"] if options.until else []
    return command + [f"--set={setting}" for setting in options.set]


def peer(plan: Plan, out: Path) -> list[str]:
    return [sys.executable, __file__, "--peer", str(plan.folder / "list.csv"), str(out)]


# -- what a command takes


@dataclass
class Taken:
    """What a command and its children took."""

    ended_at: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    sockets: int = 0
    pss_mb: int = 0
    timed_out: bool = False


def watched(command: list[str], output: Path, files: int | None, timeout_s: float, env: dict[str, str]) -> Taken:
    """Run a command in a session of its own, at most ``timeout_s``; its output goes to a file."""
    if files:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    taken, begun, looks = Taken(), time.time(), 0
    with output.open("w") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=stream, env=env, start_new_session=True)
        try:
            while True:
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    break
                if time.time() - begun > timeout_s and not taken.timed_out:
                    taken.timed_out = True
                    end_session(child.pid)
                look(child.pid, taken, memory=looks % 5 == 0)
                looks += 1
                time.sleep(SAMPLE_S)
        finally:
            end_session(child.pid)
    child.returncode = os.waitstatus_to_exitcode(status)
    taken.ended_at, taken.wall_s = time.time(), time.time() - begun
    # At the end nobody is told of processes that Java has started; the looks have seen them.
    taken.cpu_s = max(taken.cpu_s, usage.ru_utime + usage.ru_stime)
    if child.returncode:
        print(output.read_text()[-2000:], file=sys.stderr)
    return taken


def session(leader: int) -> dict[int, list[str]]:
    """The processes of a session, each with the fields of its ``stat`` from the state on."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found[int(name)] = fields
    return found


def end_session(leader: int) -> None:
    for pid in session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def look(leader: int, taken: Taken, memory: bool) -> None:
    """Count the sockets of a session now, and its CPU and memory."""
    sockets, pss_kb, ticks = 0, 0, 0
    for pid, fields in session(leader).items():
        ticks += sum(map(int, fields[11:15]))  # its own, and of children that it has waited for
        with suppress(OSError):
            sockets += sum(link.startswith("socket:") for link in descriptors(pid))
            if memory:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                pss_kb += int(text.partition("\nPss:")[2].split(None, 1)[0])
    taken.sockets = max(taken.sockets, sockets)
    taken.pss_mb = max(taken.pss_mb, pss_kb // 1024)
    taken.cpu_s = max(taken.cpu_s, ticks / os.sysconf("SC_CLK_TCK"))


def descriptors(pid: int) -> Iterator[str]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{name}")


# -- what came of it


def outcomes_of(run: Path) -> tuple[dict[str, str], float | None]:
    """The outcome by url_id, and when the last part was committed."""
    from pipeline.core.parts import committed, files_of
    from pipeline.core.storage import open_storage
    from pipeline.core.tables import read_file
    from schemas.fetch import STORE

    storage = open_storage(str(run))
    files = files_of(committed(storage, "fetch"), "rows")
    rows = [row for file in files for row in read_file(storage, file, STORE.names).to_pylist()]
    records = [path.stat().st_mtime for path in (run / "fetch" / "parts").glob("*.json")]
    return {row["url_id"]: row["outcome"] for row in rows}, max(records, default=None)


def peer_outcomes(out: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in out.glob("*_stats.json"):
        found.update(json.loads(path.read_text())["status_dict"])
    return found


def seen(log: Path, plan: Plan) -> dict[str, Any]:
    """What the server saw of one side."""
    from pipeline.smallweb.trouble import read_log

    requests = read_log(log)
    if not requests:
        return {"begun_at": None, "reachable_s": None, "big_host_s": None, "connections": 0, "requests": 0}
    begun = min(request.asked_at for request in requests)
    answered: dict[str, float] = {}
    times: dict[str, list[float]] = defaultdict(list)
    for request in requests:
        times[request.host].append(request.asked_at)
        if request.status == 200:
            answered.setdefault(request.host + request.path, request.asked_at + request.waited_s - begun)

    def until(urls: set[str], share: float) -> float | None:
        """When ``share`` of these were answered."""
        at = sorted(answered[name] for url in urls if (name := url.partition("://")[2]) in answered)
        needed = math.ceil(share * len(urls))
        return round(at[needed - 1], 1) if 0 < needed <= len(at) else None

    return {
        "begun_at": begun,
        "reachable_s": until(plan.reachable, 0.99),
        "big_host_s": until(plan.big, 1.0),
        "connections": max(request.connections for request in requests),
        "requests": len(requests),
        "most_in_a_second": max(map(most_in_a_second, times.values())),
        "most_open": max(request.open_here for request in requests),
    }


def most_in_a_second(times: list[float]) -> int:
    """The most of ``times`` within a second that begins with one of them."""
    times = sorted(times)
    first, most = 0, 0
    for place, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, place - first + 1)
    return most


# -- the benchmark


@dataclass
class Setting:
    """What all runs of a case share."""

    case: str
    folder: Path
    images: Path
    certificates: tuple[Path, Path, Path]  # certificate, key, and the bundle that clients trust
    options: argparse.Namespace
    listed: List
    ports: Any = None  # of the first server; the URLs of all runs are the same

    @property
    def files(self) -> int | None:
        return FILES_LIMIT if self.case == "limited" else None


def run_side(side: str, setting: Setting, files: int | None) -> tuple[dict[str, Any], dict[str, str]]:
    """One run of a side against a fresh server: its figures and, of ours, the outcomes by url_id."""
    from pipeline.smallweb.trouble import serving_trouble

    with tempfile.TemporaryDirectory(dir=setting.folder) as name:
        folder = Path(name)
        log, out = folder / "requests.tsv", folder / "out"
        log.touch()
        cert, key, bundle = setting.certificates
        with serving_trouble([setting.images], LATENCY_S, log, (cert, key), setting.ports) as web:
            setting.ports = web
            made = plan(setting.listed, web, folder)
            command = ours(made, out, bundle, setting.options) if side == "ours" else peer(made, out)
            env = os.environ | {
                "NO_ALBUMENTATIONS_UPDATE": "1",
                "SSL_CERT_FILE": str(bundle),
                "LONGTAIL_NAMES": str(folder / "names.json"),
                "PYTHONPATH": str(Path(__file__).parents[1]),
            }
            taken = watched(command, folder / "output.txt", files, setting.options.timeout, env)
        by_url, ended_at = outcomes_of(out) if side == "ours" else ({}, taken.ended_at)
        if taken.timed_out and len(by_url) < len(made.urls):
            ended_at = None
        outcomes = Counter(by_url.values()) if side == "ours" else peer_outcomes(out)
        return figures_of(seen(log, made), taken, outcomes, ended_at), by_url


def figures_of(seen: dict[str, Any], taken: Taken, outcomes: Counter[str], ended_at: float | None) -> dict[str, Any]:
    """What is printed of one run."""
    begun_at, images = seen.pop("begun_at"), outcomes["ok"] + outcomes["success"]
    return seen | {
        "end_s": round(ended_at - begun_at, 1) if begun_at and ended_at else None,
        "wall_s": round(taken.wall_s, 1),
        "timed_out": taken.timed_out,
        "images": images,
        "cpu_ms_an_image": round(1000 * taken.cpu_s / images, 1) if images else None,
        "sockets": taken.sockets,
        "pss_mb": taken.pss_mb,
        "outcomes": dict(outcomes.most_common(20)),
    }


def middle(values: list[Any]) -> Any:
    """The median of rounds; null, which is "never", is the longest."""
    if isinstance(values[0], dict):
        return values[-1]
    if any(isinstance(value, bool) for value in values):
        return any(values)
    found = median(math.inf if value is None else value for value in values)
    return None if found == math.inf else round(found, 1) if isinstance(found, float) else found


def compare(setting: Setting) -> dict[str, Any]:
    """Both sides of a case in turn."""
    options, rounds = setting.options, {side: [] for side in ("ours", "img2dataset")}
    unlimited = run_side("ours", setting, None)[1] if setting.case == "limited" else None
    urls = sum(images for *_, images in setting.listed.hosts)
    equal = unlimited is not None and len(unlimited) == urls  # two that did nothing are not the same
    for _ in range(options.rounds):
        for side in rounds:
            figures, by_url = run_side(side, setting, setting.files)
            rounds[side].append(figures)
            if side == "ours" and unlimited is not None:
                equal &= by_url == unlimited
    sides = {
        side: {name: middle([figures.get(name) for figures in found]) for name in found[-1]}
        for side, found in rounds.items()
    }
    goals = goals_of(setting, sides) | ({"same_without_limit": equal} if unlimited is not None else {})
    hosts = setting.listed.hosts
    return {
        "benchmark": "longtail",
        "case": setting.case,
        "scale": options.scale,
        "hosts": len(hosts),
        "urls": urls,
        "rounds": options.rounds,
        "latency_s": LATENCY_S,
        "settings": options.set,
        "until": options.until,
        **{name if name == "ours" else "peer": figures for name, figures in sides.items()},
        "goals": goals,
        "goal_met": all(goals.values()),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def goals_of(setting: Setting, sides: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """What is wanted of ours, and whether it is so."""
    from pipeline.stages.fetch.config import Config

    mine, theirs, limits = sides["ours"], sides["img2dataset"], Config()

    def no_later(value: float | None, limit: float | None) -> bool:
        return value is not None and (limit is None or value <= limit)

    goals = {
        "done_in_time": not mine["timed_out"],
        "reachable_no_later": no_later(mine["reachable_s"], theirs["reachable_s"]),
        "polite": bool(mine["requests"])
        and mine["most_in_a_second"] <= limits.rate_per_host + 1
        and mine["most_open"] <= limits.per_host,
    }
    if setting.case == "dead":
        goals["end"] = no_later(mine["end_s"], theirs["end_s"] and 1.2 * theirs["end_s"])
    if setting.listed.big:
        images = max(images for *_, images in setting.listed.hosts)
        goals["big_host"] = no_later(mine["big_host_s"], 1.2 * images / limits.rate_per_host + 2 * LATENCY_S)
    return goals


@contextmanager
def prepared() -> Iterator[tuple[Path, Path, tuple[Path, Path, Path]]]:
    """A folder with certificates, and a tar of thumbnails: Flickr8k's, or noise where these are missing."""
    from fetch import certificates  # the benchmark beside this one

    from pipeline.smallweb.trouble import HOSTS_PER_RANGE, Trouble, address_of

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trusted = certificates(
            folder, "bundle", [address_of(Trouble.SLOW_TLS, number) for number in range(HOSTS_PER_RANGE)]
        )
        images = SHARED / "flickr8k-images.tar"
        if not images.exists():
            images = folder / "noise.tar"
            write_noise(images)
        yield folder, images, trusted


def write_noise(path: Path) -> None:
    """A tar of 200 JPEGs of 144 pixels."""
    import numpy as np
    from PIL import Image

    with tarfile.open(path, "w") as tar:
        for number in range(200):
            levels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            stream = BytesIO()
            Image.fromarray(levels).resize((144, 144), Image.Resampling.BICUBIC).save(stream, "JPEG")
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = stream.tell()
            stream.seek(0)
            tar.addfile(member, stream)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of hosts, but those of `small`")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="of one command")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of our build")
    parser.add_argument("--until", metavar="STAGE", help="end our build after this stage")
    parser.add_argument("--peer", nargs=2, type=Path, metavar=("LIST", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        run_peer(*options.peer)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no command outlives this one
    with prepared() as shared:
        for case in options.case or CASES:
            setting = Setting(case, *shared, options, list_of(case, options.scale))
            print(json.dumps(compare(setting)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
