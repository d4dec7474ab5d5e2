"""Rows of URL lists: from the bytes of a file to tables with keys, rows per second of CPU time on one core.

The rows are those of the LAION sample in the data folder beside the checkout, each several times with another query, in
each container; the fastest of three interleaved rounds counts. The peer is the way of any image, row by row
(``candidates.candidate`` and dicts), on the same rows in memory. It exits with 1 unless both give the same table.

``--stage N`` builds extract alone from a CSV of N rows on local[2], and prints its seconds. ``--memory N`` reads N rows
in a process of its own and prints how much memory that took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.stages.extract.candidates import NO_PAGE, candidate
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_tables, table_of

LIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "laion_urls_10k.parquet"
ROWS, ROUNDS, BATCH_ROWS = 100_000, 3, 4096
NAMES = ("list.csv", "list.tsv", "list.jsonl", "list.json", "list.parquet")


def real_rows() -> Iterator[dict[str, str]]:
    """Rows of the sample without end, no two with one URL."""
    rows = pq.read_table(LIST, columns=["url", "caption"]).to_pylist()
    number = 0
    while True:
        for row in rows:
            yield row | {"url": f"{row['url']}{'&' if '?' in row['url'] else '?'}copy={number}"}
        number += 1


def write(path: Path, count: int) -> None:
    """A list of ``count`` rows in the container that the name says."""
    rows = islice(real_rows(), count)
    if path.suffix in (".json", ".jsonl"):
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        with path.open("w", encoding="utf-8") as file:
            if path.suffix == ".json":
                file.write("[" + ",\n".join(lines) + "]")
            else:
                file.writelines(f"{line}\n" for line in lines)
        return
    schema = pa.schema([("url", pa.string()), ("caption", pa.string())])
    options = pyarrow.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    writer = (
        pq.ParquetWriter(path, schema)
        if path.suffix == ".parquet"
        else pyarrow.csv.CSVWriter(path, schema, write_options=options)
    )
    with writer:
        while batch := list(islice(rows, 2**16)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def tables(path: Path) -> list[pa.Table]:
    (split,) = find_inputs([str(path)], "auto")
    return list(extract_tables(split, Config()))


def row_by_row(rows: list[dict[str, str]]) -> list[pa.Table]:
    config = Config()
    found = (candidate(NO_PAGE, None, row["url"], row["caption"], config) for row in rows)
    return list(map(table_of, iter(lambda: list(islice(found, BATCH_ROWS)), [])))


def speed(count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in NAMES]
        for path in paths:
            write(path, count)
        rows = list(islice(real_rows(), count))
        taken: dict[str, list[float]] = {}
        found = {}
        for _ in range(ROUNDS):
            for name in (*NAMES, "row by row"):
                begun = time.process_time()
                found[name] = row_by_row(rows) if name == "row by row" else tables(Path(folder, name))
                taken.setdefault(name, []).append(time.process_time() - begun)
    rates = {name: round(count / min(seconds)) for name, seconds in taken.items()}
    peer = pa.concat_tables(found.pop("row by row")).combine_chunks()
    equal = all(pa.concat_tables(ours).combine_chunks().equals(peer) for ours in found.values())
    line = {"benchmark": "lists", "rows": count, "rounds": ROUNDS, "rows_per_cpu_s": rates, "equal": equal}
    ratio = round(min(rates[name] for name in NAMES) / rates["row by row"], 2)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(line | {"peer": "row by row", "ratio": ratio} | machine))
    return 0 if equal else 1


def stage(count: int) -> int:
    """Seconds of a build of extract, and of the stage in it."""
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder, "list.csv"), Path(folder, "run")
        write(path, count)
        inputs = f"extract.inputs={json.dumps([str(path)])}"
        command = [str(Path(sys.executable).with_name("pairmill")), "build", "--run", str(run), "--set", inputs]
        begun = time.perf_counter()
        subprocess.run([*command, "--set", "spark.master=local[2]", "--until", "extract"], check=True)
        seconds = round(time.perf_counter() - begun, 1)
        manifest = json.loads((run / "extract" / "manifest.json").read_text())
    print(json.dumps({"benchmark": "lists", "stage": count, "build_s": seconds, "stage_s": manifest.get("seconds")}))
    return 0


def memory(count: int) -> int:
    """Peak memory of reading a CSV of ``count`` rows, less that of the imports."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "list.csv")
        subprocess.run([sys.executable, __file__, "--write", str(path), str(count)], check=True)
        (split,) = find_inputs([str(path)], "auto")
        rows = sum(table.num_rows for table in extract_tables(split, Config()))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"benchmark": "lists", "memory": rows, "before_mb": before // 1024, "peak_mb": after // 1024}))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", type=int, metavar="N")
    parser.add_argument("--memory", type=int, metavar="N")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not LIST.exists():
        print(json.dumps({"benchmark": "lists", "skipped": f"{LIST.name} is not in ../shared/data"}))
        return 0
    if given.write:
        write(Path(given.write[0]), int(given.write[1]))
        return 0
    return stage(given.stage) if given.stage else memory(given.memory) if given.memory else speed(ROWS)


if __name__ == "__main__":
    sys.exit(main())
