"""The charset of a page: what it declares anywhere, what its bytes say, and texts that are in the wrong one."""

from __future__ import annotations

import random
import tarfile
import time
import warnings

import html5lib
import pytest

from pipeline.stages.extract.pages.charset import decode
from pipeline.stages.extract.pages.encodings import codec_of, decoded
from pipeline.stages.extract.pages.prescan import declared_in

RUSSIAN = "Красная лодка на тихом озере утром"
IMAGE = f'<img src="/a.jpg" alt="{RUSSIAN}">'
STYLE = "<style>" + ".a{color:red}\n" * 2000 + "</style>"


def alts(rows):
    return [row["alt_text"] if row["outcome"] == "ok" else row["outcome"] for row in rows]


@pytest.mark.parametrize(
    ("before", "codec"),
    [
        ('<?xml version="1.0" encoding="windows-1251"?>', "cp1251"),
        ("<?xml version='1.0' encoding = 'koi8-r' standalone='yes' ?>", "koi8-r"),
        (STYLE + "<meta charset=windows-1251>", "cp1251"),
        (STYLE + "</head><body><meta content='text/html; charset=koi8-r' http-equiv=Content-Type>", "koi8-r"),
        ("<META CONTENT='x; CharSet = \"windows-1251\"' HTTP-EQUIV='content-type'>", "cp1251"),
        ("<meta/charset=windows-1251/>", "windows-1251"),
        ("<meta name=x charset='windows-1251' charset=utf-8>", "cp1251"),
        ("<meta http-equiv=refresh content='charset=utf-8'><meta charset=cp1251>", "cp1251"),
        ("<meta content='charset=utf-8'><meta charset=cp1251>", "cp1251"),
        ("<!-- > <meta charset=utf-8> --><meta charset=cp1251>", "cp1251"),
        ("<script>'<meta charset=utf-8>'</script><meta charset=cp1251>", "cp1251"),
        ("<title><meta charset=utf-8></title><meta charset=cp1251>", "cp1251"),
        ('<p title="<meta charset=utf-8>"><meta charset=cp1251>', "cp1251"),
        ("<meta charset=no-such http-equiv=content-type content='text/html;charset=cp1251'>", "cp1251"),
        ("<metadata charset=utf-8></metadata><meta charset=cp1251>", "cp1251"),
        ('<?xml version="1.0" encoding="utf-8"?><meta charset="windows-1251">', "cp1251"),
        ("", "cp1251"),
        ("", "koi8-r"),
        ("<html lang=en>", "cp1251"),
        ("", "utf-16-le"),
        ("", "utf-16-be"),
        ("<meta charset=utf-8>", "utf-16-le"),
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-16-be"),
        ("", "utf-32-le"),
        ("", "utf-32-be"),
        ("<meta charset=windows-1251>", "cp1251"),
        ("<meta charset=koi8-u>", "koi8-r"),
        ("<meta charset=iso-8859-1>", "utf-8"),
        ("<meta charset=windows-1251>", "utf-8"),
        ("<meta charset=shift_jis>", "utf-8"),
    ],
)
def test_a_page_is_read_as_browsers_read_it_x50(page_rows, before, codec):
    """X50"""
    assert alts(page_rows((before + IMAGE).encode(codec), charset=None)) == [RUSSIAN]


@pytest.mark.parametrize("codec", ["utf-16le", "utf-16be"])
def test_utf16_of_few_ascii_characters_is_read_as_the_header_says_x50(page_rows, codec):
    """X50"""
    html = f"<!--{RUSSIAN * 99}-->{IMAGE}".encode(codec)
    assert alts(page_rows(html, charset=codec)) == [RUSSIAN]
    assert alts(page_rows(f"<p>{IMAGE}".encode("koi8-r"), charset=codec)) == [RUSSIAN]


POLISH = " ".join(["Czerwona łódka na spokojnym jeziorze o świcie, żółta łąka i gęś"] * 5)


@pytest.mark.parametrize(
    ("header", "meta", "expected"),
    [
        ("iso-8859-1", "iso-8859-2", None),
        ("windows-1251", "iso-8859-2", None),
        ("iso-8859-2", "iso-8859-2", POLISH),
        ("iso-8859-2", "iso-8859-1", POLISH),
        ("iso-8859-2", "windows-1251", POLISH),
    ],
)
def test_a_header_is_not_believed_against_the_page_and_its_bytes_x51(page_rows, header, meta, expected):
    """X51: browsers believe it, and show words that nobody wrote."""
    html = f"<meta charset={meta}><img src=a.jpg alt='{POLISH}'>".encode("iso-8859-2")
    (row,) = page_rows(html, charset=header)
    assert row["outcome"] == ("ok" if expected else "text_undecodable")
    assert expected is None or row["alt_text"] == expected


CHINESE = "紅色的小船停在安靜的湖上，天空中有白雲和飛鳥，岸邊有一座小木屋"
JAPANESE = "静かな湖の上に赤い船が浮かんでいます。空には白い雲が見えます。"


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("utf-8", "cp1251", RUSSIAN),
        ("windows-1251", "koi8-r", RUSSIAN * 2),
        ("koi8-r", "cp1251", RUSSIAN * 2),
        ("iso-8859-5", "cp1251", RUSSIAN * 2),
        ("gb2312", "big5", CHINESE),
        ("shift_jis", "euc-jp", JAPANESE),
        ("euc-jp", "cp932", JAPANESE),
        ("euc-kr", "gb18030", CHINESE),
        ("utf-8", "cp1252", "A long caption of a café beside the old town wall in the evening light"),
        ("iso-8859-1", "cp1251", RUSSIAN),
        ("windows-1252", "koi8-r", RUSSIAN),
        ("iso-8859-1", "cp932", "静かな湖の赤い船"),
        ("iso-2022-kr", "iso2022_kr", "조용한 호수"),
        ("hz-gb-2312", "hz", "红色的小船"),
        ("x-user-defined", "cp1251", RUSSIAN),
    ],
)
def test_a_text_that_its_charset_cannot_read_goes_x51(page_rows, label, codec, text):
    """X51: and a text in ASCII on the same page stays, unless ASCII too may mean something else."""
    rows = page_rows(f"<img src=a alt='{text}'><img src=b alt='Boats'>".encode(codec), charset=label)
    hides_ascii = label in ("iso-2022-kr", "hz-gb-2312")
    assert alts(rows) == ["text_undecodable", "text_undecodable" if hides_ascii else "Boats"]


@pytest.mark.parametrize(
    ("codec", "text"),
    [("euc-jp", b"\xad\xa1\xad\xea"), ("gb18030", b"\x80"), ("cp1252", b"\x81\x9d"), ("cp1253", b"\x80\xaa")],
)
def test_decoders_know_what_the_standard_adds_x50(codec, text):
    """X50: NEC's characters in euc-jp, the euro sign of gbk, controls in the free places of windows-*."""
    expected = {"euc-jp": "①㈱", "gb18030": "€", "cp1252": "\x81\x9d", "cp1253": "€\ufffd"}
    assert decoded(text, codec) == expected[codec]


@pytest.mark.parametrize(
    ("lang", "url", "codec", "text"),
    [
        ("ja", None, "euc-jp", "日本語"),
        ("ja", None, "iso2022_jp", "静かな湖"),
        ("", "https://a.example.tw/x", "big5", "繁體中文"),
        ("", "https://a.example.com/x", "gbk", "红色的小船停在安静的湖上"),
        ("ko", None, "cp949", "조용한 호수"),
        ("el", None, "cp1253", "Κόκκινη βάρκα"),
        ("", "https://a.example.il:80/", "cp1255", "סירה אדומה באגם"),
        ("tr", None, "cp1254", "göl üzerinde kırmızı kayık ışığı"),
        ("", "https://www.example.pl/", "iso8859-2", "Żółta łódka na spokojnym jeziorze"),
        ("", None, "cp1252", "Straße über die Brücke"),
    ],
)
def test_a_page_that_declares_nothing_is_detected_by_its_content_x50(lang, url, codec, text):
    """X50"""
    html = f"<html lang='{lang}'><img src=a alt='{text}'>".encode(codec)
    assert text in decode(html, None, url).text


@pytest.mark.parametrize(
    "junk", ["<meta ", "<meta charset='", "<!--", "<script>", "<p a='", "<", "</", "<meta charset"]
)
def test_the_search_for_a_charset_takes_linear_time_x50(junk):
    """X50"""
    started = time.process_time()
    declared_in((junk * 100_000 + "charset").encode())
    assert time.process_time() - started < 5


def html5lib_says(html: bytes) -> str | None:
    """html5lib's answer as a codec; None where it falls back."""
    parser = html5lib.HTMLParser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser.parse(html, useChardet=False, default_encoding="x-user-defined")
    codec = codec_of(parser.documentEncoding)
    return None if codec == "x-user-defined" else codec


PIECES = [
    *("<meta charset={}>", "<meta charset='{}'>", '<META CHARSET = "{}" />', "<meta name=a content='charset={}'>"),
    "<meta http-equiv=content-type content='text/html; charset={}'>",
    "<meta content=\"text/html;charset='{}'\" http-equiv='Content-Type'>",
    *("<!-- <meta charset={}> -->", "<!--><meta charset={}>", "<!doctype html>", "<p class='{}'>", "</p >", "<a b=c/>"),
    *("<title>{}</title>", "text {} > ", "<div data-x='>' id={}>", "<br/>", "<meta charset>", "<link rel=a>"),
]
# Without utf-16, which html5lib passes over; the standard reads it as utf-8.
LABELS = ["windows-1251", "koi8-r", "utf-8", "shift_jis", "no-such", "latin1", "gbk", ""]


def generated_page(number: int) -> bytes:
    draw = random.Random(number)
    pieces = "".join(draw.choice(PIECES).replace("{}", draw.choice(LABELS)) for _ in range(draw.randrange(1, 9)))
    return (pieces + "." * draw.choice([0, 1000])).encode()


@pytest.mark.parametrize("numbers", [range(300), pytest.param(range(300, 6000), marks=pytest.mark.long)])
def test_generated_pages_declare_what_html5lib_finds_x50(numbers):
    """X50"""
    differ = [page for page in map(generated_page, numbers) if declared_in(page) != html5lib_says(page)]
    assert differ == []


def test_real_pages_declare_what_html5lib_finds_x50(shared_data):
    """X50"""
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        pages = [tar.extractfile(member).read() for member in list(tar)[1:]]
    for page in pages:
        if not page.startswith(b"\xef\xbb\xbf"):
            assert declared_in(page) == html5lib_says(page)
        assert "\ufffd" not in decode(page, None).text or "\ufffd".encode() in page
