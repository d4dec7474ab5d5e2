"""Texts of tars in charsets that nothing declares."""

import gzip
import io
import tarfile

import pytest
from PIL import Image

from pipeline.stages.extract.archives.text_files import text_of_file
from pipeline.stages.extract.archives.webdataset import read_webdataset
from pipeline.stages.extract.config import Config

CAPTION = "Красная лодка на тихом озере утром, дом №5"
PLAIN = "A red boat on a quiet lake"


@pytest.mark.parametrize("text", [CAPTION, PLAIN, "写真 a 湖", ""])
@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_x78(text, codec):
    """X78"""
    assert text_of_file(text.encode(codec)) == text
    if codec != "utf-8-sig":
        assert text_of_file(("\ufeff" + text).encode(f"{codec}-be")) == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_known_by_its_zeros_x78(codec):
    """X78"""
    assert text_of_file(PLAIN.encode(codec)) == PLAIN
    assert text_of_file("Der Bär hört die Flöte".encode(codec)) == "Der Bär hört die Flöte"


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"a\0", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xff\xfea", bytes(9), b"a\0b c"]
)
def test_whatever_the_bytes_there_is_a_text_x78(data):
    """X78"""
    assert isinstance(text_of_file(data), str)


def rows_of(tmp_path, texts):
    path = tmp_path / "00000.tar"
    image = io.BytesIO()
    Image.effect_noise((80, 80), 50).save(image, "JPEG")
    with tarfile.open(path, "w") as tar:
        for number, text in enumerate(texts):
            for name, data in ((f"{number:03}.jpg", image.getvalue()), (f"{number:03}.txt", text)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return list(read_webdataset(path, "f", Config()))


def test_texts_of_a_tar_are_read_or_have_their_reason_x78(tmp_path):
    """X78, X12"""
    texts = [CAPTION.encode(codec) for codec in ("utf-8", "utf-8-sig", "utf-16", "cp1251")]
    rows = rows_of(tmp_path, [*texts, "Озеро".encode("cp1251"), PLAIN.encode("utf-16")[:-1], b"caf\xe9"])
    assert [row["alt_text"] for row in rows[:4]] == [CAPTION] * 4
    assert [row["outcome"] for row in rows] == [*["ok"] * 4, "text_undecodable", "ok", "text_undecodable"]
    assert rows[5]["alt_text"].startswith(PLAIN[:-1])


LEGACY = {"ru": "cp1251", "el": "cp1253", "he": "cp1255", "ar": "cp1256", "th": "cp874", "ko": "cp949", "ja": "cp932"}


def test_texts_in_legacy_charsets_are_read_or_undecodable_x78(shared_data):
    """X78: of those with enough bytes to go by, less than one in a hundred is read wrongly."""
    right = wrong = 0
    with gzip.open(shared_data / "language_texts.tsv.gz", "rt", encoding="utf-8") as lines:
        for lang, _, text in (line.rstrip("\n").partition("\t") for line in lines):
            data = text.encode(LEGACY.get(lang, "ascii"), "ignore")
            if len(data) == len(text.encode(LEGACY.get(lang, "ascii"), "replace")) and not data.isascii():
                is_same = text_of_file(data) == data.decode(LEGACY[lang])
                right += is_same
                wrong += not is_same and "\N{REPLACEMENT CHARACTER}" not in text_of_file(data)
    assert right > 600
    assert wrong < right / 100
