"""Pairs are found in corpora, tars and lists, checked before they are read, and kept in an order of their own."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc

import pytest
import webdataset

from pipeline.core.errors import InputError, StageError
from pipeline.training.sources import Index, find_sources, fingerprint


def index_of(*paths, **others):
    return Index(find_sources([str(path) for path in paths], **others))


def rows(index):
    return [(index.key(n), index.picture(n), index.captions(n)) for n in range(len(index))]


def expected(samples):
    return [(sample["__key__"], sample["jpg"], [sample["txt"]]) for sample in samples]


def test_a_corpus_is_read_by_its_manifest_in_order_of_keys(write_corpus, make_samples, tmp_path):
    some = make_samples(11)
    write_corpus(tmp_path / "run" / "corpus", some[::-1], shards=3)
    assert rows(index_of(tmp_path / "run" / "corpus")) == rows(index_of(tmp_path / "run")) == expected(some)


def test_a_run_with_brackets_in_its_name_is_not_a_pattern(write_corpus, make_samples, tmp_path):
    some = make_samples(3)
    write_corpus(tmp_path / "my run [v1]" / "corpus", some, shards=1)
    write_corpus(tmp_path / "my run v" / "corpus", make_samples(2, seed=1), shards=1)
    assert rows(index_of(tmp_path / "my run [v1]")) == expected(some)


def test_samples_are_those_the_reference_reader_finds(pairs_tar):
    reference = [
        (sample["__key__"], sample["jpg"], [sample["txt"].decode()])
        for sample in webdataset.WebDataset(str(pairs_tar), shardshuffle=False)
    ]
    assert rows(index_of(pairs_tar)) == sorted(reference)


def test_neither_order_nor_number_of_files_changes_the_samples(write_corpus, write_tar, make_samples, tmp_path):
    """N11"""
    first, second = make_samples(9), make_samples(5, seed=1)
    a = write_corpus(tmp_path / "a", first, shards=4)
    b = write_tar(tmp_path / "b.tar", second)
    assert rows(index_of(a, b)) == rows(index_of(b, a)) == expected(first + second)
    assert fingerprint(find_sources([str(a), str(b)])) == fingerprint(find_sources([str(b), str(a), str(b)]))
    assert fingerprint(find_sources([str(a)])) != fingerprint(find_sources([str(b)]))


def test_data_has_the_same_name_wherever_it_lies(write_corpus, make_samples, tmp_path):
    for folder in "ab":
        write_corpus(tmp_path / folder, make_samples(6), shards=2)
    assert fingerprint(find_sources([str(tmp_path / "a")])) == fingerprint(find_sources([str(tmp_path / "b")]))


def test_a_wildcard_and_a_folder_of_tars_are_the_same_files(write_tar, make_samples, tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", make_samples(2, seed=number))
    assert rows(index_of(tmp_path / "*.tar")) == rows(index_of(tmp_path))
    assert len(index_of(tmp_path)) == 6


def test_two_samples_of_one_key_are_two_samples(write_tar, make_samples, tmp_path):
    a = write_tar(tmp_path / "a.tar", make_samples(2))
    b = write_tar(tmp_path / "b.tar", [sample | {"txt": "another"} for sample in make_samples(2)])
    assert len(index_of(a, b)) == 4


@pytest.mark.parametrize("apart", [False, True])
def test_a_list_names_images_with_several_captions(make_samples, tmp_path, apart):
    images = tmp_path / "elsewhere" if apart else tmp_path
    (images / "pictures").mkdir(parents=True)
    entries = []
    for sample in make_samples(3):
        (images / "pictures" / f"{sample['__key__']}.jpg").write_bytes(sample["jpg"])
        entries.append({"image": f"pictures/{sample['__key__']}.jpg", "caption": [sample["txt"], "two words", " "]})
    (tmp_path / "list.json").write_text(json.dumps(entries))
    found = rows(index_of(tmp_path / "list.json", images=str(images) if apart else ""))
    assert [picture for _, picture, _ in found] == [sample["jpg"] for sample in make_samples(3)]
    assert [captions for _, _, captions in found] == [[sample["txt"], "two words"] for sample in make_samples(3)]


def test_captions_stand_in_txt_or_else_in_json(write_tar, make_samples, tmp_path):
    a, b, c = make_samples(3)
    b["json"], c["json"] = b'{"caption": "from json"}', b'{"caption": ["one", "two"]}'
    del c["txt"]
    assert [captions for *_, captions in rows(index_of(write_tar(tmp_path / "a.tar", [a, b, c])))] == [
        [a["txt"]],
        [b["txt"]],
        ["one", "two"],
    ]


def test_samples_without_picture_or_caption_are_listed_by_key(write_tar, make_samples, tmp_path):
    """N9"""
    some = make_samples(6)
    del some[1]["jpg"]
    some[2]["txt"] = " \n"
    del some[4]["txt"]
    some[5] = {"__key__": "000005", "jpg": some[5]["jpg"], "json": b"{broken"}
    index = index_of(write_tar(tmp_path / "a.tar", some))
    assert [index.key(n) for n in range(len(index))] == ["000000", "000003"]
    assert index.unreadable == ["000001", "000002", "000004", "000005"]


def test_a_text_without_end_costs_its_sample_and_no_memory(write_tar, make_samples, tmp_path):
    """N9: 64 MiB of text, 32 MiB of JSON, and JSON in a million brackets."""
    some = make_samples(5)
    some[1]["txt"] = " dog" * (1 << 24)
    for number, text in ((2, b'{"caption": "%s"}' % (b"cat " * (1 << 23))), (3, b"[" * 1_000_000)):
        del some[number]["txt"]
        some[number]["json"] = text
    tar = write_tar(tmp_path / "a.tar", some)
    del some
    tracemalloc.start()
    index = index_of(tar)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [index.key(n) for n in range(len(index))] == ["000000", "000004"]
    assert index.unreadable == ["000001", "000002", "000003"]
    assert peak < 24 << 20


def break_missing(corpus):
    (corpus / "00001.tar").unlink()


def break_cut(corpus):
    data = (corpus / "00001.tar").read_bytes()
    (corpus / "00001.tar").write_bytes(data[: len(data) // 2])


def break_longer(corpus):
    with (corpus / "00001.tar").open("ab") as tar:
        tar.write(b"x")


@pytest.mark.parametrize("damage", [break_missing, break_cut, break_longer])
def test_a_shard_that_is_not_as_in_the_manifest_stops_before_the_start(write_corpus, make_samples, tmp_path, damage):
    """N10, V5"""
    corpus = write_corpus(tmp_path / "corpus", make_samples(9), shards=3)
    damage(corpus)
    with pytest.raises(InputError, match=r"shard_mismatch: \S*00001\.tar"):
        find_sources([str(corpus)])


def test_flipped_bytes_are_found_where_sha256_is_asked_for(write_corpus, make_samples, tmp_path):
    """N10"""
    corpus = write_corpus(tmp_path / "corpus", make_samples(9), shards=3)
    data = bytearray((corpus / "00002.tar").read_bytes())
    data[700] ^= 1
    (corpus / "00002.tar").write_bytes(data)
    assert len(find_sources([str(corpus)])) == 3
    with pytest.raises(InputError, match=r"shard_mismatch: \S*00002\.tar has another sha256"):
        find_sources([str(corpus)], verify=True)


def test_a_manifest_that_promises_more_samples_is_believed(write_corpus, make_samples, tmp_path):
    """V5"""
    corpus = write_corpus(tmp_path / "corpus", make_samples(9), shards=3)
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["shards"][1]["samples"] = 4
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"shard_mismatch: .* has 3 samples, its manifest says 4"):
        index_of(corpus)


def test_a_tar_that_is_cut_off_is_never_half_a_tar(pairs_tar, tmp_path):
    """N10"""
    data = pairs_tar.read_bytes()
    for size in (len(data) // 2, len(data) // 2 + 300, 1000):
        (tmp_path / "cut.tar").write_bytes(data[:size])
        with pytest.raises(InputError, match=r"shard_mismatch: \S*cut\.tar is cut off"):
            index_of(tmp_path / "cut.tar")


def test_a_tar_with_hostile_headers_is_refused_and_deep_json_is_no_caption_x80_x81(pairs_tar, tmp_path):
    """X80, X81: RecursionError in tarfile and in json."""
    info = tarfile.TarInfo("p")
    info.type, info.size = tarfile.XHDTYPE, 12
    header = info.tobuf(tarfile.USTAR_FORMAT) + b"12 path=abc\n".ljust(512, b"\0")
    (tmp_path / "headers.tar").write_bytes(header * 3000 + pairs_tar.read_bytes())
    with pytest.raises(InputError, match=r"shard_mismatch: \S*headers\.tar is cut off or not a plain tar \(byte 0"):
        index_of(tmp_path / "headers.tar")
    with tarfile.open(tmp_path / "deep.tar", "w") as tar:
        for name, data in (("a.jpg", b"a"), ("a.json", b"[" * 100_000), ("b.jpg", b"b"), ("b.txt", b"text")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    index = index_of(tmp_path / "deep.tar")
    assert (rows(index), index.unreadable) == ([("b", b"b", ["text"])], ["a"])
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match=r"input_unreadable: \S*deep\.json is not JSON"):
        index_of(tmp_path / "deep.json")


def test_a_shard_that_shrinks_later_is_named(pairs_tar, tmp_path):
    """N10"""
    (tmp_path / "a.tar").write_bytes(pairs_tar.read_bytes())
    index = index_of(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(pairs_tar.read_bytes()[:5000])
    with pytest.raises(StageError, match=r"shard_unreadable: \S*a\.tar ends before byte"):
        index.picture(39)
    (tmp_path / "a.tar").unlink()
    index = index_of(pairs_tar)
    assert index.picture(39)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("nowhere.tar", None, "input_missing"),
        ("*.nothing", None, "input_missing"),
        ("notes.txt", "hello", "input_unreadable"),
        ("list.json", "{", "input_unreadable"),
        ("list.json", '[{"picture": "a.jpg"}]', "input_schema"),
        ("text.tar", "no tar at all" * 100, "shard_mismatch"),
    ],
)
def test_what_is_no_data_is_told_in_one_line(tmp_path, name, content, code):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        index_of(tmp_path / name)
    assert error.value.code == code
    assert name in error.value.text
    assert "\n" not in error.value.text
