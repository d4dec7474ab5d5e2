"""Pages: image URLs, texts and the signals of a page."""

import tarfile
import time

import pytest

from pipeline.core.ids import key_of
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages import skim
from pipeline.stages.extract.pages.charset import decode
from pipeline.stages.extract.pages.encodings import codec_of
from pipeline.stages.extract.pages.html import candidates_of_page

URL = "https://site.example/dir/page.html"


def urls(rows):
    return [row["image_url"] for row in rows]


def outcomes(rows):
    return [row["outcome"] for row in rows]


@pytest.mark.parametrize(
    ("base", "src", "expected"),
    [
        ("", "img/a.jpg", "https://site.example/dir/img/a.jpg"),
        ("", "//cdn.example/x.png", "https://cdn.example/x.png"),
        ("", "?id=3", "https://site.example/dir/page.html?id=3"),
        ('<base href="/other/">', "a.jpg", "https://site.example/other/a.jpg"),
        ('<base href="https://b.example/x/"><base href="https://c.example/">', "a.jpg", "https://b.example/x/a.jpg"),
        ('<base href="javascript:1"><base href="https://c.example/y/">', "a.jpg", "https://site.example/dir/a.jpg"),
        ('<base href="http://[/"><base href="/y/">', "a.jpg", "https://site.example/dir/a.jpg"),
        ('<base href="javascript:1">', "a.jpg", "https://site.example/dir/a.jpg"),
        ('<base target="_blank">', "a.jpg", "https://site.example/dir/a.jpg"),
    ],
)
def test_relative_urls_are_resolved_against_the_first_base(page_rows, base, src, expected):
    """X9"""
    assert urls(page_rows(f'<head>{base}</head><img src="{src}" alt="x y">')) == [expected]


def test_relative_urls_of_a_page_of_no_known_address_lead_nowhere(page_rows):
    rows = page_rows('<img src="a.jpg" alt="x"><img src="https://i.example/b.jpg" alt="y">', url="urn:html:a.html")
    assert outcomes(rows) == ["url_invalid", "ok"]
    assert rows[0]["page_id"] == key_of("urn:html:a.html")


def test_nesting_without_end_is_no_obstacle(page_rows):
    """X11"""
    opening = "<div class='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>"
    started = time.monotonic()
    rows = page_rows(opening * 200_000 + '<img src="a.jpg" alt="deep down">')
    assert (urls(rows), rows[0]["alt_text"]) == (["https://site.example/dir/a.jpg"], "deep down")
    assert time.monotonic() - started < 20


def test_images_beyond_the_limit_are_one_row_with_their_count(page_rows):
    """X11"""
    rows = page_rows("".join(f'<img src="{i}.jpg" alt="picture {i}">' for i in range(50_000)))
    assert outcomes(rows) == ["ok"] * 1000 + ["page_image_limit"]
    assert rows[999]["alt_text"] == "picture 999"
    assert rows[-1]["count"] == 49_000


@pytest.mark.parametrize(
    "junk", ['<a "', '<b x="', "<b x='", "<!--", "<script", "<script>", "<title><", "<a =", "<template>"]
)
def test_skimming_takes_linear_time(junk):
    """X11"""
    started = time.process_time()
    skim.skim(junk * 200_000)
    assert time.process_time() - started < 5


def test_skimming_keeps_what_a_tree_would_have_shown():
    html = """<HTML lang=de><base href="/x"><!-- <img src=1> --><script>"<img src=2>"</script><style><img src=3></style>
    <template><template></template><img src=4></template><textarea><img src=5></textarea><img alt="a > b <i>" src=6>
    <picture><source srcset="7 2x"><img src='8' alt='<img src=9>'></picture><p title="<img src=10>"><imgx src=11>
    <a href=it's><img/src=12><noscript><img src=13></noscript><iframe><img src=14></iframe><img src=15"""
    kept = skim.skim(html)
    assert kept == (
        '<HTML lang=de><base href="/x"><body><img alt="a > b <i>" src=6><picture><source srcset="7 2x">'
        "<img src='8' alt='<img src=9>'></picture><img/src=12><noscript><img src=13></noscript><img src=15"
    )


def test_a_skimmed_page_gives_the_same_images(shared_data, monkeypatch):
    def images(page):
        rows = candidates_of_page(page, URL, None, None, (), Config())
        return sorted((row["outcome"], row["image_url"] or "", row["alt_text"] or "", row["count"]) for row in rows)

    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        pages = [tar.extractfile(member).read() for member in list(tar)[1:]]
    whole = [images(page) for page in pages]
    monkeypatch.setattr(skim, "MAX_TAGS", 0)
    assert [images(page) for page in pages] == whole
    assert sum(map(len, whole)) > 2800


@pytest.mark.parametrize(
    ("html", "header", "expected"),
    [
        (b"\xef\xbb\xbf<meta charset=windows-1252>\xc3\xa9", "iso-8859-5", "é"),
        ("\ufeff<meta charset=utf-8>é".encode("utf-16-le"), "utf-8", "é"),
        (b"<meta charset=utf-8>\xe9", "windows-1251", "й"),
        (b"<meta charset=windows-1251>\xe9", "no-such-charset", "й"),
        (b"<meta charset=no-such><meta charset=koi8-r>\xc9", None, "и"),
        (
            b"<!-- <meta charset=koi8-r> --><meta http-equiv=Content-Type content='text/html; charset=windows-1251'>\xe9",
            None,
            "й",
        ),
        (b"<meta charset=utf-16>\xc3\xa9", None, "é"),
        (b"<meta charset=gb2312>\x95\x32\x82\x36", None, "\U00020000"),
        (b"<meta charset=shift_jis>\x87\x40", None, "①"),
        (b"<meta charset=iso-8859-1>\x93\x94", None, "“”"),
        ("<p>é日本".encode(), None, "é日本"),
        (b"<html lang=ru><p>\xcf\xf0\xe8\xe2\xe5\xf2", None, "Привет"),
        ("<html lang=ja><p>日本語".encode("euc-jp"), None, "日本語"),
        ("<html lang=ja><p>日本語".encode("cp932"), None, "日本語"),
        ("<html lang=zh-TW><p>繁體".encode("big5"), None, "繁體"),
        (b"<p>caf\xe9 \x93", None, "café “"),
        (b"<meta charset=utf-7>+AOk-", None, "+AOk-"),
        (b"<meta charset=rot13>abc", "base64", "abc"),
    ],
)
def test_the_charset_is_that_of_bom_then_header_then_meta_then_detection(html, header, expected):
    """X12"""
    assert decode(html, header).text.endswith(expected)


def test_every_label_names_a_codec_that_exists():
    """X12"""
    from pipeline.stages.extract.pages.encodings import _LABELS_OF, decoded

    for codec in _LABELS_OF:
        assert decoded(b"a\0", codec)
    assert codec_of("X-Mac-Cyrillic") == "mac-cyrillic"
    assert codec_of("hz-gb-2312") == "replacement"


def test_text_in_the_wrong_charset_costs_its_pair_alone(page_rows):
    """X12"""
    html = '<img src="a.jpg" alt="Кошка сидит"><img src="b.jpg" alt="a cat in a hat, as everybody can read">'.encode(
        "cp1251"
    )
    rows = page_rows(html, charset="utf-8")
    assert outcomes(rows) == ["text_undecodable", "ok"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('srcset="data:image/gif;base64,AA,BB 1x, /big,w_2.jpg 2x" src="s.jpg"', "/big,w_2.jpg"),
        ('srcset="/c_fill,w_100/a.jpg 100w, /c_fill,w_900/a.jpg 900w" src="s.jpg"', "/c_fill,w_900/a.jpg"),
        ('src="data:image/gif;base64,R0" data-src="/real.jpg"', "/real.jpg"),
        ('src="/pixel.gif" data-src="/real.jpg"', "/real.jpg"),
        ('src="/pixel.gif" data-srcset="/r1.jpg 1x, /r2.jpg 2x"', "/r2.jpg"),
        ('src="/pixel.gif" data-original="/real.jpg"', "/real.jpg"),
        ('src="/pixel.gif" data-lazy-src="/real.jpg"', "/real.jpg"),
        ('srcset="data:image/gif;base64,R0 1w" data-srcset="/r.jpg 5w" src="data:,"', "/r.jpg"),
        ('data-src="data:image/gif;base64,R0" src="/real.jpg"', "/real.jpg"),
        ('src="/a.jpg" srcset=""', "/a.jpg"),
        ('src="/a.jpg" srcset="/b.jpg bogus"', "/a.jpg"),
    ],
)
def test_the_real_image_behind_lazy_loading_is_found(page_rows, attributes, expected):
    """X13"""
    assert urls(page_rows(f"<img {attributes} alt='x y'>")) == [f"https://site.example{expected}"]


def test_the_largest_source_of_a_picture_is_taken(page_rows):
    """X13"""
    html = """<picture><source srcset="/a-400.webp 400w, /a-1600.webp 1600w"><source srcset="/a-800.jpg 800w">
        <img src="/a.jpg" srcset="/a-200.jpg 200w" alt="x y"></picture>"""
    assert urls(page_rows(html)) == ["https://site.example/a-1600.webp"]


def test_a_data_uri_is_never_stored(page_rows):
    """X14"""
    payload = "data:image/png;base64," + "A" * 5000
    (row,) = page_rows(f'<img src="{payload}" alt="x y">')
    assert (row["outcome"], row["detail"], row["image_url"]) == ("data_uri", payload[:64], None)


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        ("javascript:void(0)", "scheme_not_allowed"),
        ("blob:https://a.example/1", "scheme_not_allowed"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("ftp://a.example/x.jpg", "scheme_not_allowed"),
        ("about:blank", "scheme_not_allowed"),
        ("", "url_invalid"),
        ("#", "url_invalid"),
        ("  ", "url_invalid"),
        ("http://", "url_invalid"),
        ("https://[::1", "url_invalid"),
        ("https://u:p@a.example/x.jpg", "url_credentials"),
        ("/" + "a" * 5000, "url_too_long"),
    ],
)
def test_a_url_that_can_never_be_asked_for_says_why(page_rows, src, expected):
    """X15"""
    (row,) = page_rows(f'<img src="{src}" alt="x y">')
    assert (row["outcome"], row["url_id"], row["pair_id"]) == (expected, None, None)
    assert "u:p@" not in (row["detail"] or "")


def test_an_image_without_any_source_is_url_invalid(page_rows):
    """X15"""
    assert outcomes(page_rows('<img alt="x y">')) == ["url_invalid"]


def test_a_missing_and_an_empty_alt_are_two_facts(page_rows):
    """X16"""
    rows = page_rows('<img src=a><img src=b alt><img src=c alt=""><img src=d alt=" \t\n&nbsp;"><img src=e alt=x>')
    assert outcomes(rows) == ["alt_missing", "alt_empty", "alt_empty", "alt_empty", "ok"]
    assert [row["place"] for row in rows] == [0, 1, 2, 3, 4]


def test_entities_are_decoded_exactly_once(page_rows):
    """X17"""
    (row,) = page_rows('<img src="/a?b=1&amp;c=2&amp;amp;d" alt="Tom &amp;amp; Jerry &lt;b&gt;">')
    assert row["alt_text"] == "Tom &amp; Jerry <b>"
    assert row["image_url"] == "https://site.example/a?b=1&c=2&amp;d"


def test_comments_and_templates_give_nothing(page_rows):
    """X18"""
    html = '<!-- <img src=c alt=c> --><template><img src=t alt=t></template><script>"<img src=s>"</script><img src=a alt=a>'
    assert urls(page_rows(html)) == ["https://site.example/dir/a"]


@pytest.mark.parametrize(
    "html",
    [
        '<img data-src="/a.jpg" src="data:," alt="x"><noscript><img src="/a.jpg" alt="x"></noscript>',
        '<body><noscript><img src="/a.jpg" alt="x"></noscript><img data-src="/a.jpg" src="data:," alt="x">',
        '<img data-src="/a.jpg" alt="x"><noscript><figure><picture><img src="/a.jpg" alt="x"></picture></figure></noscript>',
    ],
)
def test_a_noscript_twin_is_counted_with_its_image(page_rows, html):
    """X18"""
    rows = page_rows(html)
    assert [(row["image_url"], row["count"]) for row in rows] == [("https://site.example/a.jpg", 2)]


def test_equal_images_outside_noscript_stay_two_candidates(page_rows):
    """X18: text drops the second as duplicate_pair."""
    first, second = page_rows('<img src="/a.jpg" alt="x"><img src="/a.jpg" alt="x">')
    assert first["pair_id"] == second["pair_id"]
    assert first["candidate_id"] != second["candidate_id"]


def test_the_signals_of_a_page_are_united():
    html = b"""<html lang="pt-BR"><meta name="robots" content="noai"><meta name="tdm-reservation" content="1">
    <img src=a alt="x y">"""
    (row,) = candidates_of_page(html, URL, "2024-05-06T07:08:09Z", "utf-8", ("optout_xrobots",), Config())
    assert row["page_optouts"] == ["optout_meta", "optout_tdm", "optout_xrobots"]
    assert (row["page_lang"], row["page_date"]) == ("pt-BR", "2024-05-06T07:08:09Z")


def test_keys_are_made_of_what_the_schema_says(page_rows):
    (row,) = page_rows('<img src="HTTPS://I.example:443/%7Ea.jpg#f" alt="cafe&#x301;">')
    assert row["url_id"] == key_of("https://i.example/~a.jpg")
    assert row["pair_id"] == key_of("https://i.example/~a.jpg", "caf\u00e9")
    assert row["candidate_id"] == key_of(URL, "", "0", "HTTPS://I.example:443/%7Ea.jpg#f", "cafe\u0301")
