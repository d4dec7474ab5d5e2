"""Which of the URLs of an image element is taken: lazy loaders, placeholders, pictures, AMP, noscript."""

from __future__ import annotations

import itertools
import random
import tarfile

import html5lib
import pytest

from pipeline.core.ids import key_of
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.charset import decode
from pipeline.stages.extract.pages.html import candidates_of_page

PAGE = "https://site.example/dir/page.html"
BLANK = "https://img.example/blank.gif"
PHOTO = "https://img.example/photos/1.jpg"

LOADERS = [
    *("data-src", "data-lazy", "data-ll-src", "data-cfsrc", "data-pagespeed-lazy-src", "data-hi-res-src", "lazy-src"),
    *("data-lazy-src", "data-original", "nitro-lazy-src", "data-ezsrc", "data-echo", "data-flickity-lazyload"),
    *("data-swap", "data-img-url", "drop-src", "data-zeen-src", "data-inpl-lazy", "data-orig-file", "data-large_image"),
    *("data-real", "original", "lsrc", "data-i", "file", "data-image", "data-thumb-full", "data-bg", "data-url"),
]
SRCSETS = ["data-srcset", "data-lazy-srcset", "nitro-lazy-srcset", "data-zeen-srcset", "drop-srcset", "data-x-set"]
PLACEHOLDERS = [
    *(BLANK, "", "#", "data:image/gif;base64,R0lGODlhAQABAAAAACw=", "about:blank", "/img/1x1.png", "/p.gif", "null"),
    *("/assets/spacer.gif", "loading.gif?v=2", "/img/lazy_placeholder.gif", "/x/1x1.trans.gif", "{{ item.src }}"),
    *("https://a.example/img/placeholder-300x200.png", "/images/ajax-loader.gif", "/no-image.jpg", "[object Object]"),
    *("//:0", "/", "?", "javascript:void(0)", "/img/loading-640.gif", "/a/img_loading.gif", "/ajax_loader.gif"),
    *(
        "/cleardot.gif",
        "/px.png",
        "loader-32.svg",
        "/loading_3.gif",
        "/imageplaceholder.png?v=1",
        "/n/PLACEHOLDER_3.webp",
    ),
    *("https://via.placeholder.com/300x200", "//placehold.co/600x400/png"),
]
NOT_URLS = [
    *("null", "undefined", "true", "false", "none", "", " ", "#", "1", "0.5", "100%", "{{ photo.url }}", "${src}", "lazy"),
    *("[object Object]", '["/a.jpg"]', "{&quot;src&quot;: 1}", "<%= src %>", "about:blank", "javascript:void(0)", "a/{width}.jpg"),
    *("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "blob:https://a.example/1", "NaN", "auto", "%7Bwidth%7D/a.jpg"),
    *("/null", "https://a.example/undefined", "/img/undefined/", "//", "https://", "http://", "N/A", "image/jpeg"),
]  # fmt: skip


def urls(rows):
    return [row["image_url"] for row in rows]


@pytest.mark.parametrize("src", PLACEHOLDERS)
@pytest.mark.parametrize("name", LOADERS)
def test_a_placeholder_does_not_hide_the_image_of_any_loader_x52(page_rows, name, src):
    """X52"""
    for image in (f"<img src='{src}' {name}='{PHOTO}' alt='x y'>", f"<img alt='x y' {name}={PHOTO} class=lazy>"):
        assert urls(page_rows(image)) == [PHOTO]


@pytest.mark.parametrize("url", ["image.php?id=3", "Thumb.ashx?p=7&w=3", "?img=3", "null.jpg", "/undefined/3.jpg"])
def test_a_loader_may_hold_the_url_of_a_script_x52(page_rows, url):
    """X52"""
    assert urls(page_rows(f"<img src={BLANK} data-src='{url}' alt='x y'>")) == urls(
        page_rows(f"<img src='{url}' alt=x>")
    )


@pytest.mark.parametrize(
    "name", ["data-mysrc", "data-lazyfoo", "data-img", "data-image-url", "data-full", "data-photo"]
)
def test_the_name_of_an_attribute_may_say_what_its_value_is_x52(page_rows, name):
    """X52: a URL of an image service has no ending."""
    url = "https://img.example/1234?w=900"
    assert urls(page_rows(f"<img src={BLANK} {name}='{url}' alt='x y'>")) == [url]
    for other in ("data-image-link", "data-photographer-url", "data-image-title", "data-photo-page"):
        assert urls(page_rows(f"<img src={BLANK} {other}='{url}' alt='x y'>")) == [BLANK]


@pytest.mark.parametrize("name", SRCSETS)
def test_a_lazy_srcset_gives_its_largest_image_x52(page_rows, name):
    """X52"""
    image = f"<img src={BLANK} {name}='/s.jpg 300w, {PHOTO} 900w, /m.jpg 600w' alt='x y'>"
    assert urls(page_rows(image)) == [PHOTO]


@pytest.mark.parametrize("value", NOT_URLS)
@pytest.mark.parametrize(
    "name", ["data-src", "data-lazy-src", "data-original", "data-lazy", "data-x", "srcset", "data-srcset"]
)
def test_a_value_that_is_no_url_never_hides_a_good_src_x52(page_rows, name, value):
    """X52"""
    assert urls(page_rows(f"<img {name}='{value}' src='/i/ok.jpg' alt='x y'>")) == ["https://site.example/i/ok.jpg"]


@pytest.mark.parametrize(
    "other",
    [
        *(
            "data-zoom-image=/large.jpg",
            "data-large_image=/large.jpg",
            "data-pin-media=/share.jpg",
            "data-hover=/h.jpg",
        ),
        *("data-fallback=/gone.jpg", "onerror=\"this.src='/gone.jpg'\"", "data-orig-file=/o.jpg", "longdesc=/d.jpg"),
    ],
)
def test_an_unknown_attribute_does_not_replace_a_real_image_x52(page_rows, other):
    """X52"""
    assert urls(page_rows(f"<img src=/i/real.jpg {other} alt='x y'>")) == ["https://site.example/i/real.jpg"]


@pytest.mark.parametrize(
    "other", ["data-link=/page.html", "title=/a.jpg", "data-fallback=/none.jpg", "data-id=12", "data-w='a b'"]
)
def test_a_placeholder_alone_stays_what_it_is_x52(page_rows, other):
    """X52: fetch will say that it is too small."""
    assert urls(page_rows(f"<img src={BLANK} {other} alt='x y'>")) == [BLANK]


@pytest.mark.parametrize(
    "value",
    [
        *("url(/photos/1.jpg)", "url('https://site.example/photos/1.jpg')", " /photos/1.jpg\n"),
        "background-image: url( '/photos/1.jpg' ); color: red",
        *(r"https:\/\/site.example\/photos\/1.jpg", "'/photos/1.jpg'", "&quot;\\/photos\\/1.jpg&quot;"),
    ],
)
def test_a_url_may_be_written_as_in_css_or_json_x52(page_rows, value):
    """X52"""
    for name in ("data-bg", "data-src", "data-lazy"):
        image = f'<img src="{BLANK}" {name}="{value}" alt="x y">'
        assert urls(page_rows(image)) == ["https://site.example/photos/1.jpg"]


@pytest.mark.parametrize(
    "image",
    [
        "<img src='/i/a[1].jpg' alt=x>",
        "<img src='/img?url=%2Fb.png&w=1080' data-nimg=1 alt=x>",
        "<img src='/c_fill,w_100/a.jpg' alt=x>",
        "<img src='photo of a cat.jpg' alt=x>",
        "<img src='a' data-x=/other.jpg alt=x>",
        "<img src='/white-dress.jpg' data-zoom=/big.jpg alt=x>",
        "<img src='/loading-dock.jpg' data-zoom=/big.jpg alt=x>",
        "<img src='/front-loader.png' data-zoom=/big.jpg alt=x>",
        "<img src='/downloading.gif' data-zoom=/big.jpg alt=x>",
        "<img src='/clear-sky.png' data-zoom=/big.jpg alt=x>",
        "<img src='/img.php?file=blank.gif' data-zoom=/big.jpg alt=x>",
    ],
)
def test_an_odd_but_real_src_stays_x52(page_rows, image):
    """X52"""
    src = image.split("'")[1]
    assert urls(page_rows(image)) == urls(page_rows(f"<img src='{src}' alt=x>"))


@pytest.mark.parametrize("name", ["data-image", "data-src", "data-interchange", "data-x"])
@pytest.mark.parametrize(
    "value",
    [
        r'{"src":"https:\/\/img.example\/photos\/1.jpg","w":900}',
        '[{"w": 300, "url": "//img.example/photos/1.jpg"}]',
        *(
            r'{"id": "a/b", "src": "\/photos\/1.jpg"}',
            '["/photos/1.jpg", "/photos/2.jpg"]',
            '{"src":"../photos/1.jpg"}',
        ),
        *("[/photos/1.jpg, small], [/photos/2.jpg, large]", "small:x, /photos/1.jpg"),
    ],
)
def test_a_url_inside_json_is_found_where_nothing_else_is_x52(page_rows, name, value):
    """X52"""
    (url,) = urls(page_rows(f"<base href=https://img.example/a/><img src=data:, {name}='{value}' alt='x y'>"))
    assert url == PHOTO


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("<source type=image/avif srcset=/cat.avif>", "/cat.jpg"),
        ("<source srcset=/cat.avif>", "/cat.jpg"),
        ("<source type=image/jxl srcset=/cat.jxl><source type=image/webp srcset='/cat.webp 2x'>", "/cat.webp"),
        ("<source type='IMAGE/WEBP; q=1' srcset=/cat.webp>", "/cat.webp"),
        ("<source type='' srcset=/cat.png>", "/cat.png"),
        ("<source type=image/svg+xml srcset=/cat.svg>", "/cat.jpg"),
        ("<source type=webp srcset=/cat.webp>", "/cat.jpg"),
        ("<source media=print srcset='/print.jpg 2000w'>", "/cat.jpg"),
        ("<source media='(prefers-color-scheme: dark)' srcset='/dark.jpg 2000w'>", "/cat.jpg"),
        ("<source media='(min-width: 800px)' srcset='/wide.jpg 2000w'>", "/wide.jpg"),
        ("<source srcset='/cat?fm=avif&w=9 900w'>", "/cat.jpg"),
        ("<source srcset='/cdn-cgi/image/width=9,format=avif/cat.jpg 900w'>", "/cat.jpg"),
        ("<source srcset='/f_avif/cat 2x'>", "/cat.jpg"),
        ("<source srcset='/cat?format=image/avif 2x'>", "/cat.jpg"),
        ("<source srcset='/cat?fm=avif.jpg'>", "/cat?fm=avif.jpg"),
        ("<source srcset='/cat?fm=webp&f=heics'>", "/cat?fm=webp&f=heics"),
        ("<source media='(max-width: 600px)' srcset='/small.jpg 600w'>", "/cat.jpg"),
        ("<source media='screen and (MAX-WIDTH:37.5em)' srcset=/small.jpg>", "/cat.jpg"),
        ("<source media='(width <= 900px)' srcset=/small.jpg>", "/cat.jpg"),
        ("<source media='(orientation: portrait)' srcset='/tall.jpg 900w'>", "/cat.jpg"),
        ("<source media='(max-width: 9px), (min-width: 900px)' srcset=/wide.jpg>", "/wide.jpg"),
        ("<source media='(max-width: 3000px)' srcset=/wide.jpg>", "/wide.jpg"),
        ("<source media='(max-width: 1.2.3px)' srcset=/wide.jpg>", "/wide.jpg"),
        ("<source media='(max-width: 9px)' srcset=/s.jpg><source media='(min-width: 9px)' srcset=/l.jpg>", "/l.jpg"),
        ("<source type=image/avif data-srcset=/cat.avif><source type=image/webp data-srcset=/cat.webp>", "/cat.webp"),
    ],
)
def test_a_source_that_is_not_shown_is_passed_over_x53(page_rows, sources, expected):
    """X53"""
    html = f"<picture>{sources}<img src=/cat.jpg alt='A grey cat'></picture>"
    assert urls(page_rows(html)) == [f"https://site.example{expected}"]


@pytest.mark.parametrize("lazily", ["data-src=/cat.webp", "data-original=/cat.webp", "data-x-srcset='/cat.webp 2x'"])
def test_a_source_may_be_lazy_too_x53(page_rows, lazily):
    """X53"""
    html = f"<picture><source {lazily}><source type=image/avif data-src=/c.avif><img src={BLANK} alt='A cat'></picture>"
    assert urls(page_rows(html)) == ["https://site.example/cat.webp"]


def test_a_source_that_is_not_shown_is_better_than_nothing_x53(page_rows):
    """X53"""
    html = "<picture><source type=image/avif srcset=/cat.avif><img src=data:, alt='A grey cat'></picture>"
    assert urls(page_rows(html)) == ["https://site.example/cat.avif"]


@pytest.mark.parametrize("tag", ["amp-img", "amp-anim", "AMP-IMG"])
def test_amp_images_are_images_x54(page_rows, tag):
    """X54"""
    html = f"<{tag} srcset='/t.jpg 300w, /tower.jpg 900w' src=/s.jpg alt='An old tower'></{tag}><img src=b alt=Boat>"
    assert urls(page_rows(html)) == ["https://site.example/tower.jpg", "https://site.example/dir/b"]


def test_what_stands_in_for_an_amp_image_is_counted_with_it_x54(page_rows):
    """X54: the noscript, fallback and placeholder of an AMP image show the same."""
    html = """<amp-img src=/a.webp alt=Tower><noscript><img src=/a.webp alt=Tower></noscript></amp-img>
    <amp-img src=/b.webp alt=Boat><amp-img fallback src=/b.jpg alt=Boat></amp-img></amp-img>
    <amp-anim src=/cat.gif alt=Cat><amp-img placeholder src=/c.jpg></amp-img></amp-anim><input type=image src=d alt=Go>
    <amp-img src=/d.webp alt=Dog><img class=i-amphtml-fill-content src=/d.webp alt=Dog></amp-img>
    <svg><image href=/e.jpg /></svg>"""
    assert [(row["image_url"][-6:], row["count"]) for row in page_rows(html)] == [
        ("a.webp", 2),
        ("b.webp", 2),
        ("at.gif", 2),
        ("d.webp", 2),
    ]


def test_a_stand_in_that_fetch_can_read_is_better_x54(page_rows):
    """X54: AMP and noscript give older browsers a JPEG for an AVIF."""
    html = """<amp-img src=/b.avif alt=Boat><amp-img fallback src=/b.jpg alt=Boat></amp-img></amp-img>
    <img data-src=/red-fox.avif alt=Fox><noscript><img src=/red-fox.jpg alt=Fox></noscript>"""
    rows = [(row["image_url"][-6:], row["count"], row["alternate_url"]) for row in page_rows(html)]
    assert rows == [("/b.jpg", 2, None), ("ox.jpg", 2, None)]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<img src=data:, data-app=7 alt=Fox><noscript><img src=/fox.jpg alt=Fox></noscript>", ["/fox.jpg"]),
        ("<body><noscript><img src=/fox.jpg alt=Fox></noscript><img src=/blank.gif alt=Fox>", ["/fox.jpg"]),
        ("<img data-src=/fox-150x100.jpg alt=Fox><noscript><img src=/fox-900x600.jpg alt=Fox></noscript>", ["/fox-150x100.jpg", "/fox-900x600.jpg"]),
        ("<img data-src=/red-fox-150x100.jpg alt=Fox><noscript><img src=/red-fox.jpg alt=Fox></noscript>", ["/red-fox.jpg"]),
        ("<img src=/fox.jpg alt=Fox><noscript><img src=/owl.jpg alt=Fox></noscript>", ["/fox.jpg", "/owl.jpg"]),
        ("<img src=/blank.gif alt=Fox><noscript><img src=/owl.jpg alt=Owl></noscript>", ["/blank.gif", "/owl.jpg"]),
        ("<img src=/blank.gif alt=Fox><img src=/fox.jpg alt=Fox>", ["/blank.gif", "/fox.jpg"]),
    ],
)  # fmt: skip
def test_of_noscript_twins_the_real_image_is_kept_x52(page_rows, html, expected):
    """X52"""
    rows = page_rows(html)
    assert urls(rows) == [f"https://site.example{path}" for path in expected]
    assert sum(row["count"] for row in rows) == 2


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("<img srcset='/a.jpg 900w' src=/b.jpg alt=x>", "https://site.example/b.jpg"),
        ("<img data-src=/a.jpg src=b.jpg alt=x>", "https://site.example/dir/b.jpg"),
        ("<img data-src=/a.jpg data-lazy-src=/c.jpg src=/blank.gif alt=x>", "https://site.example/c.jpg"),
        ("<picture><source srcset=/a.webp><img src=/b.jpg alt=x></picture>", "https://site.example/b.jpg"),
        ("<picture><source srcset=/a.avif><img src=/b.jpg alt=x></picture>", None),
        (
            "<picture><source media='(max-width:9px)' srcset=/s.jpg><img src=/b.jpg alt=x></picture>",
            "https://site.example/s.jpg",
        ),
        (
            "<picture><source media='print,(max-width:9px)' type=image/avif srcset=/s.jpg><img src=/b.jpg alt=x></picture>",
            None,
        ),
        ("<img data-src=/a.jpg src=//other.example/b.jpg alt=x>", None),
        ("<img data-src=/a.jpg src=http://site.example/b.jpg alt=x>", None),
        ("<img data-src=/a.jpg src=https://site.example:8443/b.jpg alt=x>", None),
        ("<img data-src=/a.jpg src=/A/../a.jpg#b alt=x>", None),
        ("<img data-src=/a.jpg src=/spacer.gif alt=x>", None),
        ("<img data-src=/a.jpg src=https://u:p@site.example/b.jpg alt=x>", None),
        ("<img src=/a.jpg alt=x>", None),
    ],
)
def test_the_second_best_url_of_an_image_is_its_alternate_x55(page_rows, image, expected):
    """X55: on the same scheme, host and port; neither key nor pair depends on it."""
    (row,) = page_rows(image)
    assert row["alternate_url"] == expected
    assert row["alternate_id"] == (expected and key_of(expected))
    first = page_rows(f"<img src='{row['image_url']}' alt=x>")[0]
    assert (row["url_id"], row["pair_id"]) == (first["url_id"], first["pair_id"])


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<img data-src=/red-fox-150x100.jpg alt=Fox><noscript><img src=/red-fox.jpg alt=Fox></noscript>", "/red-fox-150x100.jpg"),
        ("<img data-src=/red-fox.jpg alt=Fox><noscript><img src=/red-fox-150x100.jpg alt=Fox></noscript>", "/red-fox-150x100.jpg"),
        ("<amp-img src=/b.webp alt=Boat><amp-img fallback src=/b.jpg alt=Boat></amp-img></amp-img>", "/b.jpg"),
        ("<amp-img src=/b.webp alt=Boat><amp-img fallback src=/b.jpg></amp-img></amp-img>", "/b.jpg"),
        ("<img data-src=//o.example/red-fox.jpg alt=Fox><noscript><img src=/red-fox-15x10.jpg alt=Fox></noscript>", None),
    ],
)  # fmt: skip
def test_the_other_url_of_a_twin_is_its_alternate_x55(page_rows, html, expected):
    """X55"""
    (row,) = page_rows(html)
    assert (row["count"], row["alternate_url"]) == (2, expected and f"https://site.example{expected}")


def test_a_stand_in_with_a_text_of_its_own_is_a_candidate_x54(page_rows):
    """X54"""
    html = (
        "<amp-img src=/b.webp alt=Boat><amp-img placeholder src=/c.jpg alt='A small blurred boat'></amp-img></amp-img>"
    )
    assert [row["alt_text"] for row in page_rows(html)] == ["Boat", "A small blurred boat"]


def alts_by_html5lib(html: str) -> list[str | None]:
    """The alt of every image outside of templates, in document order."""
    tree = html5lib.parse(html, treebuilder="etree", namespaceHTMLElements=False)
    for template in tree.iter("template"):
        template.clear()
    return [node.get("alt") for node in tree.iter() if node.tag in ("img", "amp-img", "amp-anim")]


def our_alts(html: bytes) -> list[str | None]:
    rows = candidates_of_page(html, PAGE, None, None, (), Config(max_page_images=10_000))
    return list(itertools.chain.from_iterable([row["alt_text"]] * row["count"] for row in rows))


PIECES = [
    *("<img src=a alt=A>", "<amp-img src=b alt=B></amp-img>", "<amp-anim src=c alt='C > D'>", "<p>", "</p>", "<table><tr>"),
    *("<img alt=E><noscript><img alt=E src=e></noscript>", "<!-- <img alt=no> -->", "<template><img alt=no></template>"),
    *("<script>'<img alt=no>'</script>", "<svg><path alt=no /></svg>"),
    *("<picture><source srcset=g><img alt=G></picture>", "<a href=x>", "</a>", "<img alt='H&amp;eacute;'", "/", ">", "</amp-anim>"),
    *("<title><img alt=no></title>", "<div title='<img alt=no>'>", "<IMG ALT=I/>", "<b><i>", "</b>", "<li>", "</table>", "<td>"),
]  # fmt: skip


@pytest.mark.parametrize("numbers", [range(300), pytest.param(range(300, 10_000), marks=pytest.mark.long)])
def test_generated_pages_give_the_alts_html5lib_finds_x54(numbers):
    """X54"""
    for number in numbers:
        draw = random.Random(number)
        page = "<!doctype html><body>" + "".join(draw.choices(PIECES, k=draw.randrange(1, 12)))
        assert our_alts(page.encode()) == alts_by_html5lib(page), page


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.long)])
def test_real_pages_give_the_alts_html5lib_finds_x54(shared_data, step):
    """X54"""
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        pages = {member.name: tar.extractfile(member).read() for member in list(tar)[1::step]}
    differ = [name for name, page in pages.items() if our_alts(page) != alts_by_html5lib(decode(page, None).text)]
    assert differ == []
