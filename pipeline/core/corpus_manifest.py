"""corpus/manifest.json: what a corpus is made of. Export writes it, audit and training read it, in one form."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import FileRecord
from schemas.export import CORPUS

MANIFEST = "corpus/manifest.json"
VERSION = int(CORPUS.metadata[b"pairmill.schema_version"])


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ShardFile(_Model):
    """A file of a shard."""

    bytes: int
    sha256: str


class Shard(_Model):
    """A tar and the Parquet file beside it, with the same samples in the same order. ``files`` by ending."""

    name: str = Field(pattern=r"^\w+$")  # of files beside the manifest
    samples: int
    first_key: str
    last_key: str
    files: dict[str, ShardFile]

    def holds(self, key: str) -> bool:
        """Whether ``key`` is within its range."""
        return self.first_key <= key <= self.last_key

    def record(self, ending: str) -> FileRecord:
        """The file as records of a run name it."""
        file = self.files[ending]
        return FileRecord(f"corpus/{self.name}.{ending}", self.samples, file.bytes, file.sha256)


class CorpusManifest(_Model):
    """The shards in the order of their keys."""

    samples: int
    schema_version: int  # of the Parquet files
    shards: list[Shard]

    def to_json(self) -> bytes:
        """The file: the same manifest gives the same bytes."""
        values = self.model_dump() | {"schema_version": str(self.schema_version)}
        return json.dumps(values, indent=1, sort_keys=True).encode()


def parse(data: bytes, where: object) -> CorpusManifest:
    """InputError `input_unreadable` for what is not a manifest, or one of a newer version; ``where`` names the file."""
    try:
        manifest = CorpusManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or "file"
        raise InputError(
            ErrorCode.INPUT_UNREADABLE,
            f"{where} is not the manifest of a corpus: {what}: {first['msg']}; run pairmill build again",
        ) from None
    if manifest.schema_version > VERSION:
        text = f"{where} has schema version {manifest.schema_version}, this pairmill reads up to {VERSION}; upgrade it"
        raise InputError(ErrorCode.INPUT_UNREADABLE, text)
    return manifest
