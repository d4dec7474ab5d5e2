import hashlib
import itertools
import re
from collections import Counter
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from checkout import SHARED
from flickr8k import read_flickr8k
from selectolax.lexbor import LexborHTMLParser

from pipeline.core.errors import InputError
from pipeline.smallweb.captions import languages
from pipeline.smallweb.pages import CODECS, Links, reference
from pipeline.smallweb.routes import Redirect, Routes
from pipeline.smallweb.scenes import choose_concepts, draw_scenes
from pipeline.smallweb.site import Quarter, SiteSpec, build_site, seed_urls, site_from_pairs
from pipeline.smallweb.truth import EXPECTED, Kind, read_pages, read_truth

FEW = Quarter(scenes=40, defects_each=6, wrong_captions=6, slow=5, rate_limited=2)
TINY = SiteSpec((FEW,), concepts=30, images_per_page=4)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_site(TINY, tmp_path_factory.mktemp("tiny") / "site")


@pytest.fixture(scope="module")
def truths(site):
    return list(read_truth(site.folder))


def tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def file_of(folder: Path, url: str) -> Path:
    parts = urlsplit(url)
    return folder / parts.netloc / (parts.path.lstrip("/") or "index.html")


def images_of(html: str, page_url: str) -> list[tuple[str, str | None]]:
    """A second opinion on the markup: image and alt text by the rules that the site promises to follow."""
    tree = LexborHTMLParser(html)
    base = tree.css_first("base")
    base_url = urljoin(page_url, base.attributes["href"]) if base else page_url
    found = []
    for img in tree.css("img"):
        if any(node.tag == "template" for node in ancestors(img)):
            continue
        attributes = img.attributes
        candidates = [candidate.split() for candidate in (attributes.get("srcset") or "").split(",") if candidate]
        if candidates:
            source = max(candidates, key=lambda candidate: int(candidate[1].rstrip("w")))[0]
        else:
            source = attributes.get("data-src") or attributes["src"]
        alt = (attributes["alt"] or "") if "alt" in attributes else None
        found.append((urljoin(base_url, source), alt))
    return found


def ancestors(node):
    while node := node.parent:
        yield node


def test_the_same_seed_gives_the_same_bytes_of_every_file(site, tmp_path):
    assert tree_digest(build_site(TINY, tmp_path / "again").folder) == tree_digest(site.folder)


def test_every_kind_is_planted_as_often_as_asked(truths):
    counts = Counter(truth.kind for truth in truths)
    expected = FEW.counts() | {Kind.GOOD: FEW.scenes + FEW.defects_each}  # a lazy twin has a good first half
    assert counts == expected


def test_the_default_site_has_at_least_fifty_of_each_defect():
    rare = {kind for kind, count in Quarter().counts().items() if count < 50}
    assert rare == {Kind.RATE_LIMITED_ONCE}


def test_every_image_of_every_page_has_exactly_one_line_of_truth(site, truths):
    """X9, X13, X16, X18: whatever the markup, an independent reading of the HTML gives the truth's URL and alt."""
    lines = Counter((truth.page_url, truth.image_url, truth.alt_text) for truth in truths)
    found = Counter()
    for page in read_pages(site.folder):
        if page.charset:
            html = file_of(site.folder, page.url).read_bytes().decode(CODECS[page.charset])
            found.update((page.url, *image) for image in images_of(html, page.url))
    assert found == lines


def test_decoys_stand_in_comments_and_templates_only(site):
    pages = [file_of(site.folder, page.url).read_text("latin-1") for page in read_pages(site.folder) if page.charset]
    decoys = [html for html in pages if "decoy/" in html]
    assert decoys
    for html in decoys:
        assert "decoy/" not in re.sub(r"<!--.*?-->|<template>.*?</template>", "", html, flags=re.DOTALL)


def test_every_page_can_be_reached_from_the_first_page_of_its_host(site):
    pages = {page.url: page for page in read_pages(site.folder)}
    redirects = {
        f"http://{host}{path}": urljoin(f"http://{host}{path}", route.location)
        for host, routes in Routes.read(site.folder).hosts.items()
        for path, route in routes.paths.items()
        if isinstance(route, Redirect)
    }
    reached, waiting = set(), list(site.seeds)
    while waiting:
        url = waiting.pop()
        if url in reached or url not in pages:
            continue
        reached.add(url)
        if url in redirects:
            waiting.append(redirects[url])
        elif pages[url].charset:
            tree = LexborHTMLParser(file_of(site.folder, url).read_bytes().decode(CODECS[pages[url].charset]))
            base = tree.css_first("base")
            waiting += [urljoin(base.attributes["href"] if base else url, a.attributes["href"]) for a in tree.css("a")]
    assert reached == set(pages)


def test_duplicates_name_an_original_that_is_good(truths):
    good = {truth.image_url for truth in truths if truth.kind is Kind.GOOD}
    copies = [truth for truth in truths if truth.duplicate_of]
    assert {truth.kind for truth in copies} == {Kind.EXACT_DUPLICATE, Kind.NEAR_DUPLICATE, Kind.SAME_PAIR_AGAIN}
    assert all(truth.duplicate_of in good for truth in copies)


def test_exact_duplicates_have_the_bytes_of_their_original_and_near_ones_do_not(site, truths):
    for truth in truths:
        if truth.kind in (Kind.EXACT_DUPLICATE, Kind.NEAR_DUPLICATE):
            same = (
                file_of(site.folder, truth.image_url).read_bytes()
                == file_of(site.folder, truth.duplicate_of).read_bytes()
            )
            assert same == (truth.kind is Kind.EXACT_DUPLICATE)


def test_a_pair_planted_again_stands_on_another_page(truths):
    good = {(truth.image_url, truth.alt_text): truth.page_url for truth in truths if truth.kind is Kind.GOOD}
    for truth in truths:
        if truth.kind is Kind.SAME_PAIR_AGAIN:
            assert good[truth.image_url, truth.alt_text] != truth.page_url


def test_wrong_captions_name_nothing_that_the_picture_shows(truths):
    english = [truth for truth in truths if truth.kind is Kind.WRONG_CAPTION and truth.lang == "en"]
    assert english
    for truth in english:
        named = re.split(r"\W+ |, | and | on | with ", truth.alt_text.casefold())
        assert not set(named) & {concept.casefold() for concept in truth.concepts}


def test_tracking_pixels_all_have_different_bytes(site, truths):
    """F41: equal bytes under many URLs would be a placeholder, not a pixel."""
    pixels = [truth.image_url for truth in truths if truth.kind is Kind.TRACKING_PIXEL]
    assert len({file_of(site.folder, url).read_bytes() for url in pixels}) == len(pixels)


def test_every_kind_has_an_expectation():
    assert set(EXPECTED) == set(Kind)


def test_the_seeds_are_found_again_in_the_folder(site):
    assert seed_urls(site.folder) == site.seeds == [f"http://{letter}.demo.test/" for letter in "abcdef"]


def test_a_folder_that_is_not_empty_is_left_alone(site):
    before = tree_digest(site.folder)
    with pytest.raises(InputError, match="output_exists"):
        build_site(TINY, site.folder)
    assert tree_digest(site.folder) == before


@pytest.mark.parametrize("links", list(Links))
@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://a.demo.test/x/1.jpg", "http://a.demo.test/y/2.html"),
        ("http://a.demo.test/y/1.jpg", "http://a.demo.test/y/2.html"),
        ("http://a.demo.test/", "http://a.demo.test/y/2.html"),
        ("http://a.demo.test/x/1.html", "http://a.demo.test/"),
        ("http://img.demo.test/photos/1.jpg", "http://img.demo.test/photos/"),
        ("http://img.demo.test/a.jpg", "http://a.demo.test/y/2.html"),
    ],
)
def test_a_reference_resolves_to_the_url_it_was_made_of(links, url, base):
    assert urljoin(base, reference(url, base, links)) == url


def test_any_pairs_make_a_site_whose_truth_is_all_good(tmp_path):
    """Names with spaces and languages without words of ours are no obstacle."""
    scenes = itertools.islice(draw_scenes(choose_concepts(10, list(languages()), 0), 0), 12)
    pairs = [
        (
            f"photo {n}.{scene.format}",
            scene.data,
            [(f"caption {k} of picture {n}", "en") for k in range(3)] + [("obrázek", "cs")],
        )
        for n, scene in enumerate(scenes)
    ]
    site = site_from_pairs(pairs, tmp_path / "site", page_hosts=2, images_per_page=4)
    truths = list(read_truth(site.folder))
    assert Counter(truth.kind for truth in truths) == {Kind.GOOD: 48}
    assert Counter(truth.lang for truth in truths) == {"en": 36, "cs": 12}
    assert len({(truth.page_url, truth.image_url) for truth in truths}) == 48


def test_flickr8k_is_read_with_all_captions_of_the_languages_asked_for(tmp_path):
    images, captions = SHARED / "data" / "flickr8k-images.tar", SHARED / "data" / "flickr8k-captions.tsv.gz"
    if not images.exists():
        pytest.skip("the shared data folder is not here")
    pairs = list(read_flickr8k(images, captions, langs=("en", "zh"), limit=5))
    assert len(pairs) == 5
    for _, data, texts in pairs:
        assert data.startswith(b"\xff\xd8")
        assert Counter(lang for _, lang in texts) == {"en": 5, "zh": 5}
    site = site_from_pairs(pairs, tmp_path / "site")
    assert sum(site.kinds.values()) == 50
