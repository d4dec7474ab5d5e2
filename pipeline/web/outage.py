"""Whether it is us, not them: so many hosts cannot be connected to that the fault must be on our side (R18).

Judged by the first contact with each host, robots.txt, over the first hosts of a lane. Nothing is written off then:
the stage ends, and the same command asks again.
"""

from __future__ import annotations

from pipeline.core.errors import ErrorCode, StageError
from pipeline.web.client import Answer
from pipeline.web.reasons import NetReason

LEAST_HOSTS, MOST_HOSTS = 200, 10_000
UNREACHED = frozenset({NetReason.DNS_FAILED, NetReason.CONNECT_FAILED})


class Outage:
    """Counts first contacts. ``most``: the share of hosts without a connection that is still theirs, 0 to 1."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._hosts = self._unreached = 0

    def count(self, answer: Answer) -> None:
        """Count the first answer of a host. Raises StageError `network_down`."""
        if self._hosts >= MOST_HOSTS:
            return
        self._hosts += 1
        self._unreached += answer.reason in UNREACHED
        if self._hosts >= LEAST_HOSTS and self._unreached > self._most * self._hosts:
            raise StageError(
                ErrorCode.NETWORK_DOWN,
                f"no connection to {self._unreached:,} of the first {self._hosts:,} hosts, the last one: "
                f"{answer.reason} {answer.detail}; if the hosts are really gone, raise web.unreachable_share_max "
                f"(now {self._most:g})",
            )
