"""The corpus folder: it replaces the old one in one visible step; an interrupted swap is completed at the next start.

On a file system it is built of links beside the old one and renamed. On a store, which cannot rename, a plan is
written first. Then the old manifest is deleted, shards are copied within the store to their final names, and the new
manifest is written last: a corpus without a manifest does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa

from pipeline.core.corpus_manifest import MANIFEST, VERSION, CorpusManifest, Shard, ShardFile
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import Part
from pipeline.core.storage import FileRecord, LocalStorage, ObjectStorage, Storage
from pipeline.core.tables import read_file
from pipeline.stages.export.shard import ENDINGS
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


MAX_COPY_BYTES = 5 << 30  # of S3's CopyObject
PLAN = "corpus.next/manifest.json"  # of the new corpus; on a store also the list of copies to make


def publish_corpus(storage: Storage, shards: Sequence[Part], manifest: Manifest) -> list[FileRecord]:
    """Make these shards the corpus, in one visible step; returns its files. No byte of a shard is written again."""
    ordered = sorted(shards, key=lambda part: part.stats["shard"])
    if [part.stats["shard"] for part in ordered] != list(range(len(ordered))):
        raise StageError(
            ErrorCode.SHARD_MISMATCH, f"shards {[part.stats['shard'] for part in ordered]} have gaps; run build again"
        )
    listed = storage.each(partial(_described, storage), ordered)
    for before, after in pairwise(listed):
        if before.last_key >= after.first_key:
            raise StageError(ErrorCode.KEY_COLLISION, f"{after.first_key} is in shards {before.name} and {after.name}")
    total = sum(shard.samples for shard in listed)
    if total != manifest.kept:
        raise StageError(
            ErrorCode.SHARD_MISMATCH, f"{total} samples in shards, {manifest.kept} pairs kept; run build again"
        )
    summary = CorpusManifest(samples=total, schema_version=VERSION, shards=listed).to_json()
    texts = {"README.md": _card(total, len(listed)).encode(), "manifest.json": summary}
    places = {f"{_name(part)}.{kind}": record for part in ordered for kind, record in part.files.items()}
    if isinstance(storage, LocalStorage):
        _link(storage, texts, places)
        _swap(storage)
    elif isinstance(storage, ObjectStorage):
        _require_copyable(places)
        storage.replace("corpus.next/README.md", texts["README.md"])
        copies = {name: record.path for name, record in places.items()}
        storage.replace(PLAN, _json(json.loads(summary) | {"copies": copies}))
        _copy(storage)
    for part in ordered:
        storage.delete(f"export/parts/{part.name}.json")
    storage.sweep("export/parts", set())
    storage.sweep("export/shards", set())
    files = {name: replace(record, path=f"corpus/{name}") for name, record in places.items()}
    files |= {name: _record(f"corpus/{name}", data) for name, data in texts.items()}
    return [files[name] for name in sorted(files)]


def recover_swap(storage: Storage) -> None:
    """Finish an interrupted swap: the new corpus is complete once it has a manifest."""
    if isinstance(storage, ObjectStorage):
        if storage.exists(PLAN):
            _copy(storage)
    elif isinstance(storage, LocalStorage):
        corpus, following, old = (storage.path(name) for name in ("corpus", "corpus.next", "corpus.old"))
        if not corpus.exists():
            if storage.exists(PLAN):
                os.rename(following, corpus)
            elif old.exists():
                os.rename(old, corpus)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(following, ignore_errors=True)


def _described(storage: Storage, part: Part) -> Shard:
    """A shard as the corpus lists it; tar and Parquet have the same keys in the same order."""
    name = _name(part)
    keys = read_file(storage, part.files["parquet"], ["key"])["key"].to_pylist()
    if len(keys) != part.stats["rows"]:
        raise StageError(
            ErrorCode.SHARD_MISMATCH, f"shard {name}: {len(keys)} rows in Parquet, {part.stats['rows']} samples packed"
        )
    # On a store headers cannot be read without the images between them: there only the size is checked.
    if isinstance(storage, LocalStorage):
        members = _members(storage, part.files["tar"], name)
        if members != [f"{key}.{ending}" for key in keys for ending in ENDINGS]:
            text = f"shard {name}: tar and Parquet differ in keys or order; run build again"
            raise StageError(ErrorCode.SHARD_MISMATCH, text)
    files = {kind: ShardFile(bytes=record.bytes, sha256=record.sha256) for kind, record in part.files.items()}
    return Shard(name=name, samples=len(keys), first_key=keys[0], last_key=keys[-1], files=files)


def _name(part: Part) -> str:
    return f"{part.stats['shard']:05d}"


def _members(storage: Storage, file: FileRecord, name: str) -> list[str]:
    """Names of the members of a tar, in order; only its headers are read."""
    try:
        with storage.open(file.path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            return tar.getnames()
    except tarfile.TarError as error:
        raise StageError(ErrorCode.SHARD_MISMATCH, f"{name}.tar: {error}; run build again") from error


def _link(storage: LocalStorage, texts: Mapping[str, bytes], places: Mapping[str, FileRecord]) -> None:
    """Build corpus.next, its manifest last: with that it is complete."""
    folder = storage.path("corpus.next")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, record in places.items():
        os.link(storage.path(record.path), folder / name)
    for name, data in sorted(texts.items()):
        storage.replace(f"corpus.next/{name}", data)


def _swap(storage: LocalStorage) -> None:
    corpus, following, old = (storage.path(name) for name in ("corpus", "corpus.next", "corpus.old"))
    if corpus.exists():
        os.rename(corpus, old)
    os.rename(following, corpus)
    shutil.rmtree(old, ignore_errors=True)


def _require_copyable(places: Mapping[str, FileRecord]) -> None:
    """InputError, before any change, for a shard that is too large for a store to copy."""
    for name, record in places.items():
        if record.bytes > MAX_COPY_BYTES:
            raise InputError(
                ErrorCode.CONFIG_INVALID,
                f"shard {name} has {record.bytes / 2**30:.1f} GiB, a store copies up to {MAX_COPY_BYTES >> 30}; "
                "set a smaller export.shard_size",
            )


def _copy(storage: ObjectStorage) -> None:
    """Carry out the plan; it is safe to do it twice. A plan whose shards are gone is dropped."""
    plan = json.loads(storage.read(PLAN))
    copies: dict[str, str] = plan.pop("copies")
    if all(storage.each(storage.exists, copies.values())):
        storage.delete(MANIFEST)
        storage.each(lambda name: storage.copy(copies[name], f"corpus/{name}"), copies)
        storage.copy("corpus.next/README.md", "corpus/README.md")
        storage.sweep("corpus", {f"corpus/{name}" for name in (*copies, "README.md")})
        storage.replace(MANIFEST, _json(plan))
    elif not storage.exists(MANIFEST):
        storage.sweep("corpus", set())
    storage.delete(PLAN)
    storage.delete("corpus.next/README.md")


def _json(summary: Mapping[str, Any]) -> bytes:
    return json.dumps(summary, indent=1, sort_keys=True).encode()


def _record(path: str, data: bytes) -> FileRecord:
    return FileRecord(path, 0, len(data), hashlib.sha256(data).hexdigest())


def _card(samples: int, shards: int) -> str:
    def line(field: pa.Field) -> str:
        return f"| {field.name} | {field.type} | {unit(field)} | {description(field)} |"

    return CARD.format(samples=samples, shards=shards, columns="\n".join(line(field) for field in CORPUS))
