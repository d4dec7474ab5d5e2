"""What stands in a caption: the index against a plain search, and every kind of border that can go wrong."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from checkout import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.balance.folding import fold_texts
from pipeline.balance.index import MAGIC, Index, build_index, open_index, write_index
from pipeline.core.errors import InputError
from pipeline.core.storage import open_storage


def index_of(entries: list[str]) -> Index:
    return Index.over(build_index(sorted({entry for entry in fold_texts(entries) if entry})))


def matched(entries: list[str], captions: list[str | None]) -> list[list[str] | None]:
    return index_of(entries).match(pa.array(captions, pa.string())).to_pylist()


@pytest.mark.parametrize(
    ("caption", "entries", "found"),
    [
        (
            "A red fox in the snow",
            ["red fox", "fox", "red", "snow", "fox snow", "no"],
            ["fox", "red", "red fox", "snow"],
        ),
        ("fox", ["fox", "fox terrier", "a fox"], ["fox"]),
        ("FOX!", ["fox", "Fox!"], ["fox", "fox!"]),
        ("catalogue of cats", ["cat", "cats", "log"], ["cats"]),
        (
            "new york city hall",
            ["new york", "new york city", "york city hall", "city"],
            ["city", "new york", "new york city", "york city hall"],
        ),
        ("the new york times square", ["new york times", "times square"], ["new york times", "times square"]),
        ("red, fox", ["red fox", "red, fox"], ["red, fox"]),
        ("red  \t fox", ["red fox"], ["red fox"]),
        ("a well-known T-shirt", ["well known", "well", "t shirt", "tshirt"], ["t shirt", "well", "well known"]),
        ("well - known", ["well known", "well-known"], []),
        (
            "the dog's bowl, rock 'n' roll",
            ["dog", "dog's", "s", "rock n roll", "rock 'n' roll"],
            ["dog", "dog s", "rock 'n' roll", "s"],
        ),
        ("U.S. Army in the us", ["u.s.", "u.s. army", "us", "army"], ["army", "u.s.", "u.s. army", "us"]),
        ("c++ and c#", ["c", "c++", "c#"], ["c", "c#", "c++"]),
        ("雪の中の赤い狐", ["赤い狐", "狐", "赤", "中の赤", "雪 の"], ["中の赤", "狐", "赤", "赤い狐"]),
        ("写真 cat ネコ", ["cat", "ネコ", "写真 cat", "コ"], ["cat", "コ", "ネコ", "写真 cat"]),
        ("วัดเก่าริมแม่น้ำ", ["แม่น้ำ", "น้ำ", "น", "เก่า"], ["น้ำ", "เก่า", "แม่น้ำ"]),
        ("e\u0301te\u0301 cafe", ["été", "ete", "café", "cafe"], ["cafe", "été"]),
        ("हिन्दी किताब", ["हिन्दी", "हिन", "किताब"], ["किताब", "हिन्दी"]),
        ("Straße STRASSE", ["strasse", "straße"], ["strasse"]),
        ("I ❤\ufe0f dogs", ["❤\ufe0f", "❤", "dogs", "i dogs"], ["dogs", "❤\ufe0f"]),
        ("two\nlines", ["two lines"], ["two lines"]),
        ("fox fox fox", ["fox", "fox fox"], ["fox", "fox fox"]),
        ("", ["fox"], []),
        (" - ", ["fox", "-"], ["-"]),
        (None, ["fox"], None),
    ],
)
def test_an_entry_is_found_from_word_border_to_word_border_only(caption, entries, found) -> None:
    assert matched(entries, [caption]) == [found]


WORDS = st.text(st.sampled_from("ab é\u0301狐ิก'-. \n\u200dＡß❤\ufe0f7_"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.lists(WORDS, max_size=6))
@example(["a"], [" \u0301a", "\u0301", "a\u0301\u0301a"])
@example(["a b", "a b a b", "b a"], ["a b a b a b a"])
def test_the_index_finds_what_a_plain_search_finds(
    plain: SimpleNamespace, entries: list[str], captions: list[str]
) -> None:
    folded = sorted({plain.fold(entry) for entry in entries} - {""})
    wanted = [[entry for entry in folded if plain.matches(entry, caption)] for caption in captions]
    assert matched(entries, captions) == wanted


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_texts_are_folded_as_plain_python_folds_them(plain: SimpleNamespace, texts: list[str]) -> None:
    clean = [text for text in texts if all(c.isprintable() for c in text)]  # controls are cleaned away before
    assert fold_texts(clean) == [plain.fold(text) for text in clean]


def test_real_captions_match_as_by_a_plain_search(plain: SimpleNamespace, laion_captions: list[str]) -> None:
    dice = random.Random(3)
    captions = dice.sample(laion_captions, 400)
    words = [word for caption in captions for word in caption.split()]
    entries = sorted(
        {*dice.sample(words, 60), *(" ".join(words[at : at + 2]) for at in dice.sample(range(len(words)), 60))}
    )
    folded = sorted({plain.fold(entry) for entry in entries} - {""})
    texts = [plain.fold(caption) for caption in captions]
    wanted = [[e for e in folded if e in text and plain.matches(e, text)] for text in texts]
    assert matched(entries, captions) == wanted
    assert sum(map(len, wanted)) > 400


def test_what_only_its_hash_says_is_no_match() -> None:
    """The entry's own letters decide: here they were changed behind its hash."""
    data = build_index(["a red fox", "fox", "owl"])
    assert data.count(b"a red foxfoxowl") == 1
    forged = Index.over(data.replace(b"a red foxfoxowl", b"a red fixfoxowl"))
    assert forged.match(pa.array(["a red fox and an owl"])).to_pylist() == [["fox", "owl"]]


def test_no_place_in_a_batch_moves_an_answer(laion_captions: list[str]) -> None:
    index = index_of([word for caption in laion_captions[:500] for word in caption.split()])
    captions = laion_captions[:300]
    alone = [index.match(pa.array([caption])).to_pylist()[0] for caption in captions]
    assert index.match(pa.array(captions)).to_pylist() == alone
    assert index.match(pa.chunked_array([captions[:7], captions[7:]]).combine_chunks()).to_pylist() == alone


def test_long_texts_do_not_end_at_a_chunk() -> None:
    caption = "a b " * 50_000 + "red fox"
    assert matched(["red fox", "b a"], [caption, "red fox", caption]) == [
        ["b a", "red fox"],
        ["red fox"],
        ["b a", "red fox"],
    ]


def test_entries_are_compared_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, captions = ["a", "a a", "a a a", "b", "b a"], ["a a a a b a", "", "a a", "c"]
    found = [["a", "a a", "a a a", "b", "b a"], [], ["a", "a a"], []]
    for letters in (1, 2, 5, 1000):
        monkeypatch.setattr("pipeline.balance.index.LETTERS_AT_ONCE", letters)
        assert matched(entries, captions) == found


@pytest.mark.long
def test_entries_within_entries_may_have_more_letters_than_a_string_array_holds() -> None:
    """Seven captions of a thousand words, in which each word begins an entry of up to 999: 2.3 GB."""
    entries = [" ".join("a" * words) for words in range(1, 1000)]
    assert matched(entries, [" ".join("a" * 1000)] * 7) == [entries] * 7


def test_the_same_entries_give_the_same_bytes() -> None:
    entries = sorted({f"entry {number % 977} of {number}" for number in range(5_000)})
    assert build_index(entries) == build_index(entries)


@pytest.mark.parametrize(
    "data", [b"", b"short", MAGIC, MAGIC + b"x" * 500, build_index(["fox"])[:-1], build_index(["fox"]) + b"x"]
)
def test_a_broken_index_is_named(data: bytes) -> None:
    with pytest.raises(InputError, match="the index of queries is broken"):
        Index.over(data)


LOOK = """
import sys
from pathlib import Path
import pyarrow as pa
from pipeline.balance.index import Index
path = sys.argv[1]
index = Index.mapped(Path(path))
found = index.match(pa.array([f"word{number} and word7" for number in range(2000)])).to_pylist()
own, seen, inside = 0, 0, False
for line in Path("/proc/self/smaps").read_text().splitlines():
    inside = line.endswith(path) if "-" in line.split(" ")[0] else inside
    kilobytes = int(line.split()[1]) if inside and line.endswith(" kB") else 0
    own += kilobytes if line.startswith("Anonymous:") else 0
    seen += kilobytes if line.startswith("Rss:") else 0
print(own, seen > 0, found[3])
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory maps are read from /proc")
def test_a_worker_has_no_page_of_the_file_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "queries.index"
    path.write_bytes(build_index(sorted({f"word{number}" for number in range(20_000)})))
    said = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert said.stdout == "0 True ['word3', 'word7']\n", said.stderr


def test_a_run_on_a_disk_opens_its_index_in_place(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    file = write_index(storage, "text/queries", ["fox", "red fox"])
    assert file.rows == 2
    assert open_index(storage, file).match(pa.array(["the red fox"])).to_pylist() == [["fox", "red fox"]]
