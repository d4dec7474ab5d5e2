"""URLs: what is requested and what makes a key."""

from itertools import product

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.ids import key_of
from pipeline.web import urls
from pipeline.web.reasons import NetReason
from pipeline.web.urls import UrlError

messy_text = st.text(st.characters(), max_size=40) | st.text("ahtps:/\\@?#[]%.0x\t\n é%2eA-_", max_size=40)
messy_url = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            [
                "http://",
                "https:",
                "HTTP:\\\\",
                "user:pw@",
                "a.example",
                "127.1",
                "[::1]",
                "bücher",
                "xn--",
                "xn--mnchen-3ya",
                ".",
                ":80",
                ":0",
                "/",
                "..",
                "%2e",
                "%",
                "%34",
                "%zz",
                "%C3%B1",
                "ñ",
                " ",
                "\n",
                "?",
                "#",
                "\ud800",
                "😀",
                "0x",
                "4294967296",
            ]
        ),
        max_size=9,
    ),
)


@pytest.mark.parametrize(
    ("raw", "requested"),
    [
        ("http://a.example/a b.jpg", "http://a.example/a%20b.jpg"),
        ("http://a.example/a%20b.jpg", "http://a.example/a%20b.jpg"),
        (" \thttp://a.ex\nample/a\tb ", "http://a.example/ab"),
        ("http://a.example/ñ?q=ñ\"'", "http://a.example/%C3%B1?q=%C3%B1%22%27"),
        ("http://a.example/%zz%7e", "http://a.example/%zz%7e"),
        ("HTTP:\\\\A.example\\b", "http://a.example/b"),
        ("http:a.example", "http://a.example/"),
        ("https://a.example:443/x/../y#part", "https://a.example/y"),
        ("http://a.example:8080?q", "http://a.example:8080/?q"),
        ("http://a.example/a/%2E%2e/b/.", "http://a.example/b/"),
    ],
)
def test_a_url_is_cleaned_as_browsers_do_and_encoded_once(raw, requested):
    """F45"""
    assert urls.clean(raw) == requested
    assert urls.clean(requested) == requested


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example"),
        ("http://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("http://faß.example/", "xn--fa-hia.example"),
        ("http://my_host.пример/", "my_host.xn--e1afmkfd"),
        ("http://i❤.example/", "xn--i-7iq.example"),
        ("http://XN--i-7IQ.example/", "xn--i-7iq.example"),
        ("http://👍🏽。example/", "xn--on8h5e.example"),
    ],
)
def test_an_international_name_is_requested_in_ascii(raw, host):
    """F44"""
    assert urls.split(raw).host == host


@pytest.mark.parametrize(
    "host",
    [
        "xn--a",
        "xn--",
        "xn--abc-",
        "a.xn--0.example",
        "a\u200db",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "a..b",
        "a%00b",
        "a b",
        "a%ff",
    ],
)
def test_a_name_that_does_not_convert_is_refused(host):
    """F44"""
    assert reason_of(f"http://{host}/") is NetReason.URL_INVALID


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@h.example/a.jpg",
        "http:user:secret@h.example",
        "//user:secret@h.example",
        "https:\\\\user:secret@evil@h.example/",
        "http://us\ner:secret@h.example/" + "a" * 5000,
    ],
)
def test_a_password_is_neither_sent_nor_shown(url):
    """F46"""
    with pytest.raises(UrlError) as error:
        urls.clean(url)
    assert "secret" not in str(error.value)
    assert "secret" not in urls.redact(url)
    if not url.startswith("//") and len(url) < 4096:
        assert error.value.reason is NetReason.URL_CREDENTIALS


def test_a_text_is_masked_around_every_url_in_it():
    """R22"""
    text = "no answer from http://user:secret@a.example/x?y=1 and HTTPS:\\\\b:secret@b.example; write to c@d.example"
    assert (
        urls.redact(text)
        == "no answer from http://***@a.example/x?y=1 and HTTPS:\\\\***@b.example; write to c@d.example"
    )


@pytest.mark.parametrize("port", ["0", "65536", "abc", "-1", "٣", "99999999999999999999", "80 80"])
def test_what_is_no_port_is_refused(port):
    """F47"""
    assert reason_of(f"http://h.example:{port}/") is NetReason.URL_INVALID


def test_a_url_over_the_limit_is_named_by_its_head_and_digest():
    """F48"""
    url = "http://h.example/" + "a" * 100_000
    with pytest.raises(
        UrlError, match=r"100017 bytes \(limit 4096\), sha256 [0-9a-f]{64}: http://h.example/a"
    ) as error:
        urls.clean(url)
    assert error.value.reason is NetReason.URL_TOO_LONG
    assert len(error.value.detail) < 400
    assert urls.clean(url, max_bytes=200_000) == url


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h.example/",
        "javascript:alert(1)",
        "data:image/png;base64,AA",
        "gopher://h.example",
        "HTTP+unix://%2Fsocket/",
        "java\nscript:alert(1)",
    ],
)
def test_only_http_and_https_are_allowed(url):
    """F14, C20"""
    assert reason_of(url) is NetReason.SCHEME_NOT_ALLOWED


@pytest.mark.parametrize(
    "url",
    [
        "",
        "#",
        "http://",
        "https://[::1",
        "http://[v1.a]/",
        "http://[::1%25eth0]/",
        "//h.example/",
        "http://[::1]x/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://0x100000000/",
        "http://09/",
    ],
)
def test_a_url_that_names_no_host_is_refused(url):
    assert reason_of(url) is NetReason.URL_INVALID


@pytest.mark.parametrize(
    "spelling", ["2130706433", "0177.0.0.1", "127.1", "0x7f.1", "0x7F000001", "127.0.0.1.", "１２７.0.0.1"]
)
def test_number_forms_of_an_address_are_that_address(spelling):
    """F12"""
    assert urls.split(f"http://{spelling}/").host == "127.0.0.1"


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("HTTP://A.Example:80/./b/../c#part", "http://a.example/c"),
        ("http://a.example/%7Eb%2fc%c3%B1", "http://a.example/~b%2Fc%C3%B1"),
        ("http://a.example/Path?b=2&a=1&utm_source=x", "http://a.example/Path?b=2&a=1"),
        ("http://a.example/a?fbclid=1&utm_campaign&gclid=", "http://a.example/a"),
        ("http://a.example/a?xutm_source=1&utm_=2&a_gclid=3", "http://a.example/a?xutm_source=1&utm_=2&a_gclid=3"),
        ("http://a.example/a?q=?utm_source=1", "http://a.example/a?q=?utm_source=1"),
        ("http://a.example/a&utm_source=b", "http://a.example/a&utm_source=b"),
        ("http://a.example/a&utm_source=b?utm_source=c", "http://a.example/a&utm_source=b"),
        ("http://a.example/a?utm_source=x&", "http://a.example/a"),
        ("http://a.example/a?&utm_source=x", "http://a.example/a"),
        ("http://a.example/a?b&&utm_source=x", "http://a.example/a?b&"),
        ("http://a.example/a?", "http://a.example/a?"),
        ("http://a.example/a?&", "http://a.example/a?&"),
        ("http://a.example/a?w=100&h=100", "http://a.example/a?w=100&h=100"),
        ("http://a.example/%", "http://a.example/%25"),
    ],
)
def test_spellings_of_one_url_have_one_key(spelling, key):
    """C27"""
    assert urls.normalise(spelling) == key
    assert urls.url_id(spelling) == key_of(key)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://example.com/", "9aba6a18c5a5d94534a3b99c485d4547"),
        ("http://example.com", "9aba6a18c5a5d94534a3b99c485d4547"),
        ("HTTP://Example.COM:80/A/./b/../c#part", "45471850c881787612a792b4e27a8e09"),
        ("https://example.com:443/x?b=2&a=1", "12f5277f3121ccaf27e72f7d963dd96b"),
        ("https://example.com:8443/x", "be80920e3f760cc2bafc1cbf8ff844b5"),
        ("http://example.com/%7Ea/b%2fc?id=1&utm_source=x#y", "a36a3c4d6a34dbc73024ec47740442d9"),
        ("http://example.com/a b.jpg", "cae580e42351830d547960dd6271cddf"),
        ("http://example.com/a%20b.jpg?", "5e3529b010544d03d0b3ee5661a2937d"),
        ("http://example.com/ñ.jpg?q=ñ", "83f3d1adb6fd83727aa7cfa0c58ffda7"),
        ("http://bücher.example/a.jpg", "0653b1bdc3ab34a25d89b037e4754845"),
        ("http://xn--bcher-kva.example/a.jpg", "0653b1bdc3ab34a25d89b037e4754845"),
        ("http://faß.example/", "0b620f8e3b916fd9b2339c120328ea63"),
        ("http://my_host.пример/x", "9ba615c3fd3468c973ab211f0328ab35"),
        ("http://2130706433/", "ba731f941b3fd5919cd4a41b8535ed3f"),
        ("http://[2001:db8:0:0::1]/x", "31038928ae037b7f1f1d4eea1766ff0c"),
        ("http://[::ffff:1.2.3.4]/", "bc2703e111ca8d643b1c19403b250dd3"),
        ("http://example.com./a", "840b6f5d4add4ed13fe9c2ca8defbf72"),
        ("http://example.com//a//b;c=1,d", "a9f05681328ce2ef32f15dc3ec7b1da3"),
        ("http://example.com/%zz%", "f9138afa24ffcba8962f8ee1814a9ed4"),
        ("http://example.com/a|b^c`{}[]?x=|^`{}[]'", "998c931067eae55da14cdc3bb599a5f6"),
        ("http:\\\\example.com\\a", "e13f642cfa8a20d673211e4c4523d22b"),
        (" http://exa\nmple.com/a\tb ", "1f94d84d06105d308746a4f594772779"),
        ("http://example.com/?fbclid=1", "9aba6a18c5a5d94534a3b99c485d4547"),
        ("http://example.com/\ud800", "3cfc0b4c64feb8d237717c7e3cf89f68"),
        ("http://example.com/a/%2e%2E/b/.", "a29f53ec838dcce6e4643403e3f8239d"),
    ],
)
def test_a_url_has_the_id_that_every_version_gave_it(url, key):
    """X61: the ids on the right were computed before ada parsed URLs; an image with a known id is not requested again."""
    assert urls.url_id(url) == key


@pytest.mark.parametrize(
    ("ref", "target"),
    [
        ("b.jpg", "http://h.example/d/b.jpg"),
        ("/b", "http://h.example/b"),
        ("//c.example/b", "http://c.example/b"),
        ("?q", "http://h.example/d/a?q"),
        ("", "http://h.example/d/a?p"),
        ("#x", "http://h.example/d/a?p"),
        ("..\\b", "http://h.example/b"),
        ("/b?x=\\", "http://h.example/b?x=\\"),
        (" b\tc d ", "http://h.example/d/bc%20d"),
        ("https:other.example", "https://other.example/"),
        ("\\\\c.example/b", "http://c.example/b"),
        ("1:2", "http://h.example/d/1:2"),
        ("img//x.jpg", "http://h.example/d/img//x.jpg"),
        ("///c.example/x.jpg", "http://c.example/x.jpg"),
        ("x.jpg;", "http://h.example/d/x.jpg;"),
        ("x.jpg?", "http://h.example/d/x.jpg?"),
        ("?", "http://h.example/d/a?"),
        ("http:x.jpg", "http://h.example/d/x.jpg"),
        ("%2e%2e/x.jpg", "http://h.example/x.jpg"),
        ("//i❤.example/e.jpg", "http://xn--i-7iq.example/e.jpg"),
    ],
)
def test_a_link_is_resolved_against_its_page(ref, target):
    """F9, F44, X60"""
    assert urls.join("http://h.example/d/a?p", ref) == target


def test_an_origin_always_names_its_port():
    assert urls.origin("https://H.example/x") == "https://h.example:443"
    assert urls.origin("http://[::1]:8080/") == "http://[::1]:8080"


@given(messy_text | messy_url)
@example("http://a/%%34%31")
@example("http://a/%" + "é" * 1500)
def test_any_text_has_one_key_or_one_reason(text):
    try:
        key = urls.normalise(text)
    except UrlError:
        return
    assert urls.normalise(key) == key
    assert urls.normalise(urls.clean(text)) == key
    assert urls.clean(urls.clean(text)) == urls.clean(text)
    assert key.isascii()
    assert not set(key) & set(" \t\n#")
    assert urls.origin(text) == urls.origin(key)


@given(messy_text | messy_url)
def test_any_link_resolves_or_has_one_reason(ref):
    try:
        target = urls.join("http://h.example/d/a?p", ref)
    except UrlError:
        return
    assert urls.clean(target) == target


def reason_of(url: str) -> NetReason:
    with pytest.raises(UrlError) as error:
        urls.clean(url)
    assert not error.value.reason.retryable
    return error.value.reason


def test_what_is_taken_as_written_is_what_ada_writes():
    hosts = (
        "a.example",
        "a-b.c_d.example",
        "ab--c.example",
        "xn--a.example",
        "a.xn--p1ai",
        "a.0x7f",
        "1.2",
        "A.example",
    )
    pieces = (
        "",
        "/",
        "/a.b",
        "/.",
        "/..",
        "/.a",
        "//",
        "?",
        "?a=b/../c",
        "%41",
        "%2e",
        "'",
        "^",
        "|",
        "\\",
        ":80",
        "#a",
        " ",
    )
    taken = 0
    for host, *rest in product(hosts, pieces, pieces, pieces):
        url = f"http://{host}{''.join(rest)}"
        if match := urls._AS_WRITTEN.fullmatch(url):
            written = urls._HREF.fullmatch(ada_url.normalize_url(url))
            assert written
            assert [group or "" for group in match.groups()] == [group or "" for group in written.groups()]
            assert match[0] == written[0]
            taken += 1
    assert taken > 50
