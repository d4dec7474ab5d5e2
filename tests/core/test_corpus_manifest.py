"""One form of corpus/manifest.json for those who write it and those who read it."""

from __future__ import annotations

import json

import pytest

from pipeline.core.corpus_manifest import VERSION, CorpusManifest, Shard, ShardFile, parse
from pipeline.core.errors import InputError

FILES = {"tar": ShardFile(bytes=10, sha256="a"), "parquet": ShardFile(bytes=5, sha256="b")}
SHARD = Shard(name="00000", samples=2, first_key="0", last_key="f", files=FILES)
MANIFEST = CorpusManifest(samples=2, schema_version=VERSION, shards=[SHARD])


def test_what_is_written_is_read_back_and_has_the_same_bytes_again():
    assert parse(MANIFEST.to_json(), "manifest.json") == MANIFEST
    assert parse(MANIFEST.to_json(), "manifest.json").to_json() == MANIFEST.to_json()
    assert SHARD.record("tar").path == "corpus/00000.tar"


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda values: values.pop("shards"), "m.json is not the manifest of a corpus: shards: Field required"),
        (
            lambda values: values["shards"][0]["files"]["tar"].pop("bytes"),
            r"shards\.0\.files\.tar\.bytes: Field required",
        ),
        (lambda values: values.update(schema_version="99"), "has schema version 99, this pairmill reads up to"),
    ],
)
def test_what_is_not_a_manifest_is_rejected_with_the_place(edit, text):
    values = json.loads(MANIFEST.to_json())
    edit(values)
    with pytest.raises(InputError, match=text):
        parse(json.dumps(values).encode(), "m.json")


def test_a_file_that_is_not_json_is_rejected():
    with pytest.raises(InputError, match=r"m\.json is not the manifest of a corpus"):
        parse(b"{", "m.json")
