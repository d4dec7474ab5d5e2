"""Matching captions with 500,000 queries, on one core, against pyahocorasick; and the cap against plain Python.

The list: lemmas, words and word pairs of the captions themselves, filled up with made-up pairs of lemmas; the captions:
laion_urls_10k. Both sides answer the same question (which entries stand in each caption, from word border to word
border, as sorted texts); they take turns, and the answers must be equal.

The cap: 50,000 captions (the same, and flickr8k-captions in six languages), matched by the index, cap 50 a query, on
Spark local[2] and by MetaCLIP's algorithm in plain Python with another implementation of the hash. The kept sets must
be equal.

Memory, of a process that has opened the index and matched all captions, beside the same process without the index, for
one process and for four at once, and of one that holds the peer's automaton: resident; private (anonymous pages, which
no other process shares); proportional (each shared page divided by those who have it). pairmill does not depend
on the peer: without it (`pip install pyahocorasick==2.3.1`) its figures are null. The folder of WordNet is named by the
environment (WORDNET); without it the list is filled up by made-up words.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.balance.cap import counted, decided, drawn
from pipeline.balance.folding import SEPARATOR, chunks, fold, fold_texts
from pipeline.balance.index import Index, build_index
from pipeline.balance.wordnet import read_lemmas
from pipeline.core.spark import SparkConfig, spark_session

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "laion_urls_10k.parquet"
ENTRIES = 500_000
ROUNDS = 5
PROCESSES = 4
CAPPED, CAP = 50_000, 50

Answer = list[list[str]]


def some_entries(captions: Sequence[str]) -> list[str]:
    """ENTRIES folded, distinct, sorted entries; the same ones each time."""
    words = [caption.split() for caption in captions]
    folder = os.environ.get("WORDNET")
    lemmas = read_lemmas(Path(folder)) if folder else [f"lemma{number}" for number in range(100_000)]
    found = dict.fromkeys(fold_texts(lemmas))
    found |= dict.fromkeys(fold_texts([word for some in words for word in some]))
    found |= dict.fromkeys(fold_texts([f"{a} {b}" for some in words for a, b in pairwise(some)]))
    found.pop("", None)
    dice, singles = random.Random(0), sorted(entry for entry in found if " " not in entry)
    while len(found) < ENTRIES:
        found[f"{dice.choice(singles)} {dice.choice(singles)}"] = None
    return sorted(list(found)[:ENTRIES])


class Peer:
    """pyahocorasick over the same entries, in the form that suits it best: spaces around every segment, so that it
    finds whole words alone. Texts are brought into that form by our own folding."""

    def __init__(self, entries: Sequence[str]) -> None:
        import ahocorasick

        self.automaton = ahocorasick.Automaton()
        alike: dict[str, list[str]] = {}  # "vol. 8" and "vol . 8" are one to it
        for entry, spaced in zip(entries, spaced_out(entries), strict=True):
            alike.setdefault(spaced, []).append(entry)
        for spaced, some in alike.items():
            self.automaton.add_word(spaced, some)
        self.automaton.make_automaton()

    def match(self, captions: Sequence[str]) -> Answer:
        """The entries in each caption. Where a caption has no space ("c++") an entry with one ("c +") is no answer."""
        folded = fold_texts(captions)
        return [
            sorted({entry for _, some in self.automaton.iter(spaced) for entry in some if entry in text})
            for text, spaced in zip(folded, spaced_out(captions), strict=True)
        ]


def spaced_out(texts: Sequence[str]) -> list[str]:
    """Each text folded, its segments between single spaces."""
    found = []
    for some in chunks(texts):
        folded = fold(some)
        whole = folded.text()
        segments = [whole[start:end] for start, end in zip(folded.starts.tolist(), folded.ends.tolist(), strict=True)]
        found += f" {' '.join(segments)} ".split(SEPARATOR)
    return found


def kept_by_spark(queries: Sequence[Sequence[str]], cap: int, folder: str) -> tuple[float, set[str]]:
    """(seconds from a Parquet file to the answer, pair_ids kept)."""
    path, spark = str(Path(folder, "pairs.parquet")), spark_session(SparkConfig(master="local[2]", partitions=4))
    shares = pa.nulls(len(queries), pa.list_(pa.float64()))
    pq.write_table(pa.table({"pair_id": pair_ids(len(queries)), "queries": queries, "query_shares": shares}), path)

    def work() -> set[str]:
        draws = drawn(spark.read.parquet(path), seed=0)
        kept = decided(draws, counted(draws), cap).where("query_draw < query_p")
        return {row["pair_id"] for row in kept.collect()}

    return seconds(work)


def kept_by_hand(queries: Sequence[Sequence[str]], cap: int) -> tuple[float, set[str]]:
    """The same by algorithm 1 of MetaCLIP, a pair at a time."""

    def draw(pair_id: str, query: str) -> float:
        return (xxhash.xxh64_intdigest(f"0\0{pair_id}\0{query}".encode(), 42) >> 11) / 2**53

    def work() -> set[str]:
        counts = Counter(query for some in queries for query in some)
        return {
            pair_id
            for pair_id, some in zip(pair_ids(len(queries)), queries, strict=True)
            if any(draw(pair_id, query) < cap / max(counts[query], cap) for query in some)
        }

    return seconds(work)


def pair_ids(number: int) -> list[str]:
    return [f"{place:032x}" for place in range(number)]


def flickr_captions() -> list[str]:
    with gzip.open(DATA.with_name("flickr8k-captions.tsv.gz"), "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t")[2] for line in lines][1:]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def memory(kind: str, index: Path, captions: Path, processes: int) -> list[dict[str, int]]:
    """What so many processes at once have resident, each in kB, when they have matched."""
    command = [sys.executable, __file__, "--memory", kind, str(index), str(captions)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in running:
        process.stdout.readline()  # all have matched before any looks
    return [json.loads(process.communicate("look\n")[0]) for process in running]


def look(kind: str, index: str, captions: str) -> None:
    """In a process of its own: match (kind index), hold the automaton (peer) or neither (nothing), then look."""
    texts = pq.read_table(captions)["caption"].combine_chunks()
    held: object = None
    if kind == "index":
        held = Index.mapped(Path(index))
        held.match(texts)
    elif kind == "peer":
        held = Peer(Index.mapped(Path(index)).entries.to_pylist())
    else:
        fold_texts(texts.to_pylist())
    print("ready", flush=True)
    sys.stdin.readline()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = {name: int(line.split()[1]) for line in lines for name in (line.split(":")[0],) if line.endswith("kB")}
    print(json.dumps({"resident": found["Rss"], "private": found["Anonymous"], "proportional": found["Pss"]}))
    del held


def main() -> int:
    if not DATA.exists():
        print(json.dumps({"benchmark": "balance", "skipped": f"{DATA.name} is not in ../shared/data"}))
        return 0
    column = pq.read_table(DATA)["caption"].combine_chunks()
    captions = column.to_pylist()
    entries = some_entries(captions)
    build_s, data = seconds(lambda: build_index(entries))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "queries.index")
        path.write_bytes(data)
        open_s, index = seconds(lambda: Index.mapped(path))
        peer = Peer(entries) if importlib.util.find_spec("ahocorasick") else None
        ours, theirs = [], []
        for _ in range(ROUNDS):
            took, found = seconds(lambda: index.match(column))
            ours.append(took)
            if peer is not None:
                took, answer = seconds(lambda: peer.match(captions))
                theirs.append(took)
                if answer != found.to_pylist():
                    print("balance: the two answers differ", file=sys.stderr)
                    return 1
        memories = {
            "without_index": memory("nothing", path, DATA, 1)[0],
            "one_process": memory("index", path, DATA, 1)[0],
            f"each_of_{PROCESSES}": memory("index", path, DATA, PROCESSES)[0],
            "peer": memory("peer", path, DATA, 1)[0] if peer is not None else None,
        }
        many = [*captions, *random.Random(0).sample(flickr_captions(), CAPPED - len(captions))]
        queries = index.match(pa.array(many)).to_pylist()
        (spark_s, by_spark), (hand_s, by_hand) = kept_by_spark(queries, CAP, folder), kept_by_hand(queries, CAP)
        if by_spark != by_hand:
            print(f"balance: the kept sets differ in {len(by_spark ^ by_hand)} pairs", file=sys.stderr)
            return 1
        print(
            json.dumps(
                {
                    "benchmark": "balance",
                    "entries": len(entries),
                    "captions": len(captions),
                    "rounds": ROUNDS,
                    "matches_per_caption": round(len(pa.compute.list_flatten(found)) / len(captions), 1),
                    "captions_per_s": round(len(captions) / median(ours)),
                    "peer": "pyahocorasick" if peer is not None else None,
                    "peer_captions_per_s": round(len(captions) / median(theirs)) if theirs else None,
                    "ratio": round(median(theirs) / median(ours), 2) if theirs else None,
                    "equal": True if theirs else None,
                    "build_s": round(build_s, 2),
                    "open_s": round(open_s, 4),
                    "index_bytes": len(data),
                    "memory_kb": memories,
                    "capped": {
                        "captions": len(many),
                        "cap": CAP,
                        "kept": len(by_spark),
                        "equal": True,
                        "spark_s": round(spark_s, 1),
                        "python_s": round(hand_s, 1),
                    },
                    "cores": os.cpu_count(),
                    "python": platform.python_version(),
                }
            )
        )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        look(*sys.argv[2:])
        sys.exit(0)
    sys.exit(main())
