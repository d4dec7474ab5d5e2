"""`audit --check`: proves from disk that every row has exactly one verdict.

No stage's own account is trusted. Every file that a manifest lists is hashed again. Every verdict is derived again
from rows/ and rules, and compared with the ledger as a multiset. Kept rows are counted and digested again, and
compared with the manifest and with what the readers read. The corpus is compared with its own manifest and with the
kept pairs. A row removed from a Parquet file, an edited reason or a flipped byte contradicts at least one of these,
even if a manifest was edited too.

Spark does the work (also the hashing); the driver gets one row per reason and one example per finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.audit.corpus import corpus_shards
from pipeline.audit.counts import Finding, funnel_table, published
from pipeline.audit.ledgers import UNREADABLE, counts_by_reason, ledger_findings, recorded, require_tables
from pipeline.audit.masking import shown
from pipeline.core import verdict
from pipeline.core.corpus_manifest import MANIFEST
from pipeline.core.manifest import KeptRows, Manifest
from pipeline.core.parts import part_files
from pipeline.core.run import Run
from pipeline.core.spark import plan_for
from pipeline.core.stage import Stage
from pipeline.core.storage import FileRecord, Storage
from pipeline.core.tables import read_table
from schemas.export import CORPUS
from schemas.ledger import LEDGER


def check(run: Run) -> list[Finding]:
    """Everything that does not add up; an empty list is the proof.

    InputError `input_missing` if no stage has a manifest or if rows or ledger of a stage are missing,
    `input_unreadable` for an invalid manifest.
    """
    manifests = published(run)
    require_tables(run, manifests)
    findings = [*funnel_table(run).broken, *_changed_files(run, manifests)]
    for name, manifest in manifests.items():
        try:
            findings.extend(_contradictions(run, name, manifest))  # findings before the exception are kept
        except UNREADABLE as error:
            findings.append(Finding.mismatch(name, f"its rows or ledger cannot be read ({type(error).__name__})"))
    plan_for(run.spark, None)
    return list(dict.fromkeys(findings))


@dataclass(frozen=True)
class _Claim:
    """What a manifest or a part's commit record says about a file."""

    stage: str
    file: FileRecord


def _changed_files(run: Run, manifests: Mapping[str, Manifest]) -> list[Finding]:
    """Files whose size or sha256 differs from manifest or commit record, and files of the corpus not listed."""
    listed_by_parts = [(name, file) for name in manifests for file in part_files(run.storage, name)]
    listed_by_manifests = [(name, file) for name, manifest in manifests.items() for file in manifest.all_files]
    claims = [_Claim(name, file) for name, file in dict.fromkeys([*listed_by_manifests, *listed_by_parts])]
    packer = next((name for name in manifests if "corpus" in run.stages[name].packs), None)
    if packer is not None:
        claims += [_Claim(packer, file) for shard in corpus_shards(run) for file in map(shard.record, shard.files)]
    partitions = min(len(claims), 4 * run.spark.sparkContext.defaultParallelism)
    storage = run.storage
    changed = (
        run.spark.sparkContext.parallelize(claims, partitions)
        .flatMap(lambda claim: _examined(storage, claim))
        .collect()
    )
    findings = [Finding.mismatch(stage, text) for stage, text in dict.fromkeys(changed)]
    if packer is not None:
        listed = {claim.file.path for claim in claims} | {MANIFEST}
        strangers = [f"corpus/{name}" for name in storage.names("corpus") if f"corpus/{name}" not in listed]
        findings += [Finding.mismatch(packer, f"{path} is not listed in any manifest") for path in strangers]
    return findings


def _examined(storage: Storage, claim: _Claim) -> Iterator[tuple[str, str]]:
    """(stage, what is wrong) for a file that is not as claimed. Runs in a task."""
    try:
        found = storage.record(claim.file.path, claim.file.rows)
    except OSError as error:
        yield claim.stage, f"{claim.file.path} cannot be read: {error.strerror or error}"
        return
    if found.bytes != claim.file.bytes:
        yield claim.stage, f"{claim.file.path} has {found.bytes:,} bytes, {claim.file.bytes:,} when it was listed"
    elif found.sha256 != claim.file.sha256:
        yield (
            claim.stage,
            f"{claim.file.path} has sha256 {found.sha256[:16]}…, {claim.file.sha256[:16]}… when it was listed",
        )


def _contradictions(run: Run, name: str, manifest: Manifest) -> Iterator[Finding]:
    """Contradictions between rows, rules, ledger and manifest of one stage."""
    plan_for(run.spark, sum(file.rows for role in ("rows", "ledger") for file in manifest.files[role]))
    schema = run.schema(name)
    if [rule.describe(schema) for rule in run.rules(name)] != manifest.rules:
        yield Finding.mismatch(name, "its rules differ from those of this config; run pairmill build")
        return
    ledger = recorded(run, manifest)
    counts = counts_by_reason(ledger)
    yield from ledger_findings(run, manifest, counts)
    yield from _doubled(name, ledger)
    yield from _other_verdicts(run, name, ledger)
    yield from _other_counts(run, name, manifest, sum(counts.values()))
    if "corpus" in run.stages[name].packs:
        yield from _other_corpus(run, name, manifest)


def _doubled(name: str, ledger: DataFrame) -> Iterator[Finding]:
    doubled = ledger.groupBy("key").agg(F.count(F.lit(1)).alias("entries")).where("entries > 1")
    found = doubled.agg(F.count(F.lit(1)).alias("n"), F.min("key").alias("example")).collect()[0]
    if found["n"]:
        yield Finding.invalid(
            name, f"{found['n']:,} rows have two reasons or more in the ledger, as {found['example']}"
        )


def _other_verdicts(run: Run, name: str, ledger: DataFrame) -> Iterator[Finding]:
    """Compare the ledger with the verdicts derived again: both as multisets, in one shuffle (`exceptAll` both ways)."""
    derived = verdict.ledger(run.judged(name), run.stages[name].key)
    signed = derived.withColumn("entries", F.lit(1)).unionByName(ledger.withColumn("entries", F.lit(-1)))
    balance = signed.groupBy(*LEDGER.names).agg(F.sum("entries").alias("entries")).where("entries <> 0")
    example = F.min(F.concat_ws(" ", "key", "reason", "value", "threshold"))
    sides = balance.groupBy((F.col("entries") < 0).alias("surplus")).agg(
        F.sum(F.abs("entries")).alias("n"), example.alias("example")
    )
    for side in sides.orderBy("surplus").collect():  # at most two
        meaning = "do not follow from rows and rules" if side["surplus"] else "are missing"
        text = f"{side['n']:,} entries of the ledger {meaning}, as {shown(side['example'])}"
        yield Finding.mismatch(name, text)


def _other_counts(run: Run, name: str, manifest: Manifest, dropped: int) -> Iterator[Finding]:
    """Compare the numbers of the manifest with those of the rows and of the ledger (``dropped`` rows)."""
    unit = run.stages[name].unit
    derived, keeps = count_verdicts(run.stages[name], run.judged(name))
    kept = derived.pop(None, 0)
    if manifest.rows_in != kept + dropped:
        text = f"{manifest.rows_in:,} {unit}s in; on disk {kept:,} are kept and {dropped:,} dropped"
        yield Finding.mismatch(name, text)
    if (manifest.kept, manifest.dropped) != (kept, derived):
        listed = f"{manifest.kept:,} kept, {sum(manifest.dropped.values()):,} dropped"
        text = (
            f"the manifest says {listed}; rows and rules give {kept:,} and {sum(derived.values()):,}, or other reasons"
        )
        yield Finding.mismatch(name, text)
    if manifest.keeps != keeps:
        yield Finding.mismatch(name, f"the manifest hands on {_told(manifest.keeps)}; on disk are {_told(keeps)}")


def _other_corpus(run: Run, name: str, manifest: Manifest) -> Iterator[Finding]:
    """Compare the samples of the corpus with the kept pairs: count and digest of their keys."""
    files = [shard.record("parquet") for shard in corpus_shards(run)]
    samples = read_table(run.spark, run.storage, files, CORPUS).withColumn(verdict.REASON, F.lit(None).cast("string"))
    _, packed = count_verdicts(run.stages[name], samples)
    if manifest.keeps != packed:
        yield Finding.mismatch(name, f"{_told(manifest.keeps)} are kept; the corpus holds {_told(packed)}")


def count_verdicts(stage: Stage[Any], judged: DataFrame) -> tuple[dict[str | None, int], KeptRows]:
    """Rows by reason (None: kept) in the stage's unit, and what it hands on; not as the build counts them
    (`pipeline.core.tally`)."""
    weight = F.col("count") if "count" in judged.columns else F.lit(1)
    unit, key = stage.keeps
    leading_bits = F.conv(F.substring(key, 1, 16), 16, 10).cast("decimal(20,0)")
    totals = judged.groupBy(verdict.REASON).agg(
        F.sum(weight.cast("long")).alias("weight"),
        F.count(F.lit(1)).alias("rows"),
        F.sum(leading_bits).alias("digest"),
    )
    found = {row[verdict.REASON]: row for row in totals.collect()}  # one row per reason
    counts = {reason: int(row["weight"]) for reason, row in found.items()}
    kept = found.get(None)
    rows = 0 if kept is None else int(kept["weight"] if key == stage.key else kept["rows"])
    digest = 0 if kept is None else int(kept["digest"]) % 2**64
    return counts, KeptRows(stage=stage.name, unit=unit, rows=rows, digest=f"{digest:016x}")


def _told(rows: KeptRows) -> str:
    return f"{rows.rows:,} {rows.unit}s (digest {rows.digest})"
