"""Lists of pictures that must not be kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.stages.fetch.blocklist import NO_BLOCKLIST, read_blocklist
from pipeline.vision.pdq import pdq

SHA256, MD5 = hashlib.sha256(b"bad").hexdigest(), hashlib.md5(b"worse").hexdigest()


@pytest.fixture
def written(tmp_path: Path):
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def key(written) -> str:
    return written("key", "sixteen bytes and more\n")


def test_bytes_are_found_by_either_hash_and_nothing_else_is(written, key) -> None:
    lists = read_blocklist(
        [written("a", f"# shared list\n{SHA256},2024-01-01\n")], [written("b", MD5.upper())], [], 31, key
    )
    assert [lists.has_bytes(data) for data in (b"bad", b"worse", b"good", b"")] == [True, True, False, False]


def test_a_picture_is_found_by_pdq_within_the_distance_that_is_set(written, key) -> None:
    picture = Image.radial_gradient("L").resize((300, 200)).convert("RGB")
    hash_, quality = pdq(picture)
    ten_bits_off = (int.from_bytes(hash_) ^ 0x3FF).to_bytes(32)
    for bits, found in ((10, True), (9, False)):
        lists = read_blocklist([], [], [written("pdq", ten_bits_off.hex())], bits, key)
        assert lists.has_picture(hash_, max(quality, 50)) is found
    assert not lists.has_picture(ten_bits_off, 49)


def test_the_trace_depends_on_the_key_and_does_not_tell_the_hash(written, key) -> None:
    lists = [
        read_blocklist([written("a", SHA256)], [], [], 31, name)
        for name in (key, written("other", "another key of mine"))
    ]
    traces = {each.trace(SHA256) for each in lists}
    assert len(traces) == 2
    assert not any(SHA256 in trace for trace in traces)
    assert len({each.digest for each in lists}) == 2


def test_without_lists_there_is_nothing_to_ask(key) -> None:
    assert not read_blocklist([], [], [], 31, "")
    assert not NO_BLOCKLIST.has_bytes(b"bad")


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("abc", "resource_missing", "64 hex digits"),
        (MD5, "resource_missing", "64 hex digits"),
        ("# none\n", "resource_missing", "no entry"),
    ],
)
def test_a_list_that_is_none_is_named_before_any_request_t16(written, key, line, code, says) -> None:
    """T16"""
    with pytest.raises(InputError, match=says) as raised:
        read_blocklist([written("a", line)], [], [], 31, key)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("text", "code"), [("short", "config_invalid"), (None, "resource_missing"), ("", "config_invalid")]
)
def test_lists_need_a_key_of_some_length(written, tmp_path, text, code) -> None:
    name = str(tmp_path / "none") if text is None else written("key", text)
    with pytest.raises(InputError) as raised:
        read_blocklist([written("a", SHA256)], [], [], 31, name)
    assert raised.value.code == code


def test_lists_without_a_key_are_refused(written) -> None:
    with pytest.raises(InputError, match=r"fetch\.blocklist_key is empty"):
        read_blocklist([written("a", SHA256)], [], [], 31, "")
