"""URLs: what is requested and what makes a key."""

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
    ],
)
def test_an_international_name_is_requested_in_ascii(raw, host):
    """F44"""
    assert urls.split(raw).host == host


@pytest.mark.parametrize(
    "host", ["xn--a", "xn--", "a" * 64 + ".example", ".".join(["a" * 60] * 5), "a..b", "a%00b", "a b", "a%ff"]
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
    ],
)
def test_a_link_is_resolved_against_its_page(ref, target):
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
