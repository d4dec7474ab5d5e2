"""The stage on a real loopback web, through Spark: rounds, scope, budgets, resume, and the books."""

import subprocess
from collections import Counter
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import InputError
from pipeline.core.parts import committed, files_of
from pipeline.core.storage import LocalStorage
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.frontier import crawl_rows, next_frontier
from pipeline.stages.crawl.links import LinkJudge
from pipeline.stages.crawl.reasons import Reason
from pipeline.stages.crawl.stage import Crawl
from pipeline.web.reasons import NetReason
from schemas.crawl import FRONTIER, LINKS, PAGES

SITE, TWIN, OTHER = "http://site.example", "http://twin.example", "http://other.example"


@pytest.fixture(scope="module")
def pages(page, response):
    """Two hosts in scope, linked both ways, one that is not; a folder that robots.txt forbids."""
    return {
        f"{SITE}/robots.txt": response(b"User-agent: *\nDisallow: /private/\n", Content_Type="text/plain"),
        f"{SITE}/": response(page("/a", "/b", "/private/x", f"{TWIN}/", f"{OTHER}/")),
        f"{SITE}/a": response(page("/", "/b", "/c")),
        f"{SITE}/b": response(page("/missing", "/a#part")),
        f"{SITE}/c": response(page("/")),
        f"{TWIN}/": response(page(f"{SITE}/a", "/only")),
        f"{TWIN}/only": response(page()),
        f"{OTHER}/": response(page()),
    }


@pytest.fixture
def site(small_web, pages):
    small_web.pages = dict(pages)
    return small_web


@pytest.fixture(scope="module")
def whole(pages, crawled_once):
    """The undisturbed crawl of both hosts, and the web that was asked."""
    return crawled_once(pages, seeds=[f"{SITE}/", f"{TWIN}/"])


def test_every_page_in_scope_is_asked_for_once(whole):
    result, web = whole
    kept = {f"{SITE}/", f"{SITE}/a", f"{SITE}/b", f"{SITE}/c", f"{TWIN}/", f"{TWIN}/only"}
    assert {url for url, outcome in result.outcomes.items() if outcome == "ok"} == kept
    assert web.asked() == dict.fromkeys([*kept, f"{SITE}/missing"], 1)


def test_robots_txt_is_asked_for_once_in_all_rounds(whole):
    """C11: three rounds, each with lanes of its own."""
    _, web = whole
    asked = Counter(request.host for request in web.requests if request.path == "/robots.txt")
    assert asked == {"site.example": 1, "twin.example": 1}


def test_the_books_add_up_to_the_spellings_met(whole):
    result, _ = whole
    manifest = result.manifest
    assert manifest.kept == manifest.keeps.rows == 6
    assert (
        manifest.rows_in == manifest.kept + sum(manifest.dropped.values()) == sum(row["count"] for row in result.rows)
    )
    assert manifest.dropped == {"duplicate_url": 1, "http_4xx": 1, "robots_disallow": 1}
    assert manifest.facts == {"rounds": 3, "requests": 7, "links_out_of_scope": 1}


def test_what_robots_txt_forbids_is_never_asked_for(whole):
    result, web = whole
    assert result.outcomes[f"{SITE}/private/x"] == "robots_disallow"
    assert f"{SITE}/private/x" not in web.asked()


def test_a_host_out_of_scope_is_never_asked(whole):
    """C19, C20: not for a page, not for robots.txt."""
    result, web = whole
    assert {request.host for request in web.requests} == {"site.example", "twin.example"}
    assert not any(url.startswith(OTHER) for url in result.outcomes)


def test_depth_is_the_number_of_links_from_a_seed_and_has_a_limit(site, crawl):
    """C26: what lies deeper is written down and not asked for."""
    result = crawl(seeds=[f"{SITE}/"], allow_hosts=["twin.example"], max_depth=1)
    depths = {row["page_url"]: row["depth"] for row in result.rows if row["outcome"] == "ok"}
    assert depths == {f"{SITE}/": 0, f"{SITE}/a": 1, f"{SITE}/b": 1, f"{TWIN}/": 1}
    assert result.outcomes[f"{SITE}/c"] == result.outcomes[f"{TWIN}/only"] == "trap_suspected"
    assert not {f"{SITE}/c", f"{TWIN}/only"} & set(site.asked())


def test_an_endless_calendar_is_bounded(small_web, page, response, crawl):
    """C26: links that append to themselves, and a counter that a budget ends."""

    def calendar(url):
        return response(page(url.removeprefix(SITE) + "/again", f"/day/{int(url.split('day/')[1].split('/')[0]) + 1}"))

    small_web.pages = {f"{SITE}/": response(page("/day/1")), f"{SITE}/day/*": calendar}
    result = crawl(seeds=[f"{SITE}/"], max_depth=30, max_pages_per_host=5, max_segment_repeats=1)
    assert sum(small_web.asked().values()) == 5
    assert {"ok", "trap_suspected", "host_budget"} == set(result.outcomes.values())


def test_a_host_budget_holds_over_all_rounds(site, crawl):
    """C26: the budget counts URLs asked for, whatever came of them."""
    result = crawl(seeds=[f"{SITE}/", f"{TWIN}/"], max_pages_per_host=3)
    assert sum(count for url, count in site.asked().items() if url.startswith(SITE)) <= 3
    assert "host_budget" in result.manifest.dropped
    assert result.outcomes[f"{TWIN}/only"] == "ok"


def test_other_spellings_of_a_page_are_counted_and_never_asked_for(small_web, page, response, crawl):
    """C27: one row for the page, one that counts its other names."""
    names = ("/a", "/a#part", "/./a", "http://SITE.example:80/a", "/%61", "/a#more")
    small_web.pages = {f"{SITE}/": response(page(*names)), f"{SITE}/%61": response(page(*names))}
    result = crawl(seeds=[f"{SITE}/"])
    assert sum(small_web.asked().values()) == 2
    (merged,) = [row for row in result.rows if row["outcome"] == "duplicate_url"]
    assert (merged["count"], merged["detail"]) == (4, f"the same page as {SITE}/%61")
    assert result.manifest.dropped == {"duplicate_url": 4}
    assert len({row["page_id"] for row in result.rows}) == 3


def test_requests_to_a_host_keep_their_distance(small_web, page, response, crawl):
    """C13: measured at the server, robots.txt included. A request that a busy machine delivers late shortens one gap and
    lengthens another, so what counts is how long each round of the crawl took."""
    for host in (SITE, TWIN):
        small_web.pages |= {f"{host}/": response(page(*"abc"))} | {f"{host}/{name}": response(page()) for name in "abc"}
    crawl(seeds=[f"{SITE}/", f"{TWIN}/"], delay_s=0.3)
    for host in ("site.example", "twin.example"):
        times = sorted(request.time for request in small_web.requests if request.host == host)
        ends = [place for place, (sooner, later) in enumerate(pairwise(times), 1) if later - sooner > 1.0]
        rounds = [times[begin:end] for begin, end in pairwise([0, *ends, len(times)])]
        assert len(times) >= 5
        for in_turn in rounds:
            assert in_turn[-1] - in_turn[0] >= 0.3 * (len(in_turn) - 1) - 0.2


def test_a_killed_crawl_asks_nothing_again(site, crawl, whole, tmp_path):
    """C29, R9: it goes on where its committed parts end, and the result is that of an undisturbed crawl."""
    undisturbed, _ = whole

    class DiesLater(LocalStorage):  # defined here, so that it travels to the workers by value
        def create(self, relative: str, data: bytes) -> bool:
            if len(self.names("crawl/parts")) >= 3:
                raise RuntimeError("killed")
            return super().create(relative, data)

    dying = DiesLater(str(tmp_path / "run"))
    with pytest.raises(Exception, match="killed"):
        crawl(seeds=[f"{SITE}/", f"{TWIN}/"], storage=dying, part_pages=1)
    before = committed(LocalStorage(dying.root), "crawl")
    answered = {pq.read_table(dying.path(file.path))["page_url"][0].as_py() for file in files_of(before, "rows")}
    assert 3 <= len(answered) <= 4  # two lanes may look at the same moment
    site.requests.clear()

    result = crawl(seeds=[f"{SITE}/", f"{TWIN}/"])
    assert result.outcomes == undisturbed.outcomes
    assert result.manifest.dropped == undisturbed.manifest.dropped
    assert not answered & set(site.asked())
    assert result.manifest.measured == len(result.outcomes) - len(answered)
    assert all(subprocess.run(["gzip", "-t", str(path)], check=False).returncode == 0 for path in result.warcs)
    on_disk = {f"crawl/warc/{name}" for name in result.run.storage.names("crawl/warc")}
    assert on_disk == {file.path for file in result.manifest.files["warc"]}


def test_a_finished_crawl_is_not_asked_again(site, crawl):
    """R14: an Operate setting changes nothing; a Measure setting starts a crawl of its own."""
    crawl(seeds=[f"{SITE}/"])
    site.requests.clear()
    again = crawl(seeds=[f"{SITE}/"], delay_s=0.01)
    assert (site.requests, again.manifest.measured) == ([], 0)
    assert crawl(seeds=[f"{SITE}/"], max_depth=0).manifest.kept == 1


def test_a_lost_warc_file_is_crawled_again(site, crawl):
    """R15."""
    first = crawl(seeds=[f"{SITE}/"], part_pages=1)
    gone = first.warcs[0]
    gone.unlink()
    site.requests.clear()
    second = crawl(seeds=[f"{SITE}/"], part_pages=1)
    assert second.outcomes == first.outcomes
    assert sum(site.asked().values()) == second.manifest.measured == 1


def test_retry_failed_asks_only_what_may_pass_and_follows_what_it_finds(small_web, page, response, crawl):
    """R23: final and kept rows are untouched; each page has one outcome, the newest."""
    small_web.pages = {
        f"{SITE}/": response(page("/sick", "/gone")),
        f"{SITE}/sick": response(page(), "500 Oops"),
        f"{SITE}/gone": response(page(), "410 Gone"),
    }
    assert crawl(seeds=[f"{SITE}/"]).manifest.dropped == {"http_4xx": 1, "http_5xx": 1}
    small_web.requests.clear()
    small_web.pages |= {f"{SITE}/sick": response(page("/behind")), f"{SITE}/behind": response(page())}
    assert crawl(seeds=[f"{SITE}/"]).manifest.dropped == {"http_4xx": 1, "http_5xx": 1}
    assert not small_web.requests
    result = crawl(seeds=[f"{SITE}/"], retry_failed=True)
    assert set(small_web.asked()) == {f"{SITE}/sick", f"{SITE}/behind"}
    assert result.manifest.dropped == {"http_4xx": 1}
    assert result.manifest.kept == 3


def test_a_crawl_without_a_contact_does_not_start(small_web, crawl):
    """C31."""
    for contact in ("", "Mozilla/5.0 (http://contact.example)"):
        with pytest.raises(InputError, match=r"config_invalid: web\.contact"):
            crawl(seeds=[f"{SITE}/"], web={"contact": contact})
    assert not small_web.requests


def test_a_crawl_without_seeds_is_off(small_web, crawl):
    result = crawl()
    assert (result.manifest.off, result.manifest.rows_in, result.rows) == (True, 0, [])
    assert not small_web.requests


def test_an_address_that_is_not_public_is_refused(small_web, crawl):
    """C20: also where a seed names it."""
    result = crawl(seeds=["http://127.0.0.1/", f"{SITE}/"], web={"resolve": {}, "allow_networks": [], "tries": 1})
    assert result.outcomes["http://127.0.0.1/"] == "address_blocked"
    assert not small_web.requests


def test_the_reasons_are_the_networks_and_the_crawls_own():
    codes = {reason.value for reason in Reason}
    assert {"trap_suspected", "duplicate_url", "out_of_scope", "host_budget"} <= codes
    assert codes >= {reason.value for reason in NetReason if not reason.startswith("optout_")}
    assert {"http_5xx", "robots_unreachable", "host_budget"} <= set(Crawl.retryable)
    assert not {"robots_disallow", "trap_suspected", "http_4xx"} & set(Crawl.retryable)
    assert [rule.reason for rule in Crawl().rules(Config())] == list(Reason)


def test_a_frontier_depends_on_no_order_of_its_links(spark):
    """The same links in other partitions give the same URLs, the same ones over the budget."""
    from pipeline.core.tables import spark_schema

    config = Config(seeds=[f"{SITE}/"], max_pages_per_host=5)
    finder = LinkJudge(config)
    links = [finder.judge(f"{SITE}/", f"/{number % 9}{tail}") for number in range(30) for tail in ("", "#x")]
    rows = [(link.page_id, link.page_url, link.url, link.host, 1, link.outcome, link.detail) for link in links]
    nothing = spark.createDataFrame([], spark_schema(FRONTIER))
    found = [
        sorted(
            next_frontier(spark.createDataFrame(some, spark_schema(LINKS)).repartition(n), nothing, 1, config).collect()
        )
        for some, n in ((rows, 1), (rows[::-1], 7))
    ]
    assert found[0] == found[1]
    assert sum(row["outcome"] is None for row in found[0]) == 5
    assert len(found[0]) == 9


def test_of_the_pages_that_lead_to_one_page_one_is_taken_and_what_was_not_taken_is_left_as_it_is(spark):
    """C27: the page itself where it is among them, else the smallest key; failures have no target to share."""
    from pipeline.core.tables import spark_schema

    def table(schema, rows):
        return spark.createDataFrame(
            [tuple(row.get(name) for name in schema.names) for row in rows], spark_schema(schema)
        )

    leads_to = {"a": "m", "m": "m", "b": "gone", "c": "gone", "e": None, "f": None}
    frontier = [
        {"page_id": page, "page_url": f"{SITE}/{page}", "host": "site.example", "depth": 0} for page in [*leads_to, "g"]
    ]
    answers = [
        {
            "page_id": page,
            "page_url": f"{SITE}/{page}",
            "outcome": "ok" if target else "http_4xx",
            "try_number": 1,
            "final_page_id": target,
            "final_url": f"{SITE}/{target}",
        }
        for page, target in leads_to.items()
    ]
    frontier[-1]["outcome"] = "trap_suspected"
    rows = crawl_rows(table(FRONTIER, frontier), table(PAGES, answers), table(LINKS, [])).collect()
    assert {row["page_id"]: row["outcome"] for row in rows} == {
        "a": "duplicate_url",
        "m": "ok",
        "b": "ok",
        "c": "duplicate_url",
        "e": "http_4xx",
        "f": "http_4xx",
        "g": "trap_suspected",
    }
