"""srcset by the standard's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.extract.pages.srcset import Source, largest_of, parse

URL_TEXT = st.text(alphabet="abc/:.,()%w2x?=", min_size=1, max_size=12).filter(lambda url: url.strip(",") == url)
DESCRIPTOR = st.one_of(
    st.integers(1, 5000).map(lambda width: (f"{width}w", (width, 1.0))),
    st.floats(0.5, 8, width=16).map(lambda density: (f"{density}x", (0, density))),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ,, ", []),
        ("a.jpg", [(0, 1.0, "a.jpg")]),
        ("a.jpg, b.jpg 2x", [(0, 1.0, "a.jpg"), (0, 2.0, "b.jpg")]),
        ("a.jpg,b.jpg 2x", [(0, 2.0, "a.jpg,b.jpg")]),
        ("a,,, b 1.5x", [(0, 1.0, "a"), (0, 1.5, "b")]),
        (
            "data:image/gif;base64,AA 1x, /c,d.jpg 100w 50h",
            [(0, 1.0, "data:image/gif;base64,AA"), (100, 1.0, "/c,d.jpg")],
        ),
        ("a 1x 2x, b 3w 4x, c 0w, d -1x, e 1.w, f 5h, g 10W, h 7w", [(7, 1.0, "h")]),
        ("a foo(1, 2) 3w, b 1w", [(1, 1.0, "b")]),
        ("a 1e1x\n,\tb 2x", [(0, 10.0, "a"), (0, 2.0, "b")]),
        ("a (unclosed, b 2x", []),
    ],
)
def test_each_srcset_is_parsed_as_a_browser_does(text, expected):
    """X13"""
    assert list(parse(text)) == [Source(*source) for source in expected]


@given(st.lists(st.tuples(URL_TEXT, DESCRIPTOR), max_size=6), st.sampled_from([", ", " ,", "\n,\t", " , "]))
def test_what_was_written_is_read_back(images, separator):
    """X13"""
    text = separator.join(f"{url} {descriptor}" for url, (descriptor, _) in images)
    assert list(parse(text)) == [Source(*size, url) for url, (_, size) in images]


@given(st.text(alphabet=" ,()axw1.\t\n-e", max_size=60))
def test_no_text_breaks_the_parser(text):
    sources = list(parse(text))
    assert all(source.url and source.url.strip(",") and " " not in source.url for source in sources)
    assert largest_of(sources) in [None, *(source.url for source in sources)]


def test_a_long_srcset_takes_linear_time():
    text = "a (" * 200_000
    assert list(parse(text)) == []
