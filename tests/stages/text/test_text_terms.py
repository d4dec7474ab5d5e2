"""The lists by which a pair is refused before anything of it is requested."""

import pytest

from pipeline.core.errors import InputError
from pipeline.stages.text.terms import NO_LISTS, read_lists
from pipeline.web.urls import url_id


def written(folder, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "caption", ["Dirty BLOWJOB scene", "best big  boobs here", "nude-teen", "Чистое порно", "a creampie, hot"]
)
def test_the_default_terms_are_found_on_word_borders_in_any_case(caption) -> None:
    assert read_lists("default", [], []).adult_term(caption) is not None


@pytest.mark.parametrize(
    "caption",
    [
        "Tree Sparrow and Great Tits",
        "Cocktail bar",
        "Scunthorpe in Essex and Middlesex",
        "A hoodie in XXL",
        "Alan Cumming",
        "Dick Van Dyke",
        "Nude pumps by Louboutin",
        "Gay pride flag",
        "Bikini bottom",
        "Ford Escort",
        "A cock and two hens",
        "Breast cancer ribbon",
        "Sexy evening dress",
        "Boquete, Panama",
        "Venus of Willendorf, nude figure",
        "Penistone station",
        "big boobshirt",
        "Moby Dick",
    ],
)
def test_honest_captions_hold_no_default_term(caption) -> None:
    assert read_lists("default", [], []).adult_term(caption) is None


def test_a_list_of_ones_own_takes_the_place_of_the_default(tmp_path) -> None:
    lists = read_lists(written(tmp_path, "terms.txt", "# mine\n\nRed Fox\nhare\n"), [], [])
    assert lists.adult_term("A RED   fox") == "red fox"
    assert lists.adult_term("redfox, red-fox") == "red fox"
    assert lists.adult_term("red hot fox") is None
    assert lists.adult_term("porn") is None
    assert read_lists("", [], []).adult_term("porn") is None


def test_a_blocked_domain_blocks_its_hosts_and_no_neighbour(tmp_path) -> None:
    lists = read_lists("", [written(tmp_path, "domains.txt", "Bad.example\nimg.shop.test\n")], [])
    assert lists.domain("bad.example") == lists.domain("cdn.bad.example") == "bad.example"
    assert lists.domain("img.shop.test") == "img.shop.test"
    assert lists.domain("notbad.example") is None
    assert lists.domain("shop.test") is None
    assert lists.domain("") is None


def test_a_domain_is_read_as_hosts_are_written(tmp_path) -> None:
    path = tmp_path / "domains.txt"
    path.write_bytes(b"\xef\xbb\xbffirst.example\n" + "Bücher.example\n.dot.example.\n".encode())
    lists = read_lists("", [str(path)], [])
    assert lists.domain("img.first.example") == "first.example"
    assert lists.domain("xn--bcher-kva.example") == "xn--bcher-kva.example"
    assert lists.domain("a.dot.example.") == "dot.example"


@pytest.mark.parametrize(
    "line",
    ["https://evil.example/", "*.wild.example", "0.0.0.0 hosts.example", "a.example # why", "a.example/x", "a:80"],
)
def test_a_line_that_is_no_domain_is_named_t16(tmp_path, line) -> None:
    """T16: it would block nothing, and nobody would know."""
    with pytest.raises(InputError) as raised:
        read_lists("", [written(tmp_path, "domains.txt", f"good.example\n{line}\n")], [])
    assert raised.value.code == "resource_missing"
    assert line in str(raised.value)


def test_no_error_shows_a_password(tmp_path) -> None:
    with pytest.raises(InputError) as raised:
        read_lists("", [], [written(tmp_path, "urls.txt", "http://user:secret@host.example/a.jpg\n")])
    assert "secret" not in str(raised.value)


def test_a_blocked_url_is_known_by_its_key(tmp_path) -> None:
    lists = read_lists("", [], [written(tmp_path, "urls.txt", "http://A.test:80/x/../b.jpg\n")])
    assert url_id("http://a.test/b.jpg") in lists.urls
    assert url_id("http://a.test/B.jpg") not in lists.urls


def test_the_digest_names_what_the_lists_say_not_where_they_lie(tmp_path) -> None:
    one = read_lists(written(tmp_path, "one.txt", "fox\nhare\n"), [], [])
    two = read_lists(written(tmp_path, "two.txt", "# the same\nHare\nFox\n"), [], [])
    other = read_lists(written(tmp_path, "three.txt", "fox\n"), [], [])
    assert one.digest == two.digest != other.digest
    assert NO_LISTS.adult_term("fox") is None


@pytest.mark.parametrize("content", [None, b"", b"# only this\n\n", b"caf\xe9\n"])
def test_a_list_that_cannot_be_used_is_one_line_t16(tmp_path, content) -> None:
    """T16: missing, empty, without an entry, not UTF-8."""
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    for arguments in ((str(path), [], []), ("", [str(path)], []), ("", [], [str(path)])):
        with pytest.raises(InputError) as raised:
            read_lists(*arguments)
        assert raised.value.code == "resource_missing"
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_line_that_is_no_url_is_named_t16(tmp_path) -> None:
    """T16"""
    with pytest.raises(InputError, match="no-url"):
        read_lists("", [], [written(tmp_path, "urls.txt", "http://a.test/\nno-url\n")])
