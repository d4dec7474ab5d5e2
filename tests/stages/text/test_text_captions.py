"""measure_batch: one row in, one row out, and no row costs another."""

import gzip
import unicodedata
from collections import defaultdict

import pyarrow as pa
import pytest
from checkout import SHARED
from pydantic import ValidationError

from pipeline.core.ids import key_of
from pipeline.stages.text import captions as kernel
from pipeline.stages.text.captions import SCHEMA, measure_batch, measure_urls, weight
from pipeline.stages.text.config import Config
from pipeline.stages.text.terms import read_lists
from pipeline.web.urls import url_id

FLICKR8K = SHARED / "data" / "flickr8k-captions.tsv.gz"


def measured(*alt_texts, **settings):
    batch = pa.record_batch(
        {"candidate_id": [str(n) for n in range(len(alt_texts))], "alt_text": pa.array(alt_texts, pa.string())}
    )
    return measure_batch(batch, Config(**settings)).to_pylist()


def test_every_row_has_its_measurements_in_order():
    rows = measured(
        "A red fox & a hare in the deep <b>snow</b>", None, "", "A red fox & a hare in the deep <b>snow</b>", "logo"
    )
    assert rows[0] == rows[3]
    assert rows[0] | {"lang_prob": None} == {
        "caption": "A red fox & a hare in the deep snow",
        "caption_id": key_of("A red fox & a hare in the deep snow"),
        "caption_chars": 35,
        "caption_weight": 35,
        "raw_chars": 42,
        "caption_letters": 25,
        "boilerplate": None,
        "top_word_share": 0.0,
        "repeated_share": 0.0,
        "symbol_share": 1 / 35,
        "keywords": 0,
        "pii_emails": 0,
        "pii_phones": 0,
        "pii_ips": 0,
        "pii_cards": 0,
        "adult_term": None,
        "lang": "en",
        "lang_prob": None,
        "lang_guess": "en",
    }
    assert [row["boilerplate"] for row in rows] == [None, None, None, None, "generic"]
    assert rows[1]["caption"] == rows[2]["caption"] == ""


def test_the_batch_has_the_declared_types_even_when_empty():
    empty = pa.record_batch({"alt_text": pa.array([], pa.string())})
    assert measure_batch(empty, Config()).schema.equals(SCHEMA)
    assert measure_batch(empty, Config()).num_rows == 0


def test_text_that_was_not_empty_before_cleaning_is_told_apart():
    """T1"""
    null, tags = measured(None, "<br>\u200b")
    assert (null["caption"], null["caption_chars"], null["raw_chars"]) == ("", 0, 0)
    assert (tags["caption"], tags["caption_chars"], tags["raw_chars"], tags["lang"]) == ("", 0, 5, "und")
    assert null["caption_id"] is None


def test_a_text_of_five_mebibytes_is_measured_by_its_length_alone(monkeypatch):
    """T2"""
    monkeypatch.setattr(kernel, "clean", lambda text: pytest.fail("too long to clean") if len(text) > 2000 else text)
    long, next_row = measured("x" * 5 * 2**20, "A red fox in the snow")
    assert long == dict.fromkeys(SCHEMA.names) | {"caption_chars": 5 * 2**20, "raw_chars": 5 * 2**20}
    assert next_row["lang"] == "en"


def test_a_row_that_raises_costs_no_other_row(monkeypatch):
    clean = kernel.clean
    monkeypatch.setattr(kernel, "clean", lambda text: 1 / 0 if text == "bad" else clean(text))
    first, bad, last = measured("A red fox in the snow", "bad", "Ein roter Fuchs im Schnee")
    assert bad == dict.fromkeys(SCHEMA.names)
    assert (first["lang"], last["lang"]) == ("en", "de")


def test_bytes_that_are_no_utf8_cost_only_themselves():
    """T4"""
    column = pa.StringArray.from_buffers(
        2, pa.py_buffer(pa.array([0, 4, 8], pa.int32()).buffers()[1]), pa.py_buffer(b"f\xffx!good")
    )
    rows = measure_batch(pa.record_batch({"alt_text": column}), Config()).to_pylist()
    assert [row["caption"] for row in rows] == ["f\ufffdx!", "good"]


@pytest.mark.parametrize("text", ["12345", "🦊❄", "https://a.example/b"])
def test_a_text_without_features_is_undetermined_without_a_guess(text):
    """T6"""
    (row,) = measured(text)
    assert (row["lang"], row["lang_guess"], row["lang_prob"]) == ("und", None, None)


@pytest.mark.parametrize("text", ["I love you", "red fox", "лиса", "HUND"])
def test_too_few_letters_for_their_script_are_undetermined_but_the_guess_stays(text):
    """T7"""
    (row,) = measured(text)
    assert row["lang"] == "und"
    assert row["lang_guess"] is not None
    assert row["lang_prob"] is not None


@pytest.mark.parametrize(("text", "lang"), [("子犬です", "ja"), ("강아지", "ko"), ("แมวแดง", "th"), ("כלב חום", "he")])
def test_a_script_that_names_its_language_needs_three_letters(text, lang):
    """T7, T8"""
    assert measured(text)[0]["lang"] == lang


def test_a_low_probability_is_undetermined():
    """T7"""
    text = "A red fox in the snow"
    (row,) = measured(text)
    assert row["lang"] == "en"
    (row,) = measured("Restaurant Hotel Taxi Radio", min_lang_prob=1.0)
    assert row["lang"] == "und"
    assert 0 < row["lang_prob"] < 1


def test_capitals_are_judged_as_lower_case():
    """T7"""
    (row,) = measured("UN HOMME EN T-SHIRT BLEU SE TIENT SUR UNE ÉCHELLE")
    assert row["lang"] == "fr"
    assert row["caption"].isupper()


def test_wide_letters_count_three_and_no_script_is_dropped_by_length():
    """T8"""
    assert weight("red fox") == 7
    assert weight("狐狸") == 6
    assert weight("여우") == 6
    assert weight("狐，ok") == 6
    assert weight("แมวแดง") == 6
    limit = Config().min_chars
    assert all(weight(text) >= limit for text in ["赤い狐", "狐狸", "小狗", "여우", "แมวแดง", "كلب بني"])


@pytest.mark.skipif(not FLICKR8K.exists(), reason="shared/data is not there")
def test_the_default_length_rule_keeps_every_language_of_flickr8k():
    """T8"""
    kept = defaultdict(list)
    with gzip.open(FLICKR8K, "rt", encoding="utf-8") as lines:
        for line in list(lines)[1:]:
            _, _, caption, lang = line.rstrip("\n").split("\t")
            kept[lang].append(weight(caption) >= Config().min_chars)
    assert len(kept) == 6
    assert all(sum(captions) / len(captions) > 0.999 for captions in kept.values())


@pytest.mark.parametrize(
    "settings", [{"min_chars": 0}, {"max_chars": 2001}, {"und": "maybe"}, {"min_lang_prob": 1.5}, {"min_char": 5}]
)
def test_a_bad_setting_is_refused(settings):
    with pytest.raises(ValidationError):
        Config(**settings)


def test_personal_data_is_in_no_column_and_counted_t9():
    """T9"""
    (row,) = measured("A red fox in the snow, prints from jane@example.com or +44 20 7946 0958")
    assert row["caption"] == "A red fox in the snow, prints from <email> or <phone>"
    assert (row["pii_emails"], row["pii_phones"], row["pii_ips"], row["pii_cards"]) == (1, 1, 0, 0)
    assert row["caption_id"] == key_of(row["caption"])
    assert not any("jane" in str(value) or "7946" in str(value) for value in row.values())


def test_what_replaces_personal_data_is_no_word_of_a_language():
    plain, redacted = measured("红色的狐狸在雪地里", "红色的狐狸在雪地里 jane@example.com")
    assert (redacted["lang"], redacted["lang_prob"]) == (plain["lang"], plain["lang_prob"])


def test_a_caption_that_is_an_address_alone_says_nothing():
    assert [row["boilerplate"] for row in measured("jane@example.com", "+44 20 7946 0958")] == ["template", "template"]


def test_the_image_url_is_measured_for_lists_and_counts(tmp_path):
    (tmp_path / "domains").write_text("bad.test\n")
    (tmp_path / "urls").write_text("http://shop.test/b.jpg\n")
    lists = read_lists("", [str(tmp_path / "domains")], [str(tmp_path / "urls")])
    urls = ["http://img.bad.test/a.jpg", "http://shop.test/b.jpg", "http://img.shop.co.uk/c.jpg"]
    batch = pa.record_batch({"image_url": [*urls, "urn:sha256:00"], "url_id": [*map(url_id, urls), "00"]})
    assert measure_urls(batch, lists).to_pydict() == {
        "image_domain": ["bad.test", "shop.test", "shop.co.uk", ""],
        "blocked_domain": ["bad.test", None, None, None],
        "blocked_url": [False, True, False, False],
    }


@pytest.mark.parametrize(
    "text", ["é" * 1500, "cafÃ© prix é à la carte", "Ã©tÃ© Ẽ", "e\u0301" * 3000, "ガ" * 1999, "한글 사진 " * 100]
)
def test_rows_of_one_pair_are_measured_alike(text):
    """pair_id is of the text in NFC, and all rows of a pair get the same verdict."""
    composed, apart = measured(unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    assert {**apart, "raw_chars": 0, "caption_chars": 0} == {**composed, "raw_chars": 0, "caption_chars": 0}
    assert (apart["raw_chars"] > 2000) == (composed["raw_chars"] > 2000)
