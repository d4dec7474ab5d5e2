"""Measured values are stored and reused, so code that measures otherwise must say so: by its stage's measure_version.

python tests/core/test_golden.py      writes golden.json anew
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.funnel import BY_NAME
from pipeline.stages.extract.config import Config as ExtractConfig
from pipeline.stages.extract.pages.html import candidates_of_page
from pipeline.stages.text.captions import COLUMNS, measure_batch
from pipeline.stages.text.config import Config as TextConfig
from pipeline.vision.image import ImageSettings, measure_image
from schemas.extract import ADDS

GOLDEN = Path(__file__).with_name("golden.json")
Columns = dict[str, list[Any]]

CAPTIONS = [
    "A red fox crosses a frozen lake in the morning light",
    "  Un chien\tnoir &amp; blanc court sur la plage au coucher du soleil\u200b ",
    "DER ALTE LEUCHTTURM AN DER KÜSTE IM WINTERSTURM",
    "Старый деревянный мост через реку в осеннем лесу",
    "Το μικρό λιμάνι του νησιού με τις ψαρόβαρκες",
    "قارب صيد صغير على شاطئ البحر عند الغروب",
    "ילדה קטנה מאכילה יונים בכיכר העיר",
    "शहर के बाज़ार में रंगीन मसालों की दुकान",
    "雪の中に立つ一匹の赤い狐",
    "一只猫坐在窗台上看着下雨的街道",
    "한강 다리 위로 지는 붉은 노을",
    "วัดเก่าริมแม่น้ำในยามเช้า",
    "Cafe\u0301 cre\u0300me \u2014 \u201cdeux tasses\u201d sur une table \ufb01n",
    "IMG_20240131_0042.JPG",
    "Prints of a grey harbour seal from jane@example.com or +44 20 7946 0958",
    "cheap prints, cheap posters, cheap frames: cheap lighthouse",
    "Now only $9.99",
    "👩\u200d🚀 \U0001f680 2024",
]

PAGE = """<!doctype html><html lang="fr"><head><base href="/photos/"><meta name="robots" content="noai">
<title>Harbour</title></head><body>
<img src="a.jpg" alt="Boats &amp; nets at the quay"><img src="a.jpg?utm_source=mail" alt="Boats once more"><img src='/b.png?w=1&amp;h=2' alt="">
<img src="c.webp"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="pixel">
<img data-src="lazy.jpg" src="blank.gif" alt="a lazily loaded gull">
<picture><source srcset="d-1600.webp 1600w, d-800.webp 800w"><img src="d.jpg" alt="the lighthouse"></picture>
<img srcset="e.jpg 1x, e@2x.jpg 2x" alt="the pier twice as sharp">
<noscript><img src="f.jpg" alt="without a script"></noscript><template><img src="g.jpg" alt="never shown"></template>
<!-- <img src="h.jpg" alt="a comment"> --><img src="http://[broken" alt="nowhere">
<img src="//CDN.Example:443/./i.jpg#top" alt="ein Foto \u00fcber Umlaute"></body></html>"""


def text_columns() -> Columns:
    batch = pa.RecordBatch.from_pydict({"alt_text": CAPTIONS})
    return measure_batch(batch, TextConfig()).select(list(COLUMNS)).to_pydict()


def extract_columns() -> Columns:
    rows = candidates_of_page(
        PAGE.encode(), "https://site.example/dir/page.html", "2024-05-06T07:08:09Z", "utf-8", (), ExtractConfig()
    )
    return {name: [row[name] for row in rows] for name in ADDS.names}


def fetch_columns() -> Columns:
    """What is measured of three pictures: colour, transparent, and grey that is too wide to be stored as it is.

    image_sha256 is left out and levels are rounded: the stored JPEG is written by the libjpeg-turbo that simplejpeg was
    built with, and another build may write other bytes for the same pixels. phash holds: see the test of its margin.
    """
    rows = [measure_image(data, ImageSettings()).columns for data in pictures()]
    names = [name for name in rows[0] if name != "image_sha256"]
    found: Columns = {name: [row.get(name) for row in rows] for name in names}
    return found | {name: [round(value, 1) for value in found[name]] for name in ("spread", "mean", "entropy")}


def pictures() -> list[bytes]:
    return [
        png(160, 120, 3, (channel for y in range(120) for x in range(160) for channel in colour(x, y))),
        png(96, 128, 4, (value for y in range(128) for x in range(96) for value in (*colour(y, x), (x * 5 + y) % 256))),
        png(520, 120, 1, (colour(x, y)[0] for y in range(120) for x in range(520))),
    ]


def colour(x: int, y: int) -> tuple[int, int, int]:
    """Slopes with a few hard edges, in integers: the same pixels everywhere."""
    block = 90 if (x // 24 + y // 40) % 3 == 0 else 0
    return (x + y + block) % 256, (2 * y + block) % 256, (x * y // 64) % 256


def png(width: int, height: int, channels: int, samples: Iterable[int]) -> bytes:
    """A PNG (RFC 2083) in one stored deflate block: no compressor whose version could move a byte."""
    values, stride = bytes(samples), width * channels
    lines = b"".join(b"\0" + values[at : at + stride] for at in range(0, len(values), stride))
    stored = struct.pack("<BHH", 1, len(lines), len(lines) ^ 0xFFFF) + lines
    colour_type = {1: 0, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(lines))
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


MEASURES: dict[str, Callable[[], Columns]] = {"extract": extract_columns, "text": text_columns, "fetch": fetch_columns}


def account(stage: str) -> dict[str, Any]:
    """What golden.json keeps of a stage: its measure_version, and a digest of each column it measures here."""
    columns = {name: digest(values) for name, values in MEASURES[stage]().items()}
    return {"measure_version": BY_NAME[stage].measure_version, "columns": columns}


def digest(values: Sequence[Any]) -> str:
    """Of values as JSON, floats to nine digits: their last bits are the processor's own."""
    rounded = [float(f"{value:.9g}") if isinstance(value, float) else value for value in values]
    return hashlib.sha256(json.dumps(rounded, default=bytes.hex).encode()).hexdigest()[:16]


@pytest.mark.parametrize("stage", MEASURES)
def test_measured_values_change_only_with_the_measure_version(stage: str) -> None:
    then, now = json.loads(GOLDEN.read_text())[stage], account(stage)
    names = then["columns"].keys() | now["columns"].keys()
    changed = sorted(name for name in names if then["columns"].get(name) != now["columns"].get(name))
    rewrite = "run python tests/core/test_golden.py"
    assert not changed, (
        f"measured values changed: raise measure_version of {stage} and {rewrite} ({', '.join(changed)})"
    )
    assert then["measure_version"] == now["measure_version"], f"golden.json is of another measure_version: {rewrite}"


def test_the_golden_phashes_do_not_hang_on_the_jpeg_encoder() -> None:
    """Far coarser JPEGs than any two builds could differ by leave every bit as it is."""
    for data in pictures():
        hashes = {measure_image(data, ImageSettings(quality=quality)).columns["phash"] for quality in (80, 90, 95, 100)}
        assert len(hashes) == 1


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({stage: account(stage) for stage in MEASURES}, indent=1, sort_keys=True) + "\n")
