"""What a round leaves to a later run: counted in the lanes, told in one line by the driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from pipeline.core.progress import Reporter

DDL = "reason string, urls long, hosts long"


class LeftOver:
    """URLs that were not asked, or not asked again, because the round did not wait for their hosts; by reason."""

    def __init__(self) -> None:
        self.urls, self.hosts = Counter[str](), Counter[str]()
        self.slowed = ""  # what this machine ran out of

    def add(self, reason: str, urls: int, hosts: int = 1) -> None:
        """Count a host that is given up."""
        self.urls[reason] += urls
        self.hosts[reason] += hosts

    def batch(self) -> pa.RecordBatch:
        """The counts as rows of DDL; one without URLs says why the lane was slowed down."""
        rows = [{"reason": reason, "urls": urls, "hosts": self.hosts[reason]} for reason, urls in self.urls.items()]
        if self.slowed:
            rows.append({"reason": self.slowed, "urls": 0, "hosts": 0})
        return pa.RecordBatch.from_pylist(
            rows, pa.schema([("reason", pa.string()), ("urls", pa.int64()), ("hosts", pa.int64())])
        )


def tell(stage: str, found: Iterable[tuple[Any, ...]], reporter: Reporter) -> None:
    """Say what the lanes of a stage have left over, as rows of DDL; nothing if all was asked at full speed."""
    total = LeftOver()
    for reason, urls, hosts in found:
        if urls:
            total.add(reason, urls, hosts)
        else:
            total.slowed = reason
    if total.slowed:
        text = f"{stage}: asked fewer hosts at one time, because this machine has a limit: {total.slowed}"
        reporter.line(text, event="slowed", stage=stage)
    if not total.urls:
        return
    urls, hosts = total.urls.total(), total.hosts.total()
    why = ", ".join(f"{reason} {number:,}" for reason, number in total.urls.most_common())
    reporter.line(
        f"{stage}: {urls:,} URL{'s' * (urls != 1)} on {hosts:,} host{'s' * (hosts != 1)} not asked: {why}; "
        "the same command with --retry-failed asks again",
        event="not_asked",
        stage=stage,
        urls=dict(total.urls),
        hosts=hosts,
    )
