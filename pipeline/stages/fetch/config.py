"""Settings of stage fetch: how hosts are requested, what is stored of an image, and which images are handed on."""

from __future__ import annotations

from typing import Literal

from pipeline.core.config import Decide, Field, InputContent, Measure, Operate, StageConfig
from pipeline.vision.settings import ResizeMode

MEBIBYTE = 1 << 20


class Config(StageConfig):
    """The section ``fetch`` of the config."""

    engine: Measure[Literal["native", "img2dataset", "shards"]] = Field(
        "native",
        description="what makes the stored image; img2dataset: its resizer, for its exact pixels, on our lanes; "
        "shards: nothing is requested, tars of images are read in place (docs/tars.md), and no image is resized",
    )
    image_size: Measure[int] = Field(
        512,
        ge=16,
        le=4096,
        description="side of the stored image, pixels (LAION: 256; 512 spares a second fetch to train at 336)",
    )
    resize_mode: Measure[ResizeMode] = Field(
        "keep_ratio_largest",
        description="img2dataset's resize mode; keep_ratio_largest: the longer side becomes image_size",
    )
    enlarge: Measure[bool] = Field(
        False, description="whether smaller images are enlarged to image_size, as img2dataset does by default"
    )
    jpeg_quality: Measure[int] = Field(
        95,
        ge=1,
        le=100,
        description="JPEG quality of an image encoded again (img2dataset: 95); a small JPEG is stored as served",
    )
    max_bytes: Measure[int] = Field(
        20 * MEBIBYTE,
        ge=1024,
        description="longest body, bytes, as received and as decoded (docs/faults.md, F3, F4, F8)",
    )
    max_pixels: Measure[int] = Field(
        50_000_000,
        ge=1,
        description="largest image decoded, width times height as served, pixels (docs/faults.md, F28)",
    )
    max_side: Measure[int] = Field(
        16_384, ge=1, description="longest side decoded, as served, pixels (docs/faults.md, F28)"
    )
    avif: Measure[bool] = Field(False, description="whether AVIF is decoded, besides JPEG, PNG, WebP and GIF")

    min_side: Decide[int] = Field(64, ge=0, description="shortest side kept, as served, pixels (docs/faults.md, F39)")
    max_aspect: Decide[float] = Field(
        5.0, ge=1, description="largest ratio of longer to shorter side kept (docs/faults.md, F39)"
    )
    min_spread: Decide[float] = Field(
        2.0,
        ge=0,
        le=255,
        description="smallest standard deviation kept, of the most varied channel, levels of 255 (docs/faults.md, F38)",
    )
    min_entropy: Decide[float] = Field(
        0.5,
        ge=0,
        le=8,
        description="smallest entropy of grey levels kept, bits (ours: 3,619 photographs have 3.9 or more)",
    )

    blocked_sha256: InputContent[list[str]] = Field(
        [], description="files of sha256 hashes, in hex, one per line: images with these bytes are never stored"
    )
    blocked_md5: InputContent[list[str]] = Field([], description="the same for md5 hashes")
    blocked_pdq: InputContent[list[str]] = Field([], description="the same for PDQ hashes: images that look alike")
    pdq_bits: InputContent[int] = Field(
        31, ge=0, le=127, description="bits in which PDQ hashes of one image may differ"
    )
    blocklist_key: InputContent[str] = Field(
        "", description="file of at least 16 random bytes: the key of what the ledger keeps of a blocklisted image"
    )

    timeout_s: Operate[float] = Field(
        30.0,
        gt=0,
        le=3600,
        description="deadline of one request, look-up to last byte over all hops, seconds (docs/faults.md, F1, F2)",
    )
    per_host: Operate[int] = Field(4, ge=1, le=64, description="connections to one image host")
    rate_per_host: Operate[float] = Field(10.0, ge=0, description="requests per second to one image host; 0: no limit")
    delay_s: Operate[float] = Field(
        0.0, ge=0, le=86400, description="pause between two requests to one image host, seconds"
    )
    max_hours: Operate[float] = Field(
        0.0, ge=0, description="hours after which requests stop; --retry-failed requests the rest; 0: no limit"
    )
    tail_s: Operate[float] = Field(
        0.0,
        ge=0,
        le=86400,
        description="longest wait for silent hosts after all others, seconds; 0: 20, or 10% of the time so far",
    )
    lanes: Operate[int] = Field(
        0,
        ge=0,
        description="tasks over which hosts are spread; 0: as many as run at one time (Spark's default parallelism)",
    )
    part_images: Operate[int] = Field(10_000, ge=1, le=1_000_000, description="images after which a part is closed")
    part_seconds: Operate[float] = Field(
        60.0, gt=0, le=3600, description="age at which a part is closed at the latest, seconds"
    )

    @property
    def reads_shards(self) -> bool:
        """Whether images are read from the tars that extract read, without any request."""
        return self.engine == "shards"
