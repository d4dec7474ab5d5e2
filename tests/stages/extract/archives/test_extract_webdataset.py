"""Tars of images that somebody owns: what a sample is, where its picture lies, what names it, and what breaks."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import webdataset

from pipeline.core.errors import InputError
from pipeline.core.sample_names import key_and_ending
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split
from pipeline.web.urls import url_id
from schemas.extract import ADDS

Members = Iterable[tuple[str, bytes]]
Write = Callable[..., Path]
JPEG = b"\xff\xd8\xff a picture, as far as anybody looks here"


@pytest.fixture
def tar(tmp_path: Path) -> Write:
    """tar(members, "00000.tar") writes a plain tar."""

    def write(members: Members, name: str = "00000.tar", **options: Any) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(tmp_path / name, "w", **options) as out:
            for member, data in members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        return tmp_path / name

    return write


def rows_of(path: Path, format_: str = "auto", **settings: object) -> list[dict[str, Any]]:
    (split,) = find_inputs([str(path)], format_)
    assert split.format == "webdataset"
    rows = [row for batch in extract_split(split, Config(**settings)) for row in batch]
    assert all(set(row) == set(ADDS.names) for row in rows)
    return rows


def by_key(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {(row["source_key"] or "").partition("/")[2]: row for row in rows}
    assert len(found) == len(rows)
    return found


def sample(key: str, text: str = "", url: str = "", picture: bytes = JPEG) -> list[tuple[str, bytes]]:
    """Members as img2dataset writes them; with ``url`` the JSON too."""
    text = text or f"picture {key}"
    described = [(f"{key}.json", json.dumps({"url": url, "caption": text, "key": key}).encode())] if url else []
    return [(f"{key}.jpg", picture + key.encode()), *described, (f"{key}.txt", text.encode())]


def test_a_shard_as_img2dataset_writes_it_gives_text_url_key_and_place(tmp_path: Path) -> None:
    """Its writer is webdataset's, which sorts the members of a sample; numbers of its JSON may be NaN."""
    with webdataset.TarWriter(str(tmp_path / "00012.tar")) as writer:
        for number in range(3):
            url, key = f"http://a.example/{number}.jpg", f"000120{number:03d}"
            caption = f"scene {number}, \N{SNOWMAN}"
            fields = {"caption": caption, "url": url, "key": key, "status": "success", "similarity": float("nan")}
            writer.write({"__key__": key, "jpg": JPEG + b"%d" % number, "txt": caption, "json": json.dumps(fields)})
    rows = rows_of(tmp_path / "00012.tar")
    assert [(row["outcome"], row["alt_text"], row["image_url"]) for row in rows] == [
        ("ok", f"scene {number}, \N{SNOWMAN}", f"http://a.example/{number}.jpg") for number in range(3)
    ]
    assert [row["source_key"] for row in rows] == ["00012/000120000", "00012/000120001", "00012/000120002"]
    assert [row["url_id"] for row in rows] == [url_id(f"http://a.example/{number}.jpg") for number in range(3)]
    data = (tmp_path / "00012.tar").read_bytes()
    for number, row in enumerate(rows):
        assert data[row["image_offset"] :][: row["image_bytes"]] == JPEG + b"%d" % number
        assert row["page_url"] is None


def test_the_pair_is_that_of_a_url_list_with_the_same_rows(tar: Write, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,caption\nhttp://A.example:80/x.jpg,a red fox\n")
    (split,) = find_inputs([str(tmp_path / "list.csv")], "auto")
    (listed,) = [row for batch in extract_split(split, Config()) for row in batch]
    (owned,) = rows_of(tar(sample("k", "a red fox", "http://A.example:80/x.jpg")))
    keys = ("candidate_id", "pair_id", "url_id", "image_url", "alt_text")
    assert [owned[key] for key in keys] == [listed[key] for key in keys]


def test_a_text_is_the_txt_or_a_field_of_the_json(tar: Write) -> None:
    fields = {"TEXT": "from the field TEXT", "alt": "from alt", "blip": "from blip", "URL": "http://a.example/1"}
    path = tar(
        [
            ("a.jpg", JPEG),
            ("a.txt", "\N{BYTE ORDER MARK}from the file".encode()),
            ("a.json", json.dumps(fields).encode()),
            ("b.jpg", JPEG),
            ("b.json", json.dumps(fields).encode()),
            ("c.jpg", JPEG),
            ("c.json", json.dumps({"caption": ["one", 2, "three"]}).encode()),
        ]
    )
    texts = [(row["source_key"], row["alt_text"]) for row in rows_of(path)]
    assert texts == [
        ("00000/a", "from the file"),
        ("00000/b", "from the field TEXT"),
        ("00000/c", "one"),
        ("00000/c", "three"),
    ]
    assert [row["alt_text"] for row in rows_of(path, caption_column="blip")] == ["from blip", "from blip", None]
    named = rows_of(path, url_column="nosuch")
    assert all(row["image_url"].startswith("urn:sha256:") for row in named)


@pytest.mark.parametrize("name", ["image_url", "imageUrl", "Image URL", "img-src"])
def test_a_field_named_for_the_image_comes_before_url_x36(tar: Write, name: str) -> None:
    fields = {"url": "http://blog.example/post", name: "http://a.example/1", "Alt-Text": "a cat"}
    (row,) = rows_of(tar([("a.jpg", JPEG), ("a.json", json.dumps(fields).encode())]))
    assert (row["image_url"], row["alt_text"]) == ("http://a.example/1", "a cat")


def test_sha256_and_boxes_are_fields_that_settings_name_f42(tar: Write) -> None:
    """F42"""
    fields = {"caption": "a fox", "sha256": "ab" * 32, "faces": [[0, 0, 0.5, 0.5]], "": "the field without a name"}
    broken = json.dumps(fields | {"faces": [[1, 2]]}).encode()
    path = tar([("a.jpg", JPEG), ("a.json", json.dumps(fields).encode()), ("b.jpg", JPEG), ("b.json", broken)])
    assert {(row["listed_sha256s"], row["boxes"]) for row in rows_of(path)} == {(None, None)}
    read, lost = rows_of(path, sha256_column="sha256", boxes_column="faces")
    assert (read["listed_sha256s"], read["boxes"]) == (["ab" * 32], [0, 0, 0.5, 0.5])
    assert (lost["outcome"], lost["boxes"]) == ("record_malformed", [0.0, 0.0, 1.0, 1.0])
    assert {row["outcome"] for row in rows_of(path, boxes_column="face_bboxes")} == {"record_malformed"}


def test_a_picture_without_a_url_is_named_by_its_bytes(tar: Write) -> None:
    """Whatever the tar, its folder or the key; two pictures of one key are two."""
    here = by_key(rows_of(tar(sample("a", "a fox") + sample("b", "a fox"))))
    there = by_key(
        rows_of(
            tar(
                [*sample("x/a", "a fox", picture=JPEG + b"!"), ("z.jpg", JPEG + b"a"), ("z.txt", b"a fox")], "sub/1.tar"
            )
        )
    )
    assert here["a"]["image_url"] == "urn:sha256:" + hashlib.sha256(JPEG + b"a").hexdigest()
    assert there["z"]["pair_id"] == here["a"]["pair_id"]
    assert len({row["pair_id"] for row in (*here.values(), *there.values())}) == 3


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,AAAA", "http://user:secret@a.example/", "ftp://a.example/1", "x.jpg", "http://[", ""]
)
def test_a_url_that_nobody_could_request_names_nothing_and_costs_no_picture_f43_f46(tar: Write, url: str) -> None:
    """F43, F46: of a picture that is owned the URL is a name alone; where it is none the bytes are one."""
    fields = json.dumps({"url": url, "caption": "a fox"}).encode()
    (row,) = rows_of(tar([("a.jpg", JPEG), ("a.json", fields)]))
    assert row["outcome"] == "ok"
    assert row["image_url"] == "urn:sha256:" + hashlib.sha256(JPEG).hexdigest()
    assert "secret" not in str(row)


def test_keys_end_at_the_first_dot_after_the_last_slash_e3(tar: Write) -> None:
    """E3: as webdataset reads them."""
    names = ["a.jpg", "x/b.jpg", "x.y/c.jpg", "x.y/d.e.jpg", "UPPER.JPG", "./f.jpg", "plain", ".hidden.jpg", "x/g"]
    for name in names:
        key, ending = webdataset.tariterators.base_plus_ext(name)
        expected = (key.removeprefix("./"), ending.lower()) if key else None
        assert key_and_ending(name) == expected, name
    path = tar([("x.y/Fox.7.jpg", JPEG), ("x.y/c.JPG", JPEG), ("x.y/c.TXT", b"a fox")])
    rows = by_key(rows_of(path))
    assert rows["x.y/c"]["outcome"] == "ok"
    assert (rows["x.y/Fox"]["outcome"], "no picture among 7.jpg" in rows["x.y/Fox"]["detail"]) == (
        "record_malformed",
        True,
    )


def test_members_of_a_sample_that_lie_apart_are_brought_together_e5(tar: Write) -> None:
    """E5: tar cf x.tar *.jpg *.json *.txt. Other readers make two half samples of each."""
    samples = [sample(str(number), url=f"http://a.example/{number}") for number in range(4)]
    apart = tar([members[place] for place in range(3) for members in samples], "apart.tar")
    beside = tar([member for members in samples for member in members], "beside.tar")
    columns = ("pair_id", "image_url", "alt_text", "image_bytes", "outcome")
    read = [[[row[column] for column in columns] for row in rows_of(path)] for path in (apart, beside)]
    assert read[0] == read[1]
    assert len(read[0]) == 4


def test_of_two_samples_with_one_key_no_text_goes_to_the_others_picture(tar: Write) -> None:
    """Neighbours belong together; where that leaves a doubt, each half stands alone."""
    two = tar([("k.jpg", JPEG + b"1"), ("k.txt", b"one"), ("k.jpg", JPEG + b"2"), ("k.txt", b"two")])
    assert [(row["image_url"][-4:], row["alt_text"]) for row in rows_of(two)] == [
        (hashlib.sha256(JPEG + number).hexdigest()[-4:], text) for number, text in ((b"1", "one"), (b"2", "two"))
    ]
    doubtful = tar(
        [("k.jpg", JPEG + b"1"), ("k.jpg", JPEG + b"2"), ("j.jpg", JPEG), ("k.txt", b"whose?"), ("j.txt", b"its own")]
    )
    rows = rows_of(doubtful)
    assert sorted((row["outcome"], row["alt_text"]) for row in rows if row["outcome"] == "ok") == [("ok", "its own")]
    assert sorted(row["outcome"] for row in rows) == ["alt_missing", "alt_missing", "ok", "record_malformed"]


def test_a_tar_cut_off_anywhere_gives_the_samples_before_the_cut_x1(tar: Write, tmp_path: Path) -> None:
    """X1: and one row that names file and byte. tarfile itself ends in silence at most of these cuts."""
    path = tar([member for number in range(4) for member in sample(str(number), url=f"http://a.example/{number}")])
    data = path.read_bytes()
    whole = rows_of(path)
    ends = [row["image_offset"] for row in whole[1:]]  # there the next sample has shown its header
    end = data.rindex(b"picture 3") + 512 - data.rindex(b"picture 3") % 512
    for cut in [*range(0, end, 256), *range(1, end, 1023), end + 511]:
        (tmp_path / "cut.tar").write_bytes(data[:cut])
        *rows, lost = rows_of(tmp_path / "cut.tar", "webdataset")
        assert lost["outcome"] == "archive_truncated", cut
        assert lost["detail"].startswith("cut.tar, byte ")
        assert [row["pair_id"] for row in rows] == [row["pair_id"] for row in whole[: len(rows)]]
        assert len(rows) >= sum(end <= cut for end in ends)
    (tmp_path / "cut.tar").write_bytes(data[: end + 512])  # one block of zeros is an end
    assert len(rows_of(tmp_path / "cut.tar")) == 4


def test_what_cannot_be_read_on_says_so_x2(tar: Write, tmp_path: Path) -> None:
    """X2: a broken header, which takes with it the sample that may go on there; a second tar behind the first."""
    data = tar([member for number in range(4) for member in sample(str(number))]).read_bytes()
    third = data.index(b"2.jpg")
    for name, broken in (("header", data[:third] + b"\1" + data[third + 1 :]), ("behind", data + data)):
        (tmp_path / f"{name}.tar").write_bytes(broken)
        *rows, lost = rows_of(tmp_path / f"{name}.tar")
        assert [row["outcome"] for row in rows] == ["ok"] * (1 if name == "header" else 4)
        assert (lost["outcome"], lost["count"]) == ("archive_malformed", 1)
    (tmp_path / "none.tar").write_bytes(bytes(range(256)) * 8)
    assert [row["outcome"] for row in rows_of(tmp_path / "none.tar", "webdataset")] == ["archive_malformed"]


def test_a_sample_with_a_fault_costs_itself_alone_x8_x12_x16(tar: Write) -> None:
    """X8: broken JSON. X12: no UTF-8. X16: no text, or an empty one. And pictures of no bytes, and none at all."""
    members = [
        *sample("good"),
        ("notext.jpg", JPEG),
        ("empty.jpg", JPEG),
        ("empty.txt", b" \n"),
        ("nopicture.txt", b"a fox"),
        ("nopicture.json", b"{}"),
        ("README.md", b"# about"),
        ("json.jpg", JPEG),
        ("json.json", b'{"url": '),
        ("list.jpg", JPEG),
        ("list.json", b"[1]"),
        ("deep.jpg", JPEG),
        ("deep.json", b"[" * 100_000),
        ("latin.jpg", JPEG),
        ("latin.txt", b"\xe9\xe8\xe9\xe8"),
        ("bytes.json", b"\xff\xfe{"),
        ("bytes.jpg", JPEG),
        ("null.jpg", JPEG),
        ("null.json", b'{"url": null, "caption": null}'),
        ("nobytes.jpg", b""),
        ("nobytes.txt", b"a fox"),
        ("half.jpg", JPEG),
        ("half.json", b'{"caption": "\\ud800 a red fox crosses the snow"}'),
        ("long.jpg", JPEG),
        ("long.txt", b"a" * (2**24 + 1)),
    ]
    rows = by_key(rows_of(tar(members)))
    outcomes = {key: row["outcome"] for key, row in rows.items()}
    assert outcomes == {
        "good": "ok",
        "notext": "alt_missing",
        "empty": "alt_empty",
        "nopicture": "record_malformed",
        "README": "record_malformed",
        "json": "record_malformed",
        "list": "record_malformed",
        "deep": "record_malformed",
        "latin": "text_undecodable",
        "bytes": "record_malformed",
        "null": "alt_missing",
        "nobytes": "ok",
        "half": "ok",
        "long": "record_malformed",
    }
    assert rows["nobytes"]["image_bytes"] == 0
    assert rows["half"]["alt_text"] == "\N{REPLACEMENT CHARACTER} a red fox crosses the snow"
    assert "limit" in rows["long"]["detail"]


def test_links_folders_and_devices_are_no_pictures(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as out:
        for name, kind in (
            ("a.jpg", tarfile.SYMTYPE),
            ("b.jpg", tarfile.LNKTYPE),
            ("c.jpg", tarfile.DIRTYPE),
            ("d.jpg", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
            text = tarfile.TarInfo(name.replace("jpg", "txt"))
            text.size = 5
            out.addfile(text, io.BytesIO(b"a fox"))
    rows = rows_of(tmp_path / "x.tar", "webdataset")
    assert [(row["outcome"], row["image_offset"]) for row in rows] == [("record_malformed", None)] * 4


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_in_pax_and_gnu_tars(tar: Write, form: int) -> None:
    key = "d" * 120 + "/" + "\N{SNOWMAN}" * 80
    path = tar([*sample(key, "a fox"), *sample("b")], format=form)
    rows = by_key(rows_of(path))
    assert set(rows) == {key, "b"}
    assert path.read_bytes()[rows["b"]["image_offset"] :][: rows["b"]["image_bytes"]] == JPEG + b"b"
    unnamed = tar(
        [("\udcff.jpg", JPEG), ("\udcff.txt", b"a fox")], format=form, encoding="utf-8", errors="surrogateescape"
    )
    (row,) = rows_of(unnamed)
    row["source_key"].encode()


def test_a_large_tar_is_not_held_in_memory(tar: Write) -> None:
    path = tar([(f"{number}.{ending}", b"") for number in range(5000) for ending in ("jpg", "txt")])
    (split,) = find_inputs([str(path)], "webdataset")
    tracemalloc.start()
    rows = sum(1 for batch in extract_split(split, Config()) for _ in batch)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 5000
    assert most < 8 * 2**20 + 4096 * 2000  # one batch of rows; tarfile alone would hold 10,000 members


def test_a_tar_is_told_by_its_members_x21(tar: Write, tmp_path: Path) -> None:
    """X21: one with pages in it is HTML, as before; a packed one has no places to read from."""
    page = b'<img src="https://a.example/a.jpg" alt="a cat">'
    html = tar([("x/a.jpg", JPEG), ("x/a.html", page)], "html.tar")
    assert find_inputs([str(html)], "auto")[0].format == "html"
    assert find_inputs([str(html)], "webdataset")[0].format == "webdataset"
    assert find_inputs([str(tar(sample("a")))], "auto")[0].format == "webdataset"
    assert rows_of(tar([], "empty.tar")) == []
    (tmp_path / "a.html").write_bytes(page)
    (tmp_path / "list.csv").write_text("url,caption\n")
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "packed.tar.gz").write_bytes(gzip.compress(tar(sample("a")).read_bytes()))
    for path, format_, text in (
        ("packed.tar.gz", "auto", "a packed tar cannot be read in place; unpack it with gunzip"),
        ("packed.tar.gz", "webdataset", "unpack it with gunzip"),
        ("a.html", "webdataset", "is html, but extract.format is webdataset"),
        ("list.csv", "webdataset", "is urls, but extract.format is webdataset"),
        ("noise.bin", "webdataset", "tar of images"),
    ):
        with pytest.raises(InputError, match=text) as caught:
            find_inputs([str(tmp_path / path)], format_)
        assert caught.value.code == "input_unreadable"


def test_a_folder_of_img2dataset_stands_for_its_tars(tar: Write, tmp_path: Path) -> None:
    for shard in ("00000", "00001"):
        tar(sample(shard), f"out/{shard}.tar")
        (tmp_path / f"out/{shard}.parquet").write_bytes(b"PAR1")
        (tmp_path / f"out/{shard}_stats.json").write_text("{}")
    splits = find_inputs([str(tmp_path / "out")], "auto")
    assert [(os.path.basename(split.path), split.format) for split in splits] == [
        ("00000.tar", "webdataset"),
        ("00001.tar", "webdataset"),
    ]


def test_a_tar_gives_the_same_rows_in_any_folder_and_a_copy_is_read_once(tar: Write, tmp_path: Path) -> None:
    paths = [
        tar([*sample("a", url="http://a.example/1"), *sample("b"), ("c.txt", b"no picture")], f"{folder}/0.tar")
        for folder in "xy"
    ]
    assert rows_of(paths[0]) == rows_of(paths[1])
    assert [split.copies for split in find_inputs([str(path) for path in paths], "auto")] == [1]
    paths[1].write_bytes(paths[1].read_bytes().replace(b"picture b", b"picture B"))
    assert len(find_inputs([str(path) for path in paths], "auto")) == 2


def test_the_shared_photographs_are_read_in_place(shared_data: Path) -> None:
    path = shared_data / "flickr8k-images.tar"
    rows = rows_of(path)
    with tarfile.open(path) as source:
        members = {member.name: member for member in source}
    assert len(rows) == len(members)
    assert {row["outcome"] for row in rows} == {"alt_missing"}
    placed = {row["source_key"]: (row["image_offset"], row["image_bytes"]) for row in rows}
    assert placed == {
        f"flickr8k-images/{name.removesuffix('.jpg')}": (member.offset_data, member.size)
        for name, member in members.items()
    }
