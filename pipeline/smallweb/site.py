"""The site generator: pages on several hosts, the images on them, and the truth about every one.

    SITE/HOST/...        files, served as they are
    SITE/routes.json     what a host does besides that (routes.py)
    SITE/truth.jsonl     one line per <img> (truth.py)
    SITE/pages.jsonl     one line per page
    SITE/held-out/       scenes that are on no page, for evaluation (held_out.py)

The same spec gives the same bytes of every file: no clock, no path of this machine, one seed. Every public page can be
reached from the ``/`` of its host in three steps; every sixth link goes to an old address that redirects to the page.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from urllib.parse import quote

from pipeline.core.errors import ErrorCode, InputError
from pipeline.smallweb.captions import Language, languages
from pipeline.smallweb.defects import IMAGE_HOSTS, SLOW_HOST, Desk, Plant, Planter, Section, Web
from pipeline.smallweb.held_out import HELD_OUT, write_held_out
from pipeline.smallweb.pages import Figure, Links, PageWriter, Style, Teaser
from pipeline.smallweb.routes import Failure, Redirect, Trap
from pipeline.smallweb.scenes import choose_concepts, draw_scenes
from pipeline.smallweb.truth import PAGES_FILE, TRUTH_FILE, Kind, Page, Truth, read_pages, write_lines

# Languages of the page hosts a, b, c ...; with fewer hosts, a host has several; with more, they are used again.
HOST_LANGUAGES = (("en",), ("de", "en"), ("fr", "es"), ("it", "pt", "tr"), ("ru", "ar", "en"), ("zh", "ja", "ko"))
TITLES = ("Little Things", "The Drawing Desk", "Morning Picture", "Colour & Co.", "Paper Lantern", "Sticker Weekly")
LOOKS = ("shop", "blog", "news")
FOLDERS = {Section.PRIVATE: "private", Section.NOAI: "gallery"}
PUBLIC_FOLDERS = {"shop": "items", "blog": "posts", "news": "stories"}
TEASERS_PER_INDEX = 24
OLD_ADDRESS_EVERY = 6
BASE_SHARE = 0.25  # of pages with a <base>
# Dead links, one of each kind on every host, with their expected reasons in crawl.
DEAD_LINKS = (("gone", 410, "http_4xx"), ("missing", 404, "http_4xx"), ("failing", 500, "http_5xx"))

ROBOTS_OF_PAGES = "User-agent: *\nDisallow: /private/\n"
ROBOTS_OF_IMAGES = "User-agent: *\nDisallow: /members/\n"


@dataclass(frozen=True)
class Quarter:
    """A group of hosts that shares no image with other groups. Numbers count ``<img>`` unless noted otherwise."""

    hosts: int = 6
    scenes: int = 1500  # good ones
    defects_each: int = 60
    wrong_captions: int = 60
    slow: int = 50  # each occupies one connection until a time-out
    rate_limited: int = 5  # each makes its host wait a second
    english_share: float = 0.5  # of all images; the other languages have equal shares of the rest

    def counts(self) -> dict[Kind, int]:
        """The number of images per kind, good ones first, because copies need originals."""
        special = {
            Kind.GOOD: self.scenes,
            Kind.SLOW: self.slow,
            Kind.RATE_LIMITED_ONCE: self.rate_limited,
            Kind.WRONG_CAPTION: self.wrong_captions,
        }
        return {kind: special.get(kind, self.defects_each) for kind in Kind}


@dataclass(frozen=True)
class SiteSpec:
    """What to build. Page hosts are named a, b, c ... across all quarters; the image hosts serve all of them."""

    quarters: tuple[Quarter, ...] = (Quarter(),)
    seed: int = 0
    concepts: int = 200
    images_per_page: int = 8
    held_out: int = 0  # number of scenes that are on no page (held_out.py)

    def hosts(self) -> list[list[str]]:
        """The page hosts of each quarter."""
        names = iter(_page_hosts(sum(quarter.hosts for quarter in self.quarters)))
        return [list(islice(names, quarter.hosts)) for quarter in self.quarters]


@dataclass(frozen=True)
class BuiltSite:
    """What was built."""

    folder: Path
    seeds: list[str]  # the first page of each page host
    kinds: Counter[Kind]  # of the <img> planted
    pages: Counter[str]  # by kind of page


def build_site(spec: SiteSpec, folder: Path) -> BuiltSite:
    """Build the mini-web of emoji scenes in ``folder`` (InputError ``output_exists`` if it is not empty)."""
    if spec.images_per_page < 1 or any(quarter.scenes < 1 or quarter.hosts < 1 for quarter in spec.quarters):
        raise InputError(
            ErrorCode.CONFIG_INVALID, "the demo needs at least one scene, one page host and one image per page"
        )
    rng = Random(f"{spec.seed}/site")
    hosts = spec.hosts()
    web = _web(folder, chain.from_iterable(hosts))
    concepts = choose_concepts(spec.concepts, list(languages()), spec.seed)
    scenes = draw_scenes(concepts, spec.seed)
    planter = Planter(web, concepts, scenes, rng)
    plants: list[Plant] = []
    for quarter, names in zip(spec.quarters, hosts, strict=True):
        planter.settle(_desks(names, quarter.english_share))
        plants += [planter.plant(kind) for kind, number in quarter.counts().items() for _ in range(number)]
    if spec.held_out:
        write_held_out(folder / HELD_OUT, concepts, islice(scenes, spec.held_out), rng)
    return _Publisher(web, rng, spec.images_per_page).publish(plants)


def site_from_pairs(
    pairs: Iterable[tuple[str, bytes, Sequence[tuple[str, str]]]],
    folder: Path,
    seed: int = 0,
    page_hosts: int = 6,
    images_per_page: int = 8,
) -> BuiltSite:
    """A site of given images, ``(file name, bytes, [(caption, language), ...])``; names are unique, all are good.

    The captions of an image are on different pages. Images are written one by one; only captions stay in memory.
    """
    rng = Random(f"{seed}/pairs")
    hosts = _page_hosts(page_hosts)
    web = _web(folder, hosts)
    plants = []
    for name, data, captions in pairs:
        url = web.put(f"http://{rng.choice(IMAGE_HOSTS)}/photos/{quote(name)}", data)
        plants += [
            Plant(Kind.GOOD, Desk(rng.choice(hosts), lang), Figure(url, caption, price=f"€ {rng.randint(2, 89)}"))
            for caption, lang in captions
        ]
    return _Publisher(web, rng, images_per_page).publish(plants)


def seed_urls(folder: Path) -> list[str]:
    """The first page of each page host of a site."""
    return [page.url for page in read_pages(folder) if page.kind == "index" and page.url.endswith("/")]


@dataclass(frozen=True)
class _Draft:
    """A page with its URL and its images."""

    url: str
    section: Section
    title: str
    date: str
    plants: list[Plant]
    desk: Desk


class _Publisher:
    """Distributes the plants over pages; writes these, their index pages and the truth."""

    def __init__(self, web: Web, rng: Random, images_per_page: int) -> None:
        self.web = web
        self.rng = rng
        self.images_per_page = images_per_page
        self.truths: list[Truth] = []
        self.pages: list[Page] = []
        self.drafts: dict[str, list[_Draft]] = defaultdict(list)  # by host

    def publish(self, plants: Sequence[Plant]) -> BuiltSite:
        """Write everything except images."""
        groups: dict[tuple[Desk, Section], list[Plant]] = defaultdict(list)
        for plant in plants:
            groups[plant.desk, plant.section].append(plant)
        for (desk, section), members in sorted(groups.items()):
            self.rng.shuffle(members)
            for page in self._fill(members):
                self.drafts[desk.host].append(self._draft(desk, section, page))
        for number, (host, drafts) in enumerate(sorted(self.drafts.items())):
            self._publish_host(host, number, drafts)
        self.web.routes.write(self.web.folder)
        write_lines(self.web.folder / TRUTH_FILE, self.truths)
        write_lines(self.web.folder / PAGES_FILE, self.pages)
        return BuiltSite(
            self.web.folder,
            [f"http://{host}/" for host in sorted(self.drafts)],
            Counter(truth.kind for truth in self.truths),
            Counter(page.kind for page in self.pages),
        )

    def _fill(self, plants: Iterable[Plant]) -> Iterator[list[Plant]]:
        """Pages with about ``images_per_page`` images; no page shows an image twice."""
        opened: list[tuple[int, list[Plant], set[str]]] = []
        for plant in plants:
            page = next((page for page in opened if plant.figure.url not in page[2]), None)
            if page is None:
                spread = self.images_per_page // 3
                page = (self.rng.randint(self.images_per_page - spread, self.images_per_page + spread), [], set())
                opened.append(page)
            room, members, urls = page
            members.append(plant)
            urls.add(plant.figure.url)
            if len(members) == room:
                opened.remove(page)
                yield members
        yield from (members for _, members, _ in opened)

    def _draft(self, desk: Desk, section: Section, plants: list[Plant]) -> _Draft:
        number = len(self.drafts[desk.host]) + 1
        folder = FOLDERS.get(section) or PUBLIC_FOLDERS[_look(desk.host)]
        language = _language(desk.lang)
        named = next((plant.concepts[0].names[desk.lang] for plant in plants if plant.concepts), None)
        title = language.title(named or f"№ {number}", self.rng)
        date = f"{self.rng.randint(2015, 2024)}-{self.rng.randint(1, 12):02}-{self.rng.randint(1, 28):02}"
        return _Draft(f"http://{desk.host}/{folder}/{number:04}.html", section, title, date, plants, desk)

    def _publish_host(self, host: str, number: int, drafts: list[_Draft]) -> None:
        site_title, hue = TITLES[number % len(TITLES)], number * 57 % 360
        self.rng.shuffle(drafts)
        public = [draft for draft in drafts if draft.section is Section.PUBLIC]
        for draft in drafts:
            related = [_teaser(other) for other in self.rng.sample(public, min(3, len(public))) if other is not draft]
            self._publish_article(draft, site_title, hue, related)
        main_lang = Counter(draft.desk.lang for draft in drafts).most_common(1)[0][0]
        teasers = [self._link(position, draft) for position, draft in enumerate(drafts)]
        teasers += self._dead_links(host, main_lang)
        self._publish_indexes(Desk(host, main_lang), site_title, hue, teasers)
        self.web.route_below(f"http://{host}/trap/", Trap(main_lang if main_lang in languages() else "en"))

    def _publish_article(self, draft: _Draft, site_title: str, hue: int, related: Sequence[Teaser]) -> None:
        lang = draft.desk.lang
        style = self._style(draft.desk, hue, draft.section is Section.NOAI)
        writer = PageWriter(draft.url, site_title, lang, _language(lang), style)
        decoy = f"http://{IMAGE_HOSTS[0]}/decoy/{len(self.pages)}.jpg"
        figures = [plant.figure for plant in draft.plants]
        self._put_page(writer, writer.article(draft.title, draft.date, figures, decoy, related))
        reason = "robots_disallow" if draft.section is Section.PRIVATE else None
        self.pages.append(Page(draft.url, lang, style.charset, draft.section.value, reason))
        self.truths += [truth for plant in draft.plants for truth in plant.truths(draft.url)]

    def _publish_indexes(self, desk: Desk, site_title: str, hue: int, teasers: Sequence[Teaser]) -> None:
        starts = range(0, len(teasers), TEASERS_PER_INDEX)
        further = [f"http://{desk.host}/list/{number}.html" for number in range(2, len(starts) + 1)]
        urls = [f"http://{desk.host}/", *further]
        for url, start in zip(urls, starts, strict=True):
            style = self._style(desk, hue)
            writer = PageWriter(url, site_title, desk.lang, _language(desk.lang), style)
            title = _language(desk.lang).words["archive"]
            self._put_page(writer, writer.index(title, teasers[start : start + TEASERS_PER_INDEX], urls))
            self.pages.append(Page(url, desk.lang, style.charset, "index", None))

    def _link(self, position: int, draft: _Draft) -> Teaser:
        """The link to a page; every sixth public one goes to an old address that redirects to it."""
        if position % OLD_ADDRESS_EVERY or draft.section is not Section.PUBLIC:
            return _teaser(draft)
        old = f"http://{draft.desk.host}/old/{position}"
        status = self.rng.choice((301, 302, 308))
        self.web.route(old, Redirect(status, draft.url.removeprefix(f"http://{draft.desk.host}")))
        self.pages.append(Page(old, draft.desk.lang, None, "moved", None))
        return Teaser(old, draft.title, draft.date)

    def _dead_links(self, host: str, lang: str) -> Iterator[Teaser]:
        for kind, status, reason in DEAD_LINKS:
            url = f"http://{host}/{kind}/1.html"
            if status != 404:
                self.web.route(url, Failure(status))
            self.pages.append(Page(url, lang, None, kind, reason))
            yield Teaser(url, _language(lang).title("№ 0", self.rng), "2014-01-01")

    def _style(self, desk: Desk, hue: int, noai: bool = False) -> Style:
        base = f"http://{IMAGE_HOSTS[0]}/photos/" if self.rng.random() < BASE_SHARE else None
        charsets = languages()[desk.lang].charsets if desk.lang in languages() else ["utf-8"]
        charset, declared_by = self.rng.choice(charsets), self.rng.choice(("header", "meta"))
        return Style(_look(desk.host), hue, self.rng.choice(list(Links)), base, charset, declared_by, noai)

    def _put_page(self, writer: PageWriter, html: bytes) -> None:
        style = writer.style
        by_header = style.declared_by == "header"
        self.web.put(writer.url, html, {"Content-Type": f"text/html; charset={style.charset}"} if by_header else None)


def _teaser(draft: _Draft) -> Teaser:
    return Teaser(draft.url, draft.title, draft.date)


def _language(lang: str) -> Language:
    """The words around the images; English if ``lang`` is not in ``languages.yaml``."""
    return languages().get(lang) or languages()["en"]


def _look(host: str) -> str:
    return LOOKS[(ord(host[0]) - ord("a")) % len(LOOKS)]


def _page_hosts(count: int) -> list[str]:
    if not 1 <= count <= 26:
        raise InputError(ErrorCode.CONFIG_INVALID, f"{count} page hosts are not possible; the demo needs 1 to 26")
    return [f"{chr(ord('a') + number)}.demo.test" for number in range(count)]


def _desks(hosts: Sequence[str], english_share: float) -> dict[Desk, float]:
    """Each page host with each of its languages, and its share of all images."""
    desks = sorted(
        {
            Desk(hosts[number % len(hosts)], lang)
            for number in range(max(len(hosts), len(HOST_LANGUAGES)))
            for lang in HOST_LANGUAGES[number % len(HOST_LANGUAGES)]
        }
    )
    english = sum(desk.lang == "en" for desk in desks)
    shares = {True: english_share / english, False: (1 - english_share) / (len(desks) - english)}
    return {desk: share for desk in desks if (share := shares[desk.lang == "en"]) > 0}


def _web(folder: Path, page_hosts: Iterable[str]) -> Web:
    """Create the hosts with their robots.txt, in a folder that must be new or empty."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(ErrorCode.OUTPUT_EXISTS, f"{folder} is not empty; choose another folder or remove it")
    page_hosts = sorted(set(page_hosts))
    image_hosts = (*IMAGE_HOSTS, SLOW_HOST)
    web = Web(folder, [*page_hosts, *image_hosts])
    for host in page_hosts:
        web.put(f"http://{host}/robots.txt", ROBOTS_OF_PAGES.encode())
    for host in image_hosts:
        web.put(f"http://{host}/robots.txt", ROBOTS_OF_IMAGES.encode())
    return web
