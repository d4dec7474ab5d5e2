"""The corpus folder: written beside the old one and swapped in; a half swap is completed at the next start."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import StageError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import Part
from pipeline.core.storage import FileRecord, Storage
from pipeline.export.shard import ENDINGS
from schemas.export import CORPUS
from schemas.fields import description, unit

CARD = """# An image-text corpus built by pairmill

{samples} samples in {shards} shards. Each sample is `KEY.jpg`, `KEY.txt` and `KEY.json`, adjacent in the tar; `KEY`
is the pair_id. The Parquet file beside a tar has the same rows in the same order. `manifest.json` lists every file with
its sha256.

Pictures and texts belong to their makers; the URL of each picture and of a page that shows it stand with the sample.

| column | type | unit | what |
|---|---|---|---|
{columns}
"""


def publish_corpus(storage: Storage, shards: Sequence[Part], manifest: Manifest) -> list[FileRecord]:
    """Make these shards the corpus, in one visible step; returns its files. The shards are linked, not copied."""
    ordered = sorted(shards, key=lambda part: part.stats["shard"])
    if [part.stats["shard"] for part in ordered] != list(range(len(ordered))):
        raise StageError(
            "shard_mismatch", f"shards {[part.stats['shard'] for part in ordered]} have gaps; run build again"
        )
    folder = storage.path("corpus.next")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = [_place(storage, folder, part) for part in ordered]
    for before, after in pairwise(listed):
        if before["last_key"] >= after["first_key"]:
            raise StageError("key_collision", f"{after['first_key']} is in shards {before['name']} and {after['name']}")
    total = sum(shard["samples"] for shard in listed)
    if total != manifest.kept:
        raise StageError("shard_mismatch", f"{total} samples in shards, {manifest.kept} pairs kept; run build again")
    (folder / "README.md").write_text(_card(total, len(listed)), encoding="utf-8")
    summary = {
        "samples": total,
        "schema_version": CORPUS.metadata[b"pairmill.schema_version"].decode(),
        "shards": listed,
    }
    # In one step: a corpus.next with a manifest is whole (see recover_swap).
    storage.replace("corpus.next/manifest.json", json.dumps(summary, indent=1, sort_keys=True).encode())
    _swap(storage)
    rows = {f"{shard['name']}.{kind}": shard["samples"] for shard in listed for kind in ("tar", "parquet")}
    files = [storage.record(f"corpus/{name}", rows.get(name, 0)) for name in storage.names("corpus")]
    for part in ordered:
        storage.delete(f"export/parts/{part.name}.json")
    storage.sweep("export/parts", set())
    storage.sweep("export/shards", set())
    return files


def recover_swap(storage: Storage) -> None:
    """Finish a swap that was cut off: the new corpus is whole once it has its manifest."""
    corpus, following, old = (storage.path(name) for name in ("corpus", "corpus.next", "corpus.old"))
    if not corpus.exists():
        if (following / "manifest.json").exists():
            os.rename(following, corpus)
        elif old.exists():
            os.rename(old, corpus)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(following, ignore_errors=True)


def _place(storage: Storage, folder: Path, part: Part) -> dict[str, Any]:
    """Link a shard into the new corpus under its number; tar and Parquet have the same keys in the same order."""
    name = f"{part.stats['shard']:05d}"
    files = {}
    for kind in ("parquet", "tar"):
        record = part.files[kind]
        os.link(storage.path(record.path), folder / f"{name}.{kind}")
        files[kind] = {"bytes": record.bytes, "sha256": record.sha256}
    keys = pq.read_table(folder / f"{name}.parquet", columns=["key"])["key"].to_pylist()
    if len(keys) != part.stats["rows"]:
        raise StageError(
            "shard_mismatch", f"shard {name}: {len(keys)} rows in Parquet, {part.stats['rows']} samples packed"
        )
    if _members(folder / f"{name}.tar") != [f"{key}.{ending}" for key in keys for ending in ENDINGS]:
        raise StageError("shard_mismatch", f"shard {name}: tar and Parquet differ in keys or order; run build again")
    return {"name": name, "samples": len(keys), "first_key": keys[0], "last_key": keys[-1], "files": files}


def _members(path: Path) -> list[str]:
    """Names of the members of a tar, in order; only its headers are read."""
    try:
        with tarfile.open(path, "r:") as tar:
            return tar.getnames()
    except tarfile.TarError as error:
        raise StageError("shard_mismatch", f"{path.name}: {error}; run build again") from error


def _swap(storage: Storage) -> None:
    corpus, following, old = (storage.path(name) for name in ("corpus", "corpus.next", "corpus.old"))
    if corpus.exists():
        os.rename(corpus, old)
    os.rename(following, corpus)
    shutil.rmtree(old, ignore_errors=True)


def _card(samples: int, shards: int) -> str:
    def line(field: pa.Field) -> str:
        return f"| {field.name} | {field.type} | {unit(field)} | {description(field)} |"

    return CARD.format(samples=samples, shards=shards, columns="\n".join(line(field) for field in CORPUS))
