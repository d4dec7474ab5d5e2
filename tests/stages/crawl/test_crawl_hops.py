"""What is said on the way to a page binds what is taken from it, whenever it is said."""

from __future__ import annotations

import pytest

from pipeline import funnel
from pipeline.audit.proof import check
from pipeline.core.progress import Reporter
from pipeline.core.run import Run

SITE = "http://site.example"
IMAGE = b'<img src="/fox.jpg" alt="A red fox in the snow">'


@pytest.fixture
def build(small_web, spark, tmp_path):
    """``build(folder, ...)``: crawl, extract and text, by a user's way in."""

    def run(folder: str, retry_failed: bool = False) -> Run:
        sections = {"crawl": {"seeds": [f"{SITE}/"], "delay_s": 0.0, "timeout_s": 5.0, "lanes": 1}}
        config = funnel.Config.model_validate(sections | {"web": small_web.config(tries=1).model_dump(mode="json")})
        opened = funnel.open_run(str(tmp_path / folder), config, Reporter(quiet=True), retry_failed)
        funnel.build(opened, until="text")
        return opened

    return run


def test_an_optout_on_a_hop_that_answers_late_binds_the_pairs_of_its_target_o5(small_web, page, response, build):
    """O5: /hop is down, then redirects to a page that was crawled before; no key of a kept page changes by that."""
    article = page().replace(b"</body>", IMAGE + b"</body>")
    small_web.pages |= {
        f"{SITE}/": response(page("/article", "/hop")),
        f"{SITE}/article": response(article),
        f"{SITE}/hop": response(b"", "503 Service Unavailable"),
    }
    assert build("run").manifest("text").keeps.rows == 1
    small_web.pages[f"{SITE}/hop"] = response(b"", "302 Found", Location=f"{SITE}/article", X_Robots_Tag="noai")
    again, fresh = build("run", retry_failed=True), build("fresh")
    assert again.manifest("text").dropped == fresh.manifest("text").dropped == {"optout_xrobots": 1}
    assert again.manifest("text").keeps == fresh.manifest("text").keeps
    assert check(again) == []
