"""`pairmill demo` and what lies in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.demo.run import require_site, run_demo
from pipeline.demo.site import SiteSpec

TINY = SiteSpec(scenes=5, concepts=10, defects_each=1, slow=1, rate_limited=1, images_per_page=4)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("stranger", ["thesis.txt", "demo/thesis.txt", "demo/site/thesis.txt"])
def test_a_folder_of_other_things_is_left_as_it_was(tmp_path: Path, quiet: Reporter, stranger: str) -> None:
    (tmp_path / stranger).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stranger).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(InputError, match="output_exists"):
        run_demo(str(tmp_path), [], scenes=5, seed=0, reporter=quiet, console=Console(quiet=True))
    assert names(tmp_path) == before
    assert (tmp_path / stranger).read_text() == "mine"


def test_a_site_is_built_once_and_belongs_to_its_spec(tmp_path: Path, quiet: Reporter) -> None:
    site = require_site(tmp_path / "demo", TINY, quiet)
    built_at = (site / "truth.jsonl").stat().st_mtime_ns
    assert require_site(tmp_path / "demo", TINY, quiet) == site
    assert (site / "truth.jsonl").stat().st_mtime_ns == built_at
    with pytest.raises(InputError, match="site of other settings"):
        require_site(tmp_path / "demo", SiteSpec(scenes=6), quiet)


def test_a_demo_that_was_stopped_while_it_built_its_site_builds_it_again(tmp_path: Path, quiet: Reporter) -> None:
    half = tmp_path / "demo" / ".site.new" / "a.demo.test"
    half.mkdir(parents=True)
    (half / "index.html").write_text("<p>half")
    assert not (require_site(tmp_path / "demo", TINY, quiet) / "index.html").exists()
    assert names(tmp_path / "demo")[0] == "site"
