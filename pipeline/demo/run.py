"""`pairmill demo`: a crawl becomes a corpus, the corpus a model, the model a filter, the better corpus a better model.

    ROOT/web/      the small web and the log of its server (web.py)
    ROOT/a/        run A: the old hosts and the judge's, whose pairs a user's rule keeps out of the corpus
    ROOT/model-a/  a nano CLIP trained on corpus A
    ROOT/b/        run B: new hosts, a fifth of whose captions are wrong, with model A as the CLIP filter
    ROOT/model-b/  the same nano trained on both corpora
    ROOT/scores.json

Source of the filter's idea: Fang et al., "Data Filtering Networks", 2023. The next call skips every finished step, so
it resumes a stopped demo.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from pipeline import audit, funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.ids import key_of
from pipeline.core.manifest import Manifest, read_manifest
from pipeline.core.progress import Reporter
from pipeline.core.run import Run
from pipeline.core.storage import LocalStorage, Storage, meant, open_storage
from pipeline.demo import show
from pipeline.demo.judge import scored_by_build, scored_now
from pipeline.demo.models import measure
from pipeline.demo.outcome import Filter, Model, Outcome, steps_between
from pipeline.demo.score import FilterScore, score
from pipeline.demo.size import Size
from pipeline.demo.web import LOG, judge_host, new_hosts, old_hosts, require_site
from pipeline.evaluation.separation import separation
from pipeline.smallweb.held_out import HELD_OUT
from pipeline.smallweb.server import serving
from pipeline.smallweb.site import SiteSpec
from pipeline.smallweb.truth import Truth, read_truth
from pipeline.training.account import TrainResult
from pipeline.training.config import TrainConfig
from pipeline.training.loop import train
from pipeline.vision.clip_model import load

PRESET = "demo"
SCORES = "scores.json"
OURS = {"web", "a", "b", "model-a", "model-b", SCORES}
HELD_BACK = "user:judges_host"  # the reason of the rule that keeps the judge's pairs out of corpus A
KEPT_RIGHT = 0.99  # share of the judge's right captions that the moved threshold keeps
FEWER_PLACEHOLDERS = {"dedup.placeholder_images": 8, "dedup.placeholder_captions": 8}  # run B is that much smaller
MAX_WARMUP = 150  # steps; a quarter of a short training
MODEL_BATCH = 64
# Many small jobs on few rows: compiling well costs more than it saves.
SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def run_demo(
    location: str, size: Size, sets: Sequence[str], seed: int, reporter: Reporter, console: Console
) -> Outcome:
    """Run every step and print its result; a second call skips finished steps."""
    begun = time.monotonic()
    storage = open_storage(location)
    if not isinstance(storage, LocalStorage):
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"--run {location} is not a local folder; the demo needs one")
    root = Path(storage.root)
    if strangers := set(map(meant, storage.entries())) - OURS:
        raise InputError(
            ErrorCode.OUTPUT_EXISTS, f"{root} is not a demo folder: it contains {min(strangers)}; choose another --run"
        )
    os.environ.setdefault("SPARK_SUBMIT_OPTS", SHORT_LIVED_JVM)
    spec = size.spec(seed)
    site = require_site(root / "web", spec, reporter)
    with serving(site, root / "web" / LOG) as resolve:
        demo = Demo(root, size, spec, site, resolve, sets, reporter, console, begun, audited_before(storage))
        a = demo.first_run()
        filters = {"a": demo.shown("a", a, demo.filters_of_first)}
        model_a = demo.train("model-a", "a")
        b, clip_filter = demo.second_run(a, model_a)
        filters["b"] = demo.shown("b", b, demo.filters_of_second)
        show.clip_filter(clip_filter, console)
        model_b = demo.train("model-b", "a", "b")
    models = {"A": demo.measured(model_a, "a"), "A and B": demo.measured(model_b, "a", "b")}
    outcome = Outcome({name: result_of(run) for name, run in (("a", a), ("b", b))}, filters, clip_filter, models)
    storage.replace(SCORES, outcome.as_json())
    show.models(models, console)
    console.print(f"time: {time.monotonic() - begun:.0f} s")
    return outcome


def result_of(run: Run) -> str:
    """A digest of the published results of a run's stages."""
    manifests = [run.manifest(stage.name) for stage in funnel.STAGES]
    return key_of(*(text for manifest in manifests for text in (manifest.result, manifest.decide_key)))


def audited_before(storage: Storage) -> dict[str, str]:
    """Results of runs that an earlier call checked, by name."""
    if not storage.exists(SCORES):
        return {}
    found: dict[str, str] = json.loads(storage.read(SCORES))["runs"]
    return found


def _audit(run: Run) -> None:
    """Check the run and write the report; StageError for the first finding."""
    account, findings = audit.funnel_table(run), audit.check(run)
    audit.write_report(run, account, findings)
    for finding in (*findings, *account.broken):
        raise finding.error()


@dataclass(frozen=True)
class Demo:
    """One demo: its folder, its web, and how it reports."""

    root: Path
    size: Size
    spec: SiteSpec
    site: Path
    resolve: dict[str, str]
    sets: Sequence[str]
    reporter: Reporter
    console: Console
    begun: float  # monotonic seconds
    audited: Mapping[str, str]  # results of runs that an earlier call checked

    def first_run(self) -> Run:
        """Run A: the old hosts and the judge's; pairs of the judge's host are measured but kept out of the corpus."""
        host = judge_host(self.spec)
        name = HELD_BACK.removeprefix("user:")
        rule = {"stage": "select", "name": name, "drop_when": f"page_url like 'http://{host}/%'"}
        return self._build("a", [*old_hosts(self.spec), host], {"rules": [rule]})[0]

    def second_run(self, first: Run, model: TrainResult) -> tuple[Run, Filter]:
        """Run B, filtered by a model that has seen none of its images; then built again with the threshold moved."""
        loaded = load(str(model.model), batch_size=MODEL_BATCH)
        known = scored_now(first, HELD_BACK, loaded, self.truths([judge_host(self.spec)]))
        chosen, moved = (
            round(separation(known.right, known.wrong, recall).threshold, 4) for recall in (None, KEPT_RIGHT)
        )
        hosts = new_hosts(self.spec)
        settings = {"clip.model": str(model.model), **FEWER_PLACEHOLDERS}
        if self._published("b")["export"] is None or not model.up_to_date:
            self._build("b", hosts, settings | {"clip.min_score": chosen})
        before = self._published("b")
        begun = time.monotonic()
        run, after = self._build("b", hosts, settings | {"clip.min_score": moved})
        seconds = time.monotonic() - begun
        unseen = scored_by_build(run, self.truths(hosts))
        return run, Filter(known, unseen, chosen, moved, steps_between(before, after), seconds)

    def shown(self, name: str, run: Run, scored: Callable[[Run], list[FilterScore]]) -> list[FilterScore]:
        """Print a run, its check and its filters compared with the truth; from here on the report exists."""
        if self.audited.get(name) != result_of(run):
            _audit(run)
        seconds = time.monotonic() - self.begun
        self.console.print(f"\nrun {name}: {run.storage.root}", soft_wrap=True)
        audit.print_funnel(audit.funnel_table(run), self.console)
        self.console.print("check: all files, verdicts and counts agree")
        self.console.print(f"report, after {seconds:.0f} s: {run.storage.where('audit/report.html')}\n", soft_wrap=True)
        filters = scored(run)
        show.filters(filters, self.console)
        return filters

    def train(self, name: str, *runs: str) -> TrainResult:
        """A nano CLIP on the corpora of these runs."""
        pairs = sum(manifest.kept for run in runs if (manifest := self._published(run)["export"]))
        config = TrainConfig(
            data=self._corpora(runs),
            output=str(self.root / name),
            overwrite=True,
            batch_size=min(self.size.batch_size, pairs),
            steps=self.size.steps,
            warmup_steps=min(MAX_WARMUP, self.size.steps // 4),
        )
        return train(config, self.reporter)

    def measured(self, model: TrainResult, *runs: str) -> Model:
        """The model, trained on the corpora of these runs, on held-out scenes."""
        found = measure(self.site / HELD_OUT, load(str(model.model), batch_size=MODEL_BATCH), self._corpora(runs))
        return Model(model.samples, model.steps, found)

    def filters_of_first(self, run: Run) -> list[FilterScore]:
        """Run A compared with the truth; pairs that only the rule for the judge's host drops have its fate."""
        host = judge_host(self.spec)
        fate = f"select/dropped/{HELD_BACK}"
        truths = self.truths([*old_hosts(self.spec), host])
        return score(truths, run, lambda truth: fate if urlsplit(truth.page_url).netloc == host else None)

    def filters_of_second(self, run: Run) -> list[FilterScore]:
        """Run B compared with the truth."""
        return score(self.truths(new_hosts(self.spec)), run)

    def truths(self, hosts: Sequence[str]) -> list[Truth]:
        """What was planted on these page hosts."""
        return [truth for truth in read_truth(self.site) if urlsplit(truth.page_url).netloc in hosts]

    def _corpora(self, runs: Sequence[str]) -> list[str]:
        return [str(self.root / run / "corpus") for run in runs]

    def _published(self, name: str) -> dict[str, Manifest | None]:
        """The manifests of a run by stage."""
        storage = open_storage(str(self.root / name))
        return {stage.name: read_manifest(storage, stage.name) for stage in funnel.STAGES}

    def _build(self, name: str, hosts: Sequence[str], settings: dict[str, Any]) -> tuple[Run, dict[str, Manifest]]:
        """Bring a run up to date; its seeds are the first pages of ``hosts``."""
        given = {"web.resolve": self.resolve, "crawl.seeds": [f"http://{host}/" for host in hosts]}
        given |= {**self.size.settings, **settings}
        ours = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        config = load_config(funnel.Config, preset=PRESET, sets=[*ours, *self.sets])
        self.reporter.line(f"run {name}: {self.root / name}")
        run = funnel.open_run(str(self.root / name), config, self.reporter)
        return run, {manifest.stage: manifest for manifest in funnel.build(run)}
