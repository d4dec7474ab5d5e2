"""A list of queries from WordNet, numbers, words and word pairs of texts, and titles. Spark counts.

WIT's list: all words that occur at least 100 times in the English Wikipedia, bi-grams of high pointwise mutual
information, titles of articles above a search volume, WordNet's synsets; 500,000 queries (Radford et al., 2021, section
2.2). MetaCLIP rebuilt it: 251,465 words with a count of at least 100; bi-grams with a PMI of at least 30, which leaves
100,000; the 86,654 synsets; and titles viewed at least 70 times, which fill the rest (Xu et al., 2023, table 1).
Neither paper says how its PMI is scaled. Here it is log2(n(a b) N / (n(a) n(b))) with N words in all. A pair must occur
as often as a word, because otherwise pairs of rare words would have the highest PMI. The default is 7 bits: in 9,970
captions of LAION "new york" has 8.3, "t shirt" 8.2, "for sale" 6.3.

If there are more entries than the limit allows, WordNet and the numbers come first, then words by count, pairs by
PMI, titles by views. An entry of several origins names them all. The driver holds at most ``limit`` entries per
origin.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.balance.folding import LETTER, UNSPACED, chunks, fold, fold_texts
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.tables import spark_schema
from schemas.queries import QUERIES

NUMBERS = tuple(str(number) for number in range(100))
WORD, LONE_LETTER, PAIR, ALL = "word", "letter", "pair", "all"
NGRAMS = pa.schema([*((name, pa.string()) for name in ("kind", "entry", "first", "second")), ("count", pa.int64())])
VIEWS = re.compile(r"\s*\d{1,18}\s*")  # below 2^62, the rank of titles without views
PMI_DIGITS = 4  # rounded, because the last bits of a logarithm differ between processors


class Origin(StrEnum):
    """Where an entry comes from, in the order in which origins fill the list."""

    WORDNET = "wordnet"
    NUMBER = "number"
    UNIGRAM = "unigram"
    BIGRAM = "bigram"
    TITLE = "title"


@dataclass(frozen=True)
class Thresholds:
    """What enters the list."""

    min_count: int = 100
    min_pmi: float = 7.0
    min_views: int = 70
    limit: int = 500_000


@dataclass
class Entry:
    """A row of the list."""

    entry: str
    origin: list[Origin] = field(default_factory=list)
    count: int | None = None
    pmi: float | None = None


def build_queries(
    lemmas: Sequence[str], numbers: bool, texts: DataFrame | None, titles: Sequence[str], thresholds: Thresholds
) -> pa.Table:
    """The list, in schema QUERIES, sorted by entry. ``texts`` has a column ``text``; the other sources may be empty."""
    found: dict[str, Entry] = {}
    sources = [
        (Origin.WORDNET, _folded(lemmas)),
        (Origin.NUMBER, _folded(NUMBERS if numbers else ())),
        *(_counted_entries(texts, thresholds) if texts is not None else ()),
        (Origin.TITLE, _folded(titles)),
    ]
    for origin, entries in sources:
        for new in entries:
            known = found.get(new.entry)
            if known is None and len(found) < thresholds.limit:
                known = found[new.entry] = new
            if known is not None and origin not in known.origin:
                known.origin.append(origin)
                known.count, known.pmi = known.count or new.count, known.pmi or new.pmi
    return pa.Table.from_pylist([vars(found[entry]) for entry in sorted(found)], schema=QUERIES)


def by_origin(table: pa.Table) -> list[tuple[Origin, int]]:
    """Number of entries per origin; an entry with two origins counts for both."""
    named = Counter(origin for origins in table["origin"].to_pylist() for origin in origins)
    return [(origin, named[origin]) for origin in Origin if named[origin]]


def read_titles(path: Path, min_views: int) -> list[str]:
    """Titles, one per line, with or without a tab and its views. Sorted: first those without views, then by views.

    InputError `resource_missing` names a bad file or line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise InputError(ErrorCode.RESOURCE_MISSING, f"--titles {path}: {what}") from None
    titles = []
    for number, line in enumerate(lines, 1):
        title, tab, views = line.partition("\t")
        if tab and not VIEWS.fullmatch(views):
            where = f"--titles {path}, line {number}"
            raise InputError(ErrorCode.RESOURCE_MISSING, f"{where}: {views[:40]!r} is not a number of views")
        if not tab or int(views) >= min_views:
            titles.append((-int(views) if tab else -(1 << 62), title.replace("_", " ")))
    return [title for _, title in sorted(titles)]


def ngrams(texts: DataFrame) -> DataFrame:
    """NGRAMS counted over the column ``text``: words, lone letters of unspaced scripts, neighbours; one row for ALL."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield counted_ngrams([text or "" for text in batch.column("text").to_pylist()])

    keys = [name for name in NGRAMS.names if name != "count"]
    counted = texts.select("text").mapInArrow(count, spark_schema(NGRAMS))
    return counted.groupBy(*keys).agg(F.sum("count").alias("count"))


def counted_ngrams(texts: Sequence[str]) -> pa.RecordBatch:
    """The same for some texts, without Spark. A pair is two words with one space between, or two unspaced letters."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for some in chunks(texts):
        folded = fold(some)
        whole, kinds = folded.text(), folded.kinds
        segments = [whole[start:end] for start, end in zip(folded.starts.tolist(), folded.ends.tolist(), strict=True)]
        is_word = (kinds == LETTER) & ~np.fromiter(map(str.isnumeric, segments), bool, len(segments))
        gap = folded.starts[1:] - folded.ends[:-1]
        words_side_by_side = (kinds[1:] == LETTER) & (kinds[:-1] == LETTER) & (gap == 1) & (is_word[1:] | is_word[:-1])
        letters_side_by_side = (kinds[1:] == UNSPACED) & (kinds[:-1] == UNSPACED) & (gap == 0)
        singles = [(WORD, kinds == LETTER), (LONE_LETTER, kinds == UNSPACED)]
        for kind, chosen in singles:
            counts.update((kind, segments[at], segments[at], "") for at in np.flatnonzero(chosen).tolist())
        for space, chosen in ((" ", words_side_by_side), ("", letters_side_by_side)):
            pairs = ((segments[at], segments[at + 1]) for at in np.flatnonzero(chosen).tolist())
            counts.update((PAIR, f"{first}{space}{second}", first, second) for first, second in pairs)
        counts[ALL, "", "", ""] += int(np.count_nonzero((kinds == LETTER) | (kinds == UNSPACED)))
    rows = [[*(key[part] for key in counts)] for part in range(4)]
    return pa.RecordBatch.from_arrays(
        [*map(pa.array, rows, NGRAMS.types[:4]), pa.array(counts.values(), pa.int64())], schema=NGRAMS
    )


def _counted_entries(texts: DataFrame, thresholds: Thresholds) -> Iterator[tuple[Origin, list[Entry]]]:
    """Words by count and pairs by PMI, at most ``limit`` of each."""
    common = ngrams(texts).where((F.col("count") >= thresholds.min_count) | (F.col("kind") == ALL))
    common = common.persist(StorageLevel.DISK_ONLY)  # four queries of one count
    try:
        words = common.where(F.col("kind") == WORD).orderBy(F.col("count").desc(), "entry").limit(thresholds.limit)
        yield (
            Origin.UNIGRAM,
            [Entry(row["entry"], count=row["count"]) for row in words.collect() if not row["entry"].isnumeric()],
        )
        pairs = _with_pmi(common).where(F.col("pmi") >= thresholds.min_pmi)
        best = pairs.orderBy(F.col("pmi").desc(), F.col("count").desc(), "entry").limit(thresholds.limit)
        yield Origin.BIGRAM, [Entry(row["entry"], count=row["count"], pmi=row["pmi"]) for row in best.collect()]
    finally:
        common.unpersist()


def _with_pmi(common: DataFrame) -> DataFrame:
    """Pairs with their PMI. Both words of a common pair are common too, so no count is missing."""
    singles = common.where(F.col("kind").isin(WORD, LONE_LETTER))
    first = singles.select(F.col("entry").alias("first"), F.col("count").cast("double").alias("of_first"))
    second = singles.select(F.col("entry").alias("second"), F.col("count").cast("double").alias("of_second"))
    every = common.where(F.col("kind") == ALL).select(F.col("count").cast("double").alias("of_all"))
    pairs = common.where(F.col("kind") == PAIR).join(first, "first").join(second, "second").crossJoin(every)
    ratio = F.col("count") / F.col("of_first") * (F.col("of_all") / F.col("of_second"))
    return pairs.withColumn("pmi", F.round(F.log2(ratio), PMI_DIGITS))


def _folded(texts: Iterable[str]) -> list[Entry]:
    return [Entry(entry) for entry in dict.fromkeys(fold_texts(list(texts))) if entry]
