"""The text stage's work on captions, against the same work done plainly; its rules against labels made by hand.

    text.py                        speed, ratio, precision and recall: one JSON line
    text.py --memory 10000000      resident memory while so many captions go through: one JSON line

Plainly means row by row: ftfy on every text, then the same rules, then langdetect. Both sides take turns over the
same thousand captions, one core, one run. The labels (text_labels.tsv: row of the file, reason; empty: keep) were made
before the rules were tuned: a third of the rows drawn at random, the others from nets cast for each rule (@, seven
digits, a word said three times, eight commas, a file ending, very short, a trade word first, a price, signs, adult
terms), so that there is something to find; precision is that of this sample. What counts: boilerplate is a file name,
URL, price or stock phrase alone; repetition is a list of more than 12 keywords, or search terms turned over and over;
personal data is a phone number, mail address, IP or card of anyone; an adult term names an explicit act.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import resource
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.rules import verdicts
from pipeline.stages.text import boilerplate
from pipeline.stages.text.captions import measure_batch, weight
from pipeline.stages.text.clean import repaired
from pipeline.stages.text.config import Config
from pipeline.stages.text.language import reference
from pipeline.stages.text.pii import redact
from pipeline.stages.text.repetition import repetition_of
from pipeline.stages.text.stage import Text
from pipeline.stages.text.terms import Lists, read_lists
from schemas.text import ADDS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "laion_urls_10k.parquet"
LABELS = Path(__file__).with_name("text_labels.tsv")
BATCH_ROWS = 1000
RULES = ("text_boilerplate", "text_repetition", "pii", "adult_term")


def plainly(captions: Sequence[str], config: Config, lists: Lists) -> None:
    """What the stage measures, one caption after the other."""
    for raw in captions:
        caption = " ".join(unicodedata.normalize("NFC", repaired(raw)).split())
        caption = redact(caption, config.phone_regions).text
        boilerplate.kind_of(caption)
        repetition_of(caption)
        lists.adult_term(caption)
        weight(caption)
        reference.detect([caption.lower() if caption.isupper() else caption])


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def speed(captions: Sequence[str], config: Config, lists: Lists) -> dict[str, float]:
    """Captions a second of both, each over all captions, taking turns."""
    measure_batch(batch_of(captions[:10]), config, lists)  # tables and compiled code are there from here on
    plainly(captions[:10], config, lists)
    ours = plain = 0.0
    for start in range(0, len(captions), BATCH_ROWS):
        some = captions[start : start + BATCH_ROWS]
        batch = batch_of(some)
        ours += seconds(lambda batch=batch: measure_batch(batch, config, lists))
        plain += seconds(lambda some=some: plainly(some, config, lists))
    return {
        "captions_per_s": round(len(captions) / ours),
        "peer_captions_per_s": round(len(captions) / plain),
        "ratio": round(plain / ours, 1),
    }


def batch_of(captions: Sequence[str]) -> pa.RecordBatch:
    return pa.record_batch({"alt_text": pa.array(captions, pa.string())})


def against_labels(captions: Sequence[str], config: Config, lists: Lists) -> dict[str, dict[str, float | int | None]]:
    """Precision and recall of each rule on the labelled rows, judged by the stage's own rules."""
    with LABELS.open(encoding="utf-8") as lines:
        labels = {int(row["row"]): row["reason"] for row in csv.DictReader(lines, delimiter="\t")}
    rows = sorted(labels)
    table = pa.Table.from_batches([measure_batch(batch_of([captions[row] for row in rows]), config, lists)])
    for field in ADDS:  # what other rows say of a row is not asked here
        if field.name not in table.schema.names:
            nothing = [] if pa.types.is_list(field.type) else False if pa.types.is_boolean(field.type) else 0
            values = [None if pa.types.is_string(field.type) else nothing] * len(rows)
            table = table.append_column(field, pa.array(values, field.type))
    judged = verdicts(table, Text().rules(config.model_copy(update={"pii": "drop"})))
    found = {row: verdict.reason if verdict else "" for row, verdict in zip(rows, judged, strict=True)}
    return {reason: _rates(reason, labels, found) for reason in RULES}


def _rates(reason: str, labels: dict[int, str], found: dict[int, str]) -> dict[str, float | int | None]:
    said = {row for row, verdict in found.items() if verdict == reason}
    true = {row for row, label in labels.items() if label == reason}
    right = len(said & true)
    return {
        "labelled": len(true),
        "said": len(said),
        "precision": round(right / len(said), 3) if said else None,
        "recall": round(right / len(true), 3),
        "missed_rows": sorted(true - said)[:20],
        "wrong_rows": sorted(said - true)[:20],
    }


def memory(captions: Sequence[str], count: int, config: Config, lists: Lists) -> dict[str, object]:
    """Resident MB after each tenth of ``count`` captions, no two batches alike."""
    rng, resident = random.Random(0), []
    done = 0
    begun = time.perf_counter()
    while done < count:
        texts = [f"{text} {rng.randrange(10**6)}" for text in rng.choices(captions, k=8192)]
        measure_batch(batch_of(texts), config, lists)
        done += len(texts)
        if done * 10 // count > len(resident):
            resident.append(_resident_mb())
    return {
        "captions": done,
        "seconds": round(time.perf_counter() - begun, 1),
        "resident_mb": resident,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def main() -> int:
    parser = argparse.ArgumentParser(description="the text stage on captions of LAION-400M")
    parser.add_argument("--memory", type=int, metavar="CAPTIONS", help="watch memory over so many captions instead")
    arguments = parser.parse_args()
    if not DATA.exists():
        print(json.dumps({"benchmark": "text", "skipped": f"{DATA.name} is not in ../shared/data"}))
        return 0
    rows = pq.read_table(DATA, columns=["caption"])["caption"].to_pylist()
    captions = [caption for caption in rows if caption]
    config, lists = Config(), read_lists("default", [], [])
    figures: dict[str, object] = {"benchmark": "text", "cores": os.cpu_count(), "python": platform.python_version()}
    if arguments.memory:
        figures |= memory(captions, arguments.memory, config, lists)
    else:
        figures |= {"captions": len(captions), "peer": "ftfy + the same rules + langdetect, row by row"}
        figures |= speed(captions, config, lists)
        figures["labels"] = against_labels(rows, config, lists)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
