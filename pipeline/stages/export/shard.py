"""One shard: a tar in WebDataset layout and the Parquet file beside it, same rows, same order."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ErrorCode, StageError
from pipeline.core.ids import key_of_bytes
from pipeline.core.parts import OpenPart, is_committed, part_name
from pipeline.core.storage import Storage, read_pictures
from pipeline.core.tables import COMPRESSION
from schemas.export import CORPUS

STAGE = "export"
FOLDER = f"{STAGE}/shards"
ROW_GROUP_ROWS = 10_000
ENDINGS = ("jpg", "txt", "json")  # of a sample's members, in their order
LAYOUT_VERSION = "1"  # raised when the bytes of a shard would change for the same rows


def write_shard(storage: Storage, number: int, rows: Sequence[dict[str, Any]]) -> str:
    """Write and commit the shard of these rows (in pair_id order), unless it exists; returns the part's name."""
    samples = [_sample(row) for row in rows]
    keys = [sample["key"] for sample in samples]
    if keys != sorted(set(keys)):
        raise StageError(
            ErrorCode.KEY_COLLISION, f"shard {number:05d} has two samples of one key or is not in order of keys"
        )
    texts = [_json(sample) for sample in samples]
    identity = key_of_bytes(LAYOUT_VERSION.encode(), str(number).encode(), *texts)
    name = part_name(LAYOUT_VERSION, identity)
    if is_committed(storage, STAGE, name):
        return name
    pictures = read_pictures(storage, ((row["image_file"], row["image_offset"], row["image_bytes"]) for row in rows))
    with OpenPart(storage, STAGE, LAYOUT_VERSION) as part:
        tar_file = part.stream("tar", FOLDER, ".tar")
        for row, sample, text, picture in zip(rows, samples, texts, pictures, strict=True):
            if picture is None or hashlib.sha256(picture).hexdigest() != sample["image_sha256"]:
                raise StageError(
                    ErrorCode.SHARD_MISMATCH,
                    f"{row['image_file']}: the picture of {sample['key']} changed since it was verified; "
                    "remove export/manifest.json and run build again",
                )
            members = zip(ENDINGS, (picture, sample["caption"].encode(), text), strict=True)
            tar_file.write(b"".join(_member(f"{sample['key']}.{ending}", data) for ending, data in members))
        tar_file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of a tar, padded to whole records
        tar_file.write(bytes(-tar_file.tell() % tarfile.RECORDSIZE))
        table = pa.Table.from_pylist(samples, schema=CORPUS)
        parquet_file = part.stream("parquet", FOLDER, ".parquet")
        # In one call: the same table gives the same bytes.
        pq.write_table(table, parquet_file, compression=COMPRESSION, row_group_size=ROW_GROUP_ROWS)
        counts = {"shard": number, "rows": len(rows)}
        return part.commit(identity, counts, rows={"tar": len(rows), "parquet": len(rows)})


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    values = row | {"key": row["pair_id"], "url": row["image_url"]}
    return {name: values[name] for name in CORPUS.names}


def _json(sample: dict[str, Any]) -> bytes:
    return json.dumps(sample, sort_keys=True, ensure_ascii=False, separators=(", ", ": ")).encode()


def _member(name: str, data: bytes) -> bytes:
    """A member of a tar: header, content, NULs up to a whole block. Pieces of a sample have one time."""
    member = tarfile.TarInfo(name)  # mtime 0, uid 0, no owner names: nothing of the machine or moment
    member.size = len(data)
    member.mode = 0o644
    return b"".join((member.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)))
