"""What is planted in the mini-web: good images, and every kind of defect with its truth.

Each kind of ``truth.Kind`` is a method of ``Planter`` with its name, which writes files and routes and returns one
``Plant``. Defects of the alt text (missing, boilerplate ...) reuse a good image that is shown elsewhere with a true
caption. Defects of an image have their own image, so dropping one never drops a good pair.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from PIL import Image, ImageDraw, ImageEnhance

from pipeline.smallweb.captions import languages
from pipeline.smallweb.pages import Figure, Form
from pipeline.smallweb.routes import AnyRoute, Busy, CutOff, Failure, Host, Redirect, Routes, Slow, Static
from pipeline.smallweb.scenes import GROUNDS, Concept, Scene, decode, encode, phash
from pipeline.smallweb.truth import EXPECTED, Kind, Truth

IMAGE_HOSTS = ("img.demo.test", "cdn.demo.test")
SLOW_HOST = "slow.demo.test"
OWN_HOST_SHARE = 0.2  # of images that are on the host of their page
DRIP_S = 0.2
HANG_EVERY = 5  # every fifth slow image never answers
SHORT_ALTS = ("A", "M", "XL", "No", "2x", "A4", "B2", "N°1", "hi", "ad")
KEYWORDS = 14
PRIVATE = ("owner{n}@example.com", "+44 20 7946 0{n:03}")  # addresses and numbers reserved for examples
FILENAME_ALTS = (
    "IMG_{n:04}.JPG",
    "DSC{n:05}.jpg",
    "photo-{n}.png",
    "P10{n:05}.jpeg",
    "Screenshot_2021-03-04_{n:06}.png",
    "banner_{n}x90.gif",
    "image{n:03}.webp",
)


class Section(StrEnum):
    """Part of a page host."""

    PUBLIC = "article"
    PRIVATE = "private"  # disallowed by robots.txt
    NOAI = "noai"  # pages whose meta robots says noai


class Desk(NamedTuple):
    """A publisher: a page host and the language it writes."""

    host: str
    lang: str


@dataclass(frozen=True)
class Plant:
    """One ``<img>`` waiting for a page."""

    kind: Kind
    desk: Desk
    figure: Figure
    concepts: tuple[Concept, ...] = ()  # shown in the image
    section: Section = Section.PUBLIC
    duplicate_of: str | None = None
    note: str | None = None
    reason: str | None = None  # of the variant, if it differs from that of the kind

    def truths(self, page_url: str) -> Iterator[Truth]:
        """The truth of this ``<img>`` on that page: one line, or two for a lazy image with a ``<noscript>`` twin."""
        if self.kind is Kind.NOSCRIPT_TWIN:
            yield from replace(self, kind=Kind.GOOD, note="its twin follows").truths(page_url)
        stage, reason = EXPECTED[self.kind] or (None, None)
        shown = [concept.names["en"] for concept in self.concepts]
        yield Truth(
            page_url,
            self.figure.url,
            self.figure.alt,
            self.desk.lang,
            shown,
            self.kind,
            stage,
            self.reason or reason,
            self.duplicate_of,
            self.note,
        )


class Web:
    """The hosts of a site while it is written: one folder of files per host, and their routes."""

    def __init__(self, folder: Path, hosts: Sequence[str]) -> None:
        self.folder = folder
        self.routes = Routes({host: Host() for host in sorted(hosts)})
        for host in hosts:
            (folder / host).mkdir(parents=True)

    def put(self, url: str, data: bytes, headers: dict[str, str] | None = None) -> str:
        """Store the file of ``url`` (``/`` is ``index.html``); returns ``url``."""
        host, path = _host_and_path(url)
        file = self.folder / host / (path.lstrip("/") or "index.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        if headers:
            self.route(url, Static(headers))
        return url

    def route(self, url: str, route: AnyRoute) -> str:
        """Let ``route`` answer at ``url``; returns ``url``."""
        host, path = _host_and_path(url)
        self.routes.hosts[host].paths[path] = route
        return url

    def route_below(self, url: str, route: AnyRoute) -> None:
        """Let ``route`` answer at every path that begins like ``url``."""
        host, path = _host_and_path(url)
        self.routes.hosts[host].prefixes[path] = route


class Planter:
    """Draws scenes and plants them; a site only calls ``settle`` and ``plant(kind)``."""

    def __init__(self, web: Web, concepts: Sequence[Concept], scenes: Iterator[Scene], rng: Random) -> None:
        self.web = web
        self.concepts = concepts
        self.scenes = scenes
        self.rng = rng
        self.numbers = {kind: count() for kind in Kind}
        self.no_photo = _no_photo_picture()
        self.settle({})

    def settle(self, desks: dict[Desk, float]) -> None:
        """From now on plant for these desks (with their shares of all images), and copy only their images."""
        self.desks = desks
        self.originals: list[tuple[Plant, Scene]] = []  # good ones, to be copied
        self.decks: dict[str, list[tuple[Plant, Scene]]] = {}

    def plant(self, kind: Kind) -> Plant:
        """Plant one more of this kind; copies need at least one good plant before them."""
        planted: Plant = getattr(self, f"_{kind.value}")(next(self.numbers[kind]))
        return planted

    # Kept.

    def _good(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"photos/{number:05}")
        plant = Plant(Kind.GOOD, desk, self._figure(scene, url, desk, self._form()), scene.concepts)
        self.originals.append((plant, scene))
        return plant

    def _redirect(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        target = self._put_scene(scene, self._host(desk), f"moved/{number:05}")
        hops = 1 + number % 3
        for hop in range(hops, 0, -1):
            here = f"http://{self.rng.choice(IMAGE_HOSTS)}/go/{number}/{hop}"
            status = self.rng.choice((301, 302, 303, 307, 308))
            target = self.web.route(here, Redirect(status, _location(target, here)))
        return self._of_scene(Kind.REDIRECT, scene, target, desk, note=f"hops {hops}")

    def _rate_limited_once(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, IMAGE_HOSTS[1], f"busy/{number:05}")
        self.web.route(url, Busy(refusals=1, retry_after_s=1))
        return self._of_scene(Kind.RATE_LIMITED_ONCE, scene, url, desk)

    def _private_alt(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"owned/{number:05}")
        plant = self._of_scene(Kind.PRIVATE_ALT, scene, url, desk)
        contact = PRIVATE[number % len(PRIVATE)].format(n=number)
        return replace(plant, figure=replace(plant.figure, alt=f"{plant.figure.alt} ({contact})"), note=contact)

    # Lost to the page or the alt text.

    def _alt_missing(self, number: int) -> Plant:
        return self._with_alt(Kind.ALT_MISSING, None)

    def _alt_empty(self, number: int) -> Plant:
        return self._with_alt(Kind.ALT_EMPTY, ("", "", "  ")[number % 3])

    def _boilerplate_alt(self, number: int) -> Plant:
        desk = self._desk()
        return self._with_alt(Kind.BOILERPLATE_ALT, self.rng.choice(languages()[desk.lang].boilerplate), desk)

    def _filename_alt(self, number: int) -> Plant:
        name = FILENAME_ALTS[number % len(FILENAME_ALTS)].format(n=self.rng.randint(1, 9999))
        return self._with_alt(Kind.FILENAME_ALT, name)

    def _too_short_alt(self, number: int) -> Plant:
        return self._with_alt(Kind.TOO_SHORT_ALT, SHORT_ALTS[number % len(SHORT_ALTS)])

    def _keywords_alt(self, number: int) -> Plant:
        desk = self._desk()
        names = [concept.names[desk.lang] for concept in self.rng.choices(self.concepts, k=KEYWORDS)]
        stuffed = f"cheap prints, cheap posters, cheap frames: cheap {names[0]}"
        return self._with_alt(Kind.KEYWORDS_ALT, stuffed if number % 2 else ", ".join(names), desk)

    def _data_uri(self, number: int) -> Plant:
        desk = self._desk()
        png = encode(Image.new("RGB", (8, 8), _colour(number)), "png")
        uri = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return Plant(Kind.DATA_URI, desk, self._bare_figure(uri, desk))

    def _noscript_twin(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"twins/{number:05}")
        return self._of_scene(Kind.NOSCRIPT_TWIN, scene, url, desk, form=Form.LAZY_TWIN)

    def _same_pair_again(self, number: int) -> Plant:
        original, _ = self._original("pair")
        return replace(original, kind=Kind.SAME_PAIR_AGAIN, duplicate_of=original.figure.url)

    def _robots_page(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"inside/{number:05}")
        return replace(self._of_scene(Kind.ROBOTS_PAGE, scene, url, desk), section=Section.PRIVATE)

    def _noai_page(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"art/{number:05}")
        return replace(self._of_scene(Kind.NOAI_PAGE, scene, url, desk), section=Section.NOAI)

    # Lost to the fetch.

    def _tracking_pixel(self, number: int) -> Plant:
        # Each has a different colour: equal bytes under many URLs would be a placeholder.
        desk = self._desk()
        pixel = encode(Image.new("RGB", (1, 1), _colour(number)), "gif")
        url = self.web.put(f"http://{self._image_host()}/pixel/{number}.gif", pixel)
        return Plant(Kind.TRACKING_PIXEL, desk, self._bare_figure(url, desk))

    def _broken_404(self, number: int) -> Plant:
        url = f"http://{self._image_host()}/lost/{number:05}.jpg"
        status = (404, 410)[number % 2]
        if status == 410:
            self.web.route(url, Failure(410))
        return self._pictureless(Kind.BROKEN_404, url, f"status {status}")

    def _server_error(self, number: int) -> Plant:
        status = (500, 502, 503)[number % 3]
        url = self.web.route(f"http://{self._image_host()}/dynamic/{number:05}.jpg", Failure(status))
        return self._pictureless(Kind.SERVER_ERROR, url, f"status {status}")

    def _broken_bytes(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        variant, extension, data, reason = _broken(number, scene, self.rng)
        url = self.web.put(f"http://{self._image_host()}/broken/{number:05}.{extension}", data)
        plant = self._of_scene(Kind.BROKEN_BYTES, scene, url, desk, form=Form.PLAIN, note=variant)
        return replace(plant, reason=reason)

    def _cut_off(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._image_host(), f"cut/{number:05}")
        self.web.route(url, CutOff())
        return self._of_scene(Kind.CUT_OFF, scene, url, desk, form=Form.PLAIN)

    def _html_as_image(self, number: int) -> Plant:
        html = f"<!doctype html><title>Not here</title><p>Picture {number} was moved. Please sign in to see it.\n"
        url = self.web.put(f"http://{self._image_host()}/sign-in/{number:05}.jpg", html.encode())
        return self._pictureless(Kind.HTML_AS_IMAGE, url)

    def _slow(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, SLOW_HOST, f"photos/{number:05}")
        hangs = number % HANG_EVERY == HANG_EVERY - 1
        self.web.route(url, Slow(None if hangs else DRIP_S))
        note = "hangs" if hangs else "drips"
        return self._of_scene(Kind.SLOW, scene, url, desk, form=Form.PLAIN, note=note)

    def _robots_image(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._image_host(), f"members/{number:05}")
        return self._of_scene(Kind.ROBOTS_IMAGE, scene, url, desk, form=Form.PLAIN)

    def _noai_image(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._image_host(), f"reserved/{number:05}")
        value = ("noai", "noimageai", "NoAI, nofollow")[number % 3]
        self.web.route(url, Static({"X-Robots-Tag": value}))
        return self._of_scene(Kind.NOAI_IMAGE, scene, url, desk, form=Form.PLAIN, note=f"X-Robots-Tag: {value}")

    def _redirect_loop(self, number: int) -> Plant:
        host = self._image_host()
        there, here = (f"http://{host}/loop/{number}{side}" for side in "ab")
        self.web.route(there, Redirect(302, _location(here, there)))
        self.web.route(here, Redirect(302, _location(there, here)))
        return self._pictureless(Kind.REDIRECT_LOOP, there)

    # Lost to a comparison: with other images, or of image and text.

    def _placeholder(self, number: int) -> Plant:
        url = self.web.put(f"http://{self._image_host()}/stock/{number:05}.png", self.no_photo)
        return self._pictureless(Kind.PLACEHOLDER, url)

    def _exact_duplicate(self, number: int) -> Plant:
        original, scene = self._original("copy")
        desk = self._desk()
        url = self._put_scene(scene, self._image_host(), f"copies/{number:05}")
        plant = self._of_scene(Kind.EXACT_DUPLICATE, scene, url, desk, form=Form.PLAIN)
        return replace(plant, duplicate_of=original.figure.url)

    def _near_duplicate(self, number: int) -> Plant:
        original, scene = self._original("copy")
        desk = self._desk()
        variant, picture, quality = _variant(number, scene.decoded())
        data = encode(picture, "jpeg", quality)
        url = self.web.put(f"http://{self._image_host()}/shared/{_slug(scene)}-{number:05}.jpg", data)
        distance = (phash(decode(data)) ^ scene.phash).bit_count()
        plant = self._of_scene(Kind.NEAR_DUPLICATE, scene, url, desk, form=Form.PLAIN)
        return replace(plant, duplicate_of=original.figure.url, note=f"{variant}, phash distance {distance}")

    def _wrong_caption(self, number: int) -> Plant:
        scene, desk = next(self.scenes), self._desk()
        url = self._put_scene(scene, self._host(desk), f"mixed/{number:05}")
        others = [concept for concept in self.concepts if concept not in scene.concepts]
        chosen = self.rng.sample(others, min(len(scene.concepts), len(others)))
        ground = self.rng.choice([number for number in range(len(GROUNDS)) if number != scene.ground])
        plant = self._of_scene(Kind.WRONG_CAPTION, scene, url, desk)
        figure = replace(plant.figure, alt=self._caption(chosen, ground, desk))
        return replace(plant, figure=figure)

    # Parts of the above.

    def _of_scene(
        self, kind: Kind, scene: Scene, url: str, desk: Desk, *, form: Form | None = None, note: str | None = None
    ) -> Plant:
        """A scene that is already stored, with a true caption."""
        figure = self._figure(scene, url, desk, form or self.rng.choice((Form.PLAIN, Form.LAZY)))
        return Plant(kind, desk, figure, scene.concepts, note=note)

    def _pictureless(self, kind: Kind, url: str, note: str | None = None) -> Plant:
        desk = self._desk()
        return Plant(kind, desk, self._bare_figure(url, desk), note=note)

    def _with_alt(self, kind: Kind, alt: str | None, desk: Desk | None = None) -> Plant:
        """A good image again, with this alt text."""
        original, _ = self._original("alt")
        return replace(original, kind=kind, desk=desk or self._desk(), figure=replace(original.figure, alt=alt))

    def _original(self, deck: str) -> tuple[Plant, Scene]:
        """The next good plant of a shuffled deck, so none is copied twice before all are copied once."""
        if not self.decks.get(deck):
            self.decks[deck] = self.rng.sample(self.originals, len(self.originals))
        return self.decks[deck].pop()

    def _figure(self, scene: Scene, url: str, desk: Desk, form: Form) -> Figure:
        small_url = None
        if form in (Form.SRCSET, Form.PICTURE):
            half = scene.decoded().resize((scene.width // 2, scene.height // 2), Image.Resampling.BILINEAR)
            small_url = self.web.put(f"{url.rpartition('.')[0]}-small.jpg", encode(half, "jpeg", 80))
        alt = self._caption(scene.concepts, scene.ground, desk)
        return Figure(url, alt, form, scene.width, small_url, self._price())

    def _bare_figure(self, url: str, desk: Desk) -> Figure:
        """A URL without an image of a scene, with the caption of a possible scene."""
        concepts = self.rng.sample(self.concepts, min(2, len(self.concepts)))
        return Figure(url, self._caption(concepts, self.rng.randrange(len(GROUNDS)), desk), price=self._price())

    def _caption(self, concepts: Sequence[Concept], ground: int, desk: Desk) -> str:
        return languages()[desk.lang].caption([concept.names[desk.lang] for concept in concepts], ground, self.rng)

    def _put_scene(self, scene: Scene, host: str, stem: str) -> str:
        folder, _, number = stem.rpartition("/")
        extension = "jpg" if scene.format == "jpeg" else scene.format
        return self.web.put(f"http://{host}/{folder}/{_slug(scene)}-{number}.{extension}", scene.data)

    def _desk(self) -> Desk:
        return self.rng.choices(list(self.desks), list(self.desks.values()))[0]

    def _host(self, desk: Desk) -> str:
        return desk.host if self.rng.random() < OWN_HOST_SHARE else self._image_host()

    def _image_host(self) -> str:
        return self.rng.choice(IMAGE_HOSTS)

    def _form(self) -> Form:
        return self.rng.choices((Form.PLAIN, Form.SRCSET, Form.LAZY, Form.PICTURE), (45, 20, 20, 15))[0]

    def _price(self) -> str:
        return f"€ {self.rng.randint(2, 89)}.{self.rng.choice((0, 50, 90, 95, 99)):02}"


def _host_and_path(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc, unquote(parts.path)


def _slug(scene: Scene) -> str:
    """File name of a scene: its English names in ASCII."""
    ascii_name = "-".join(scene.things("en")).encode("ascii", "ignore").decode()
    return "".join(letter if letter.isalnum() else "-" for letter in ascii_name.lower())


def _location(target: str, here: str) -> str:
    """A relative ``Location`` if the host is the same, else an absolute one."""
    there, source = urlsplit(target), urlsplit(here)
    return there.path if there.netloc == source.netloc else target


def _colour(number: int) -> tuple[int, int, int]:
    """A different colour for each number below 65,536."""
    return (number % 256, number // 256 % 256, number * 91 % 256)


def _broken(number: int, scene: Scene, rng: Random) -> tuple[str, str, bytes, str]:
    """Variant, extension, bytes and reason of a broken image file that is served with status 200."""
    match number % 5:
        case 0:
            whole = encode(scene.decoded(), "jpeg", 85)
            return "truncated jpeg", "jpg", whole[: len(whole) // 2], "truncated_image"
        case 1:
            whole = encode(scene.decoded(), "png")
            return "truncated png", "png", whole[: len(whole) // 2], "truncated_image"
        case 2:
            return "random bytes", "jpg", b"\0" + rng.randbytes(4000), "not_an_image"
        case 3:
            whole = encode(scene.decoded(), "png")
            third = len(whole) // 3
            return "damaged png", "png", whole[:third] + bytes(200) + whole[third + 200 :], "decode_failed"
        case _:
            return "empty", "jpg", b"", "empty_body"


def _variant(number: int, picture: Image.Image) -> tuple[str, Image.Image, int]:
    """Name, image and JPEG quality of a near-duplicate."""
    match number % 3:
        case 0:
            return "re-encoded q60", picture, 60
        case 1:
            size = (round(picture.width * 0.7), round(picture.height * 0.7))
            return "resized 0.7", picture.resize(size, Image.Resampling.LANCZOS), 85
        case _:
            return "brightness +8%", ImageEnhance.Brightness(picture).enhance(1.08), 85


def _no_photo_picture() -> bytes:
    """The image that a shop shows if it has none: a crossed-out camera in grey."""
    picture = Image.new("RGB", (240, 240), (236, 236, 236))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((50, 80, 190, 180), radius=12, outline=(150, 150, 150), width=8)
    draw.rectangle((95, 62, 145, 84), fill=(150, 150, 150))
    draw.ellipse((90, 100, 150, 160), outline=(150, 150, 150), width=8)
    draw.line((40, 200, 200, 40), fill=(180, 120, 120), width=8)
    return encode(picture, "png")
