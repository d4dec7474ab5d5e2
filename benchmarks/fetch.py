"""Fetching images: a lane of ours against img2dataset, the same addresses, the same resize mode, a tar of each.

Images come from a server on loopback, on a core of its own; the client has the other core. Ours is a fetch lane as
Spark runs it (`pipeline.stages.fetch.image_lane`): robots.txt, opt-outs, vetting of every byte, sha256, perceptual
hashes and the decoding child included, then what it stored is packed into a tar (`pipeline.stages.export.shard`). The
peer is img2dataset's own Downloader on img2dataset's own shards, called without its process pool so that its CPU can be
read, and imagehash.phash of every image in its tars: it hashes nothing by itself. ``ratio_without_hashes`` leaves
imagehash out, though ours hashes; so do images per second.

Each side runs in a fresh process, for FEW and for MANY images; what is printed is the slope between the two: the
start of a process, of imports and of the child cancel out (they are printed as ``start_cpu_s``). CPU is user and
system time of the process and its children. Rounds are interleaved.

    python benchmarks/fetch.py [--rounds 3] [--images 1000] [--case photos] [--memory 10000]

``https`` cases: a full bundle of certificate authorities (``bundle``), or one certificate alone (``one``).
``--memory N`` fetches N thumbnails a side instead and prints the most memory that each side's processes had resident.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import os
import platform
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SIDE = 256
FEW = 100
SERVER_CORE, CLIENT_CORE = 1, 0


@dataclass(frozen=True)
class Case:
    """Which images over what, and the ratio that is wanted."""

    images: str  # photos, enlarged, thumbnails
    tls: str  # "", "bundle", "one"
    goal: float


CASES = {
    "photos": Case("photos", "", 1.5),
    "enlarged": Case("enlarged", "", 2.0),
    "thumbnails": Case("thumbnails", "", 1.3),
    "thumbnails_https_bundle": Case("thumbnails", "bundle", 5.0),
    "thumbnails_https_one": Case("thumbnails", "one", 1.3),
}


# -- the two sides, each in a process of its own


def ours(urls: list[str], folder: Path) -> None:
    """A lane over ``urls``, then a shard of what it stored."""
    import pyarrow as pa

    from pipeline.core.parts import committed, files_of
    from pipeline.core.storage import open_storage
    from pipeline.core.tables import read_file
    from pipeline.stages.export.shard import write_shard
    from pipeline.stages.fetch.config import Config
    from pipeline.stages.fetch.image_lane import run_fetch_lane
    from pipeline.web.config import WebConfig
    from schemas.export import CORPUS
    from schemas.fetch import STORE

    storage = open_storage(str(folder / "run"))
    config = Config(image_size=SIDE, resize_mode="keep_ratio", enlarge=True, per_host=32, rate_per_host=0.0)
    port = int(urls[0].split("/")[2].rpartition(":")[2])
    web = WebConfig(contact="mailto:bench@pairmill.example", allow_networks=["127.0.0.0/8"], allow_ports=[port])
    rows = [
        {"url_id": f"{n:032x}", "request_url": url, "try_number": 1, "host": "127.0.0.1", "share": 1, "boxes": None}
        | {"origin": f"{urls[0].rpartition('/')[0]}", "alternate_url": None}
        for n, url in enumerate(urls)
    ]
    list(run_fetch_lane(iter([pa.RecordBatch.from_pylist(rows)]), storage, frozenset(), "key", config, web))
    stored = [
        row
        for record in files_of(committed(storage, "fetch"), "rows")
        for row in read_file(storage, record, STORE.names).to_pylist()
    ]
    failed = [row["outcome"] for row in stored if row["outcome"] != "ok"]
    if failed or len(stored) != len(urls):
        raise SystemExit(f"fetch: {len(stored)} of {len(urls)} images answered, not ok: {failed[:3]}")
    nothing = dict.fromkeys(CORPUS.names)
    samples = [
        nothing | row | {"pair_id": row["url_id"], "image_url": row["request_url"], "caption": "an image"}
        for row in stored
    ]
    write_shard(storage, 0, sorted(samples, key=lambda sample: sample["pair_id"]))


def img2dataset(urls: list[str], folder: Path) -> None:
    """img2dataset's worker on its shards."""
    from img2dataset import download

    def without_pool(processes_count: int, downloader: Any, reader: Any, *_: Any) -> None:
        for shard in reader:
            downloader(shard)

    sys.modules["img2dataset.main"].multiprocessing_distributor = without_pool
    listed = folder / "urls.txt"
    listed.write_text("".join(f"{url}\n" for url in urls))
    download(
        url_list=str(listed),
        input_format="txt",
        output_folder=str(folder / "out"),
        output_format="webdataset",
        image_size=SIDE,
        resize_mode="keep_ratio",
        resize_only_if_bigger=False,
        processes_count=1,
        thread_count=32,
        number_sample_per_shard=10_000,
        enable_wandb=False,
    )
    done = sum(json.loads(path.read_text())["successes"] for path in (folder / "out").glob("*_stats.json"))
    if done != len(urls):
        raise SystemExit(f"img2dataset: {done} of {len(urls)} images")


def hash_stored(folder: Path) -> None:
    """The perceptual hash of every image that img2dataset stored, as its users make it."""
    import imagehash
    from PIL import Image

    for path in sorted((folder / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    imagehash.phash(Image.open(tar.extractfile(member)))


def cpu_s() -> float:
    """User and system time of this process and the children that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run_side(side: str, count: int, port: int, scheme: str) -> None:
    """Run one side and print what it took. Whom TLS trusts comes to both by SSL_CERT_FILE."""
    urls = [f"{scheme}://127.0.0.1:{port}/{n}.jpg" for n in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        {"ours": ours, "img2dataset": img2dataset}[side](urls, Path(folder))
        wall, without_hashes = time.perf_counter() - begun, cpu_s()
        if side == "img2dataset":
            hash_stored(Path(folder))
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        "\n"
        + json.dumps(
            {
                "cpu_s": cpu_s(),
                "without_hashes_cpu_s": without_hashes,
                "wall_s": wall,
                "child_cpu_s": usages[1].ru_utime + usages[1].ru_stime,
                "rss_mb": [round(usage.ru_maxrss / 1024) for usage in usages],
            }
        )
    )


# -- the benchmark


@contextmanager
def images(kind: str) -> Iterator[Path]:
    """A tar of ``kind``: the photographs, twice their size, or Flickr8k's thumbnails."""
    if kind == "thumbnails":
        yield SHARED / "flickr8k-images.tar"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{kind}.tar"
        with tarfile.open(SHARED / "photos.tar") as source, tarfile.open(path, "w") as tar:
            for member in source:
                if not member.name.endswith(".jpg"):
                    continue
                data = source.extractfile(member).read()
                data = enlarged(data) if kind == "enlarged" else data
                info = tarfile.TarInfo(member.name)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
        yield path


def enlarged(data: bytes) -> bytes:
    """The photograph at twice its size."""
    from PIL import Image

    picture = Image.open(BytesIO(data)).convert("RGB")
    stream = BytesIO()
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def certificates(folder: Path, kind: str, addresses: Sequence[str] = ("127.0.0.1",)) -> tuple[Path, Path, Path]:
    """A certificate for some addresses, its key, and the bundle that clients trust."""
    import certifi
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(each)) for each in addresses])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert, secret, bundle = (folder / name for name in ("cert.pem", "key.pem", "bundle.pem"))
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    bundle.write_bytes((Path(certifi.where()).read_bytes() if kind == "bundle" else b"") + cert.read_bytes())
    return cert, secret, bundle


def measured(side: str, count: int, port: int, tls: str, bundle: Path | None) -> dict[str, Any]:
    """One run of a side in a fresh process on the client's core."""
    environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    if bundle:
        environment["SSL_CERT_FILE"] = str(bundle)
    scheme = "https" if tls else "http"
    command = [
        "taskset",
        "-c",
        str(CLIENT_CORE),
        sys.executable,
        __file__,
        "--side",
        side,
        "--images",
        str(count),
        "--port",
        str(port),
        "--scheme",
        scheme,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def serving(case: Case) -> Iterator[tuple[int, Path | None]]:
    """The server of a case: its port, and the bundle that its clients trust."""
    from pipeline.smallweb.image_web import serving_images

    with tempfile.TemporaryDirectory() as folder, images(case.images) as tar:
        cert, key, bundle = certificates(Path(folder), case.tls) if case.tls else (None, None, None)
        pair = (cert, key) if cert and key else None
        with serving_images([tar], tls=pair, prefix=["taskset", "-c", str(SERVER_CORE)]) as port:
            yield port, bundle


def compare(name: str, count: int, rounds: int) -> dict[str, Any]:
    """Both sides of a case in turn: milliseconds of CPU an image, images a second, and their ratio."""
    case = CASES[name]
    cpu: dict[str, list[float]] = {"ours": [], "img2dataset": []}
    speed: dict[str, list[float]] = {"ours": [], "img2dataset": []}
    start: dict[str, float] = {}
    of_child: list[float] = []  # ours: what decoding, resizing and measuring takes
    without_hashes: list[float] = []  # the peer's, without imagehash
    with serving(case) as (port, bundle):
        for _ in range(rounds):
            for side in cpu:
                few, many = (measured(side, n, port, case.tls, bundle) for n in (FEW, FEW + count))
                cpu[side].append((many["cpu_s"] - few["cpu_s"]) / count)
                speed[side].append(count / (many["wall_s"] - few["wall_s"]))
                if side == "ours":
                    of_child.append((many["child_cpu_s"] - few["child_cpu_s"]) / count)
                else:
                    without_hashes.append((many["without_hashes_cpu_s"] - few["without_hashes_cpu_s"]) / count)
                start[side] = few["cpu_s"] - FEW * cpu[side][-1]
    ratios, bare = (
        [theirs / mine for mine, theirs in zip(cpu["ours"], peer, strict=True)]
        for peer in (cpu["img2dataset"], without_hashes)
    )
    return {
        "benchmark": "fetch",
        "case": name,
        "images": count,
        "rounds": rounds,
        "cpu_ms": round(1000 * median(cpu["ours"]), 2),
        "child_cpu_ms": round(1000 * median(of_child), 2),
        "images_per_s": round(median(speed["ours"]), 1),
        "peer": "img2dataset and imagehash",
        "peer_cpu_ms": round(1000 * median(cpu["img2dataset"]), 2),
        "peer_images_per_s": round(median(speed["img2dataset"]), 1),
        "ratio": round(median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "ratio_without_hashes": round(median(bare), 2),
        "goal": case.goal,
        "goal_met": median(ratios) >= case.goal,
        "start_cpu_s": {side: round(seconds, 1) for side, seconds in start.items()},
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def memory(count: int) -> dict[str, Any]:
    """The most that each side had resident over ``count`` thumbnails: of its process, of its largest child."""
    with serving(CASES["thumbnails"]) as (port, _):
        most = {side: measured(side, count, port, "", None)["rss_mb"] for side in ("ours", "img2dataset")}
    return {
        "benchmark": "fetch",
        "images": count,
        "rss_mb": most["ours"],
        "peer": "img2dataset",
        "peer_rss_mb": most["img2dataset"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--memory", type=int, metavar="N")
    parser.add_argument("--side", choices=["ours", "img2dataset"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scheme", default="http", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.images, options.port, options.scheme)
        return 0
    missing = [name for name in ("photos.tar", "flickr8k-images.tar") if not (SHARED / name).exists()]
    if missing:
        print(json.dumps({"benchmark": "fetch", "skipped": f"{', '.join(missing)} not in ../shared/data"}))
    elif options.memory:
        print(json.dumps(memory(options.memory)))
    else:
        for name in options.case or CASES:
            print(json.dumps(compare(name, options.images, options.rounds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
