"""Settings of stage crawl: where it starts, how far it goes, how fast it requests.

Settings that limit the pages (scope, depth, budgets, caps) are Measure; those of the requests are Operate.
"""

from __future__ import annotations

from pydantic import field_validator

from pipeline.core.config import Field, Measure, Operate, StageConfig
from pipeline.web.urls import UrlError, redact, split

MIB = 1 << 20


class Config(StageConfig):
    """The section ``crawl`` of the config. Without seeds the stage is off."""

    seeds: Measure[list[str]] = Field([], description="URLs to start from; their hosts are in scope")
    allow_hosts: Measure[list[str]] = Field([], description="host names in scope besides those of the seeds")
    max_depth: Measure[int] = Field(10, ge=0, le=1000, description="most links followed from a seed (0: seeds only)")
    max_pages_per_host: Measure[int] = Field(1000, ge=1, description="most URLs of one host, over all rounds")
    max_url_bytes: Measure[int] = Field(2048, ge=16, le=4096, description="longest URL that is requested, bytes")
    max_segment_repeats: Measure[int] = Field(
        3, ge=1, description="how often one segment may occur in a path, times (a/b/a/b/... appends to itself)"
    )
    max_page_bytes: Measure[int] = Field(
        10 * MIB, ge=1024, description="largest page, bytes: as received and, separately, decoded"
    )

    delay_s: Operate[float] = Field(1.0, ge=0, le=60, description="least time between requests to one host, seconds")
    timeout_s: Operate[float] = Field(
        60.0, gt=0, le=3600, description="deadline of one page from look-up to last byte, redirects included, seconds"
    )
    tail_s: Operate[float] = Field(
        0.0,
        ge=0,
        le=86400,
        description="longest wait for silent hosts after all others, seconds; 0: 20, or 10% of the time so far",
    )
    lanes: Operate[int] = Field(0, ge=0, description="tasks that crawl at a time, each some hosts; 0: one per core")
    part_pages: Operate[int] = Field(1000, ge=1, description="pages of a lane after which they are committed")
    part_seconds: Operate[float] = Field(60.0, gt=0, description="time after which they are committed anyway, seconds")
    warc_max_bytes: Operate[int] = Field(1024 * MIB, ge=1024, description="size at which a WARC file is closed, bytes")

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: list[str]) -> list[str]:
        for seed in seeds:
            _host(seed)
        return seeds

    @field_validator("allow_hosts")
    @classmethod
    def _allow_hosts(cls, names: list[str]) -> list[str]:
        for name in names:
            if _host(f"http://{name}/") != name.lower():
                raise ValueError(f"{name!r} is not a host name; write it in ASCII, without port or path")
        return names

    def scope(self) -> frozenset[str]:
        """Host names that may be requested, in lower-case ASCII."""
        return frozenset([split(seed).host for seed in self.seeds] + [name.lower() for name in self.allow_hosts])


def _host(url: str) -> str:
    try:
        return split(url).host
    except UrlError as error:
        raise ValueError(f"{redact(url)!r} cannot be requested: {error}") from None
