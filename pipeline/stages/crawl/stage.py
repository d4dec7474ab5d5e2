"""crawl: the pages of some sites, as WARC files.

Reads   `crawl.seeds`; without seeds the stage is off
Adds    every column of schemas/crawl.py: one row per page URL that entered the frontier, requested or not
Files   warc/ (role "warc"): one response record per good page, found by (warc_file, warc_offset, warc_length)

Rounds: round r requests the pages r links away from a seed. Each is a plan (which URLs are new, in scope, within
budget) and a job of lanes, each host in one lane. Frontier and links are tables on disk; the driver knows only
the number of the round. A killed crawl resumes after its last committed parts.

A page is one row, whatever the spelling of its URL. URLs are normalised before the frontier. The other spellings that
met (``/./a``, ``:80``, ``#part``) make one more row per page, `duplicate_url`, which counts them. So counts add up to
the spellings seen. A page reached by redirect keeps the URL that was requested. Of those that lead to one target one is
kept; the others are `duplicate_url` too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.context import Context, LooksAt
from pipeline.core.parts import Part, committed, files_of, swept
from pipeline.core.rules import Rule, outcome_rules
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import FileRecord, Storage
from pipeline.core.tables import read_table, write_file, write_table
from pipeline.stages import robots_files
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.frontier import crawl_rows, next_frontier, to_ask
from pipeline.stages.crawl.links import LinkJudge
from pipeline.stages.crawl.page_lane import FOLDERS, FRONTIER_FOLDER, STAGE, PageLane
from pipeline.stages.crawl.reasons import RETRYABLE, Reason
from pipeline.web.config import longest_pause_s, require_contact
from pipeline.web.left_over import DDL, tell
from schemas.crawl import ADDS, FRONTIER, LINKS, PAGES

ADDED_UP = (
    "requests",
    "links_out_of_scope",
    "links_nofollow",
    "links_over_limit",
    "pages_links_lost",
)  # facts of the parts


class Crawl(Stage[Config]):
    """Resumable by part. What was answered under the same Measure settings is never requested again."""

    name = STAGE
    unit, key = "page", "page_id"
    keeps = ("page", "page_id")
    fans_out = True
    retryable = RETRYABLE
    measure_version = 2  # 2: keys of URLs without tracking parameters
    Reason, adds = Reason, ADDS

    def is_off(self, config: Config) -> bool:
        """There are no seeds."""
        return not config.seeds

    def looks_at(self, config: Config) -> LooksAt:
        """How the web is used."""
        return LooksAt(settings=("web",))

    def check(self, context: Context[Config]) -> None:
        """Without a contact there is no crawl (C31)."""
        require_contact(context.setting("web"))

    def measure(self, context: Context[Config]) -> Measured:
        """Crawl round by round until one finds nothing new."""
        stored = swept(context.storage, STAGE, FOLDERS)
        before = {part.name for part in stored}
        rounds = _Rounds(context, stored)
        rounds.run_all()
        totals = Counter[str]()
        for part in rounds.parts:
            totals.update({name: number for name, number in part.stats.items() if name in ADDED_UP})
        return Measured(
            rounds.rows(),
            measured=sum(part.stats["rows"] for part in rounds.parts if part.name not in before),
            files={"warc": files_of(rounds.parts, "warc"), "frontier": rounds.frontiers},
            facts={"rounds": rounds.deepest + 1, **totals},
        )

    def rules(self, config: Config) -> list[Rule]:
        """A page that was not taken has its reason as outcome."""
        return outcome_rules(Reason)


class _Rounds:
    """One crawl under one measure key: the frontiers derived so far, and the parts on disk."""

    def __init__(self, context: Context[Config], stored: list[Part]) -> None:
        self._context, self._config = context, context.config
        self._known = {part.name for part in stored}  # of other settings too
        self.parts = [part for part in stored if part.measure_key == context.measure_key]
        self._seeds = _write_seeds(context.storage, context.config)
        self._frontiers: list[FileRecord] = []

    @property
    def frontiers(self) -> list[FileRecord]:
        """The tables derived on the way."""
        return [self._seeds, *self._frontiers]

    @property
    def deepest(self) -> int:
        """The last round that has answers; -1 if none has."""
        return max((part.stats["round"] for part in self.parts), default=-1)

    def run_all(self) -> None:
        """Stop after a round that finds nothing new, unless later rounds already have answers: those run as well."""
        depth = 0
        while depth <= self.deepest + 1:
            new = self._write_frontier(depth)
            if depth <= self._config.max_depth and any(record.rows for record in new):  # beyond it all are rejected
                self._ask(new, depth)
            depth += 1

    def rows(self) -> DataFrame:
        """The rows of the stage."""
        self._plan()
        links = [self._seeds, *files_of(self.parts, "links")]
        return crawl_rows(self._table(self._frontiers, FRONTIER), self._answers(), self._table(links, LINKS))

    def _plan(self) -> None:
        """For the rows of all tables so far."""
        tables = [*self.frontiers, *files_of(self.parts, "links"), *files_of(self.parts, "rows")]
        self._context.plan_for(sum(file.rows for file in tables))

    def _write_frontier(self, depth: int) -> list[FileRecord]:
        self._plan()
        found = files_of((part for part in self.parts if part.stats["round"] == depth - 1), "links")
        links = self._table(found if depth else [self._seeds], LINKS)
        frontier = next_frontier(links, self._table(self._frontiers, FRONTIER), depth, self._config)
        written = write_table(frontier, self._context.storage, FRONTIER_FOLDER, FRONTIER)
        self._frontiers += written
        return written

    def _ask(self, frontier: list[FileRecord], depth: int) -> None:
        context, config = self._context, self._config
        urls = to_ask(self._table(frontier, FRONTIER), self._answers(), context.retry_failed)
        lanes = config.lanes or context.spark.sparkContext.defaultParallelism
        web = context.setting("web")
        lane = PageLane(context.storage, config, web, context.measure_key, depth, frozenset(self._known))
        urls = urls.withColumn("origin", F.regexp_extract("page_url", "^[^/]*//[^/?#]*", 0))
        robots = robots_files.usable(context.spark, context.storage, web.robots_max_age_s)
        if robots is not None:  # a clean URL does not name the standard port
            plain = F.regexp_replace("origin", "^(http:.*):80$|^(https:.*):443$", "$1$2")
            urls = urls.unionByName(robots.withColumn("origin", plain), allowMissingColumns=True)
        hosts_together = urls.repartition(lanes, "host").sortWithinPartitions("origin", "page_id")
        with context.lanes_at_work(longest_pause_s(lanes * config.delay_s, config.timeout_s, web)):
            found = hosts_together.mapInArrow(lane, DDL).collect()  # a few rows per lane
        tell(STAGE, found, context.reporter)
        committed_now = committed(context.storage, STAGE, skip=self._known)
        self._known |= {part.name for part in committed_now}
        self.parts += committed_now

    def _answers(self) -> DataFrame:
        return self._table(files_of(self.parts, "rows"), PAGES)

    def _table(self, files: list[FileRecord], schema: pa.Schema) -> DataFrame:
        return read_table(self._context.spark, self._context.storage, files, schema)


def _write_seeds(storage: Storage, config: Config) -> FileRecord:
    """The seeds as links without a page."""
    finder = LinkJudge(config)
    seeds = [asdict(link) | {"depth": 0} for link in (finder.judge(seed, seed) for seed in config.seeds)]
    return write_file(storage, FRONTIER_FOLDER, LINKS, [pa.Table.from_pylist(seeds, schema=LINKS)])


__all__ = ["Config", "Crawl", "Reason"]
