"""A small web on loopback, and builds from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline import funnel
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.run import Run
from pipeline.core.settings import load_config
from pipeline.demo.server import serving
from pipeline.demo.site import SiteSpec, build_site, seed_urls

SPEC = SiteSpec(seed=7, scenes=70, concepts=60, defects_each=5, slow=2, rate_limited=1, page_hosts=3, images_per_page=6)


@dataclass(frozen=True)
class SmallWeb:
    """The served site, and the way to ask what was asked of it."""

    site: Path
    log: Path
    resolve: dict[str, str]
    seeds: list[str] = field(default_factory=list)

    def requests(self) -> list[tuple[str, str]]:
        """(host, path) of every request so far, robots.txt left out."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(line["host"], line["path"]) for line in lines if line["path"] != "/robots.txt"]

    def settings(self) -> dict[str, Any]:
        """What a run on this web needs."""
        few = {"dedup.placeholder_images": 4, "dedup.placeholder_captions": 4}  # five are planted
        return {"web.resolve": self.resolve, "crawl.seeds": self.seeds} | few


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWeb]:
    folder = tmp_path_factory.mktemp("web")
    site = build_site(SPEC, folder / "site").folder
    with serving(site, folder / "server.log") as resolve:
        yield SmallWeb(site, folder / "server.log", resolve, seed_urls(site))


Build = Callable[..., tuple[Run, dict[str, Manifest]]]


@pytest.fixture(scope="session")
def build(small_web: SmallWeb, spark: object) -> Build:
    """build(folder, {"text.min_chars": 8}) brings a run on the small web up to date inside this process."""

    def build_run(
        folder: Path, settings: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Run, dict[str, Manifest]]:
        given = small_web.settings() | (settings or {})
        sets = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        config = load_config(funnel.Config, preset="demo", sets=sets)
        run = funnel.open_run(str(folder), config, Reporter(quiet=True), options.pop("retry_failed", False))
        return run, {manifest.stage: manifest for manifest in funnel.build(run, **options)}

    return build_run


def corpus_digests(folder: Path) -> list[str]:
    """sha256 of every shard file, in order."""
    shards = json.loads((folder / "corpus/manifest.json").read_text())["shards"]
    return [file["sha256"] for shard in shards for _, file in sorted(shard["files"].items())]


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], list[str]]:
    return corpus_digests
