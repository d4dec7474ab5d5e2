"""The command line. Thin: it reads arguments, calls the pipeline and prints; errors are one line and an exit code.

Exit codes: 0 done, 1 a stage failed or an audit found something, 2 the user's input, 130 / 143 ended by a signal.
Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from jobs.extras import require_extra
from jobs.hashes import hashes
from jobs.queries import queries
from jobs.signals import Stopped, StopSignals
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError, PairmillError, ProcessLost, StageError
from pipeline.core.progress import Reporter

app = typer.Typer(
    name="pairmill",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn a piece of the web into an image-text corpus that accounts for every pair.",
)

app.add_typer(queries)
app.add_typer(hashes)

RunFolder = Annotated[str, typer.Option("--run", metavar="DIR", help="the run's folder, or its URL on a store")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="the run's folder")]
ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="YAML config")]
Preset = Annotated[str | None, typer.Option("--preset", metavar="NAME", help="a preset of conf/")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one setting; VALUE is YAML; repeatable")
]
Log = Annotated[
    Literal["text", "json"], typer.Option("--log", metavar="text|json", help="how progress is written to stderr")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="a checkpoint, or a name such as ViT-B/32")]
Templates = Annotated[
    list[str] | None, typer.Option("--template", metavar="TEMPLATE", help="class names go into its {}; repeatable")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(metavar="auto|cpu|cuda", help="where the model runs")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


@app.command()
def build(
    run: RunFolder,
    config: ConfigFile = None,
    preset: Preset = None,
    sets: Sets = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="ask again what may succeed now")] = False,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Bring a run up to date: measure what was never measured, decide, and write the corpus."""
    from pipeline import funnel

    settings = load_config(funnel.Config, preset, config, sets or [])
    opened = funnel.open_run(run, settings, Reporter(log), retry_failed)
    manifests = funnel.build(opened, until)
    last = manifests[-1]
    if last.stage == "export":
        print(f"{last.kept:,} pairs in {opened.storage.where('corpus')}")
    else:
        print(f"{last.keeps.rows:,} {last.keeps.unit}s kept by {last.stage} in {opened.storage.root}")


@app.command()
def audit(
    run: RunArgument,
    check: Annotated[bool, typer.Option("--check", help="prove the account from disk; exit 1 if it fails")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the funnel as JSON on stdout")] = False,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Show what became of every row, as a funnel and as one HTML page; --check proves it."""
    from pipeline import audit as auditing
    from pipeline import funnel

    opened = funnel.open_existing(run, Reporter(log))
    account = auditing.funnel_table(opened)
    findings = auditing.check(opened) if check else []
    if as_json:
        print(json.dumps(auditing.as_json(account, findings), indent=1, sort_keys=True))
    else:
        auditing.print_funnel(account, Console(highlight=False))
        for finding in findings:
            print(finding)
    report = auditing.write_report(opened, account, findings)
    if not as_json:
        print(f"report: {report}")
        if check and not findings:
            print("check: every file, every verdict and every hand-over agree")
    for finding in (*findings, *account.broken):
        raise StageError(finding.code, finding.text)


@app.command()
def why(
    run: RunArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="a pair, image or page: id, sha256 or URL")],
    debug: Debug = False,
) -> None:
    """Say what became of one pair, image or page."""
    from pipeline import audit as auditing
    from pipeline import funnel

    opened = funnel.open_existing(run, Reporter())
    auditing.print_why(auditing.why(opened, key), Console(highlight=False))


@app.command()
def stages(as_markdown: Annotated[bool, typer.Option("--markdown", help="as docs/stages.md has it")] = False) -> None:
    """Print every stage with its unit, columns, settings and reasons, from the code itself."""
    from pipeline import stages_doc

    text = stages_doc.markdown()
    print(text if as_markdown else stages_doc.plain(), end="")


@app.command()
def train(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH", help="a run, corpus, tar or JSON list; repeatable (setting data)"),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="the model's folder (setting output)")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Train a CLIP model on a corpus, or go on with it; docs/training.md has the settings."""
    from pipeline.training.config import TrainConfig
    from pipeline.training.loop import train as run_training

    named = [f"{key}={json.dumps(value)}" for key, value in (("data", data), ("output", out)) if value]
    settings = load_config(TrainConfig, None, config, [*named, *(sets or [])])
    result = run_training(settings, Reporter(log))
    print(f"{result.model} after {result.steps:,} steps on {result.samples:,} pairs, last loss {result.losses[-1]:.4f}")


@app.command()
def evaluate(
    model: ModelArgument,
    data: Annotated[
        list[str], typer.Option("--data", metavar="PATH", help="as for train; for zero-shot a folder of folders")
    ],
    task: Annotated[
        Literal["retrieval", "zero-shot"], typer.Option(metavar="retrieval|zero-shot", help="what is measured")
    ] = "retrieval",
    images: Annotated[str, typer.Option(metavar="DIR", help="folder that the paths of JSON lists begin at")] = "",
    training_data: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="count the test pictures that stand in it; repeatable")
    ] = None,
    require_clean: Annotated[bool, typer.Option("--require-clean", help="refuse where there are any")] = False,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="class names, a line for each folder")] = None,
    template: Templates = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="the result as JSON")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Measure a CLIP model: retrieval on pairs, or zero-shot classification of labelled pictures."""
    from pipeline.evaluation import result as evaluation
    from pipeline.vision.clip_model import load

    loaded = load(model, device)
    if task == "retrieval":
        measured = evaluation.evaluate_retrieval(loaded, data, images, training_data or [], require_clean)
    else:
        measured = evaluation.evaluate_zero_shot(loaded, Path(_only(data)), classes, template or evaluation.TEMPLATES)
    if out:
        measured.write(out)
    print(json.dumps(measured.as_json(), indent=1) if as_json else "\n".join(measured.lines()))


@app.command()
def predict(
    model: ModelArgument,
    pictures: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="pictures")],
    text: Annotated[list[str], typer.Option("--text", metavar="TEXT", help="one of the texts; repeatable")],
    template: Annotated[str, typer.Option(metavar="TEMPLATE", help="what each text is put into, as {}")] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="as JSON on stdout")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Say which of some texts fits each picture, as probabilities among these texts."""
    from pipeline.evaluation.predict import predict as run_predict
    from pipeline.evaluation.predict import print_table
    from pipeline.vision.clip_model import load

    found = run_predict(load(model, device), pictures, text, template)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_table(found, Console(highlight=False))


@app.command()
def demo(
    run: RunFolder = "demo-run",
    full: Annotated[bool, typer.Option("--full", help="corpora three times as large, twice the minutes")] = False,
    sets: Sets = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="good scenes on the hosts of the first corpus")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="steps of each training")] = None,
    seed: Annotated[int, typer.Option(help="seed of the small web")] = 0,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Serve a small web, build a corpus, train on it, filter a second corpus with that model, and measure it all."""
    require_extra("demo")
    from pipeline.demo.run import run_demo
    from pipeline.demo.size import FULL, SMALL

    size = FULL if full else SMALL
    size = replace(size.scaled(scenes) if scenes else size, steps=steps or size.steps)
    run_demo(run, size, sets or [], seed, Reporter(log), Console(highlight=False))


def main(command: str | None = None) -> NoReturn:
    """The console script; with ``command`` the entry point of ``jobs/COMMAND.py``."""
    arguments = ([command] if command else []) + sys.argv[1:] or ["--help"]
    debug = "--debug" in arguments
    signals = StopSignals()
    try:
        app(args=arguments, standalone_mode=False)
        code = 0
    except ProcessLost as error:
        _fail(error.code, error.text, error.exit_code, debug)
        _end_at_once(error.exit_code)
    except PairmillError as error:
        code = _fail(error.code, error.text, error.exit_code, debug)
    except (Stopped, KeyboardInterrupt, typer.Abort):
        code = _fail_stopped(signals.number or signal.SIGINT, debug)
    except typer.Exit as request:
        code = request.exit_code
    except typer.BadParameter as error:
        code = _fail("config_invalid", error.format_message(), 2, debug)
    except Exception as error:  # after a signal: of putting things away, while the JVM was ending as well
        code = _fail_stopped(signals.number, debug) if signals.number else _fail_inside(error, debug)
    sys.stdout.flush()
    sys.exit(code)


def _end_at_once(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _only(data: list[str]) -> str:
    if len(data) != 1:
        raise InputError("config_invalid", f"--data stands {len(data)} times; zero-shot takes one folder")
    return data[0]


def _fail(code: str, text: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"pairmill: error: {code}: {text}", file=sys.stderr)
    return exit_code


def _fail_stopped(number: int, debug: bool) -> int:
    text = "stopped; finished parts are kept, the same command goes on from there"
    if number == signal.SIGINT:
        return _fail("interrupted", text, 130, debug)
    return _fail("terminated", text, 143, debug)


def _fail_inside(error: Exception, debug: bool) -> int:
    """An error of ours that crossed Spark comes back as text; anything else is a fault inside."""
    usage = getattr(error, "format_message", None)
    if usage is not None:  # click's own usage errors
        return _fail("config_invalid", " ".join(usage().split()), 2, debug)
    text = str(error)
    found = re.search(r"pipeline\.core\.errors\.(InputError|StageError): ([a-z_]+): (.*)", text)
    if found:
        kind = InputError if found[1] == "InputError" else StageError
        return _fail(found[2], found[3], kind.exit_code, debug)
    last = [line for line in text.strip().splitlines() if line.strip()]
    causes = [line.strip() for line in last if re.match(r"^\s*[\w.]*(Error|Exception): ", line)]
    message = (causes or last or [type(error).__name__])[-1 if causes else 0][:300]
    return _fail("stage_failed", f"{message} (--debug shows where; finished parts are kept)", 1, debug)


if __name__ == "__main__":
    main()
