"""robots.txt by RFC 9309, strict where the RFC leaves a choice: what cannot be read allows nothing.

    2xx            its rules, used at most ``web.robots_max_age_s``
    4xx but 429    no rules (RFC 9309, 2.3.1.3)
    else           unreachable: asked again after each of ``web.robots_waits_s``, then refused for this run

An origin that can never be reached (no such name, blocked address, bad certificate, port) is refused at once under
that reason: none of its URLs could be fetched either. protego matches the patterns; what it does otherwise than
the RFC is put right in ``parse``: it matches names by prefix (``pair`` would bind us) and knows no ``pairmill/1.0``.
It keeps Google's extension that an allowed ``/index.html`` allows ``/``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from protego import Protego

from pipeline.web.client import Answer, Client, Want
from pipeline.web.config import PRODUCT_TOKEN
from pipeline.web.outage import Outage
from pipeline.web.reasons import NetFault, NetReason, WebReason
from pipeline.web.urls import origin

MAX_BYTES = 512_000  # 500 KiB, the least that RFC 9309 (2.5) asks a crawler to read
SHORTEST_LINE = len("Allow:")  # nothing shorter says anything; a file of 100,000 empty lines costs nothing
MAX_SITES = 10_000  # that are remembered at one time
MAX_KEPT_BYTES = 32 << 20  # fetched since they were drained; beyond, they are not kept for others

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LINE_END = re.compile(r"\r\n|\r|\n")
_USER_AGENT = re.compile(r"\s*user[- ]?agent\s*:?\s*([^#]*)", re.IGNORECASE)
_TOKEN = re.compile(r"[a-z_\-]+", re.IGNORECASE)
_OF_THE_ORIGIN = frozenset(
    {NetReason.DNS_NOT_FOUND, NetReason.ADDRESS_BLOCKED, NetReason.TLS_FAILED, NetReason.PORT_NOT_ALLOWED}
)

Turn = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt says to us."""

    parser: Protego
    fetched_at: str = ""  # UTC, ISO 8601

    def allows(self, url: str) -> bool:
        """Whether a clean URL may be asked for: the longest match decides, Allow wins a tie."""
        return bool(self.parser.can_fetch(url, PRODUCT_TOKEN))

    @property
    def crawl_delay_s(self) -> float:
        """Seconds between request starts that the site asks for; 0 where it asks for none."""
        return self.parser.crawl_delay(PRODUCT_TOKEN) or 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What robots.txt says of one URL. ``reason`` None: go on, ``crawl_delay_s`` apart.

    With ``retry_in_s`` the verdict is not the last word: the host is to be parked for so long.
    """

    reason: WebReason | None = None
    detail: str = ""
    crawl_delay_s: float = 0.0
    fetched_at: str = ""
    retry_in_s: float | None = None
    asked_at: float = 0.0  # when robots.txt was last asked for, on the event loop's clock


def parse(body: bytes, fetched_at: str = "") -> Rules:
    """Rules of a robots.txt, whatever its bytes are: lines that parse count, the rest is skipped."""
    if len(body) >= MAX_BYTES:
        body = body[: max(body.rfind(b"\n", 0, MAX_BYTES), body.rfind(b"\r", 0, MAX_BYTES), 0)]
    for mark in _BOMS:
        body = body.removeprefix(mark)
    text = body.replace(b"\0", b"").decode("utf-8", "replace")  # without its NULs UTF-16 is readable where it matters
    lines = [_readable(line) for line in _LINE_END.split(text) if len(line) >= SHORTEST_LINE]
    return Rules(Protego.parse("\n".join(lines)), fetched_at)


def _readable(line: str) -> str:
    """A user-agent line reduced to the product token that it names, other lines as they are."""
    named = _USER_AGENT.match(line)
    if not named:
        return line
    if named[1].startswith("*"):
        return "User-agent: *"
    token = _TOKEN.match(named[1])
    ours = token is not None and token[0].lower() == PRODUCT_TOKEN
    return f"User-agent: {PRODUCT_TOKEN if ours else 'another'}"


@dataclass(slots=True)
class _Site:
    """robots.txt of one origin: known until ``expires_at``, not asked before ``ask_at`` (event loop's clock)."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    rules: Rules | None = None
    refused: tuple[WebReason, str] | None = None
    trouble: str = ""  # why it could not be read
    expires_at: float = 0.0
    ask_at: float = 0.0
    failures: int = 0
    is_counted: bool = False  # as a host that was met
    asked_at: float = 0.0


class Robots:
    """robots.txt of every origin a lane meets; each is asked once at a time and cached. Used in one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._web = client.web
        self._sites: dict[str, _Site] = {}
        self._settled: dict[str, None] = {}
        self._outage = Outage(self._web.unreachable_share_max)
        self._fetched: list[dict[str, Any]] = []
        self._fetched_bytes = 0
        head_s = self._web.robots_silence_s
        self._want = Want("text/plain, */*;q=0.1", self._web.robots_timeout_s, MAX_BYTES, head_s, cut_body=True)

    async def verdict(self, url: str, turn: Turn | None = None) -> Verdict:
        """What robots.txt says of a clean URL; asks for it first where it is not known, after ``turn``.

        Raises StageError `network_down` if most hosts cannot be connected to.
        """
        name = origin(url)
        site = self._sites.setdefault(name, _Site())
        loop = asyncio.get_running_loop()
        async with site.lock:
            if loop.time() >= max(site.expires_at, site.ask_at):
                if turn is not None:
                    await turn()
                answer = await self._client.get(f"{name}/robots.txt", self._want)
                if not site.is_counted and answer.reason is not NetReason.LOCAL_LIMIT:
                    site.is_counted = True
                    self._outage.count(answer)
                self._learn(site, answer)
                self._keep(name, site, answer)
                self._forget_oldest(name)
        return self._judge(site, url, loop.time())

    def expect_nothing(self, name: str) -> None:
        """An earlier run has failed at this origin: that it cannot be connected to says nothing of the network."""
        self._sites.setdefault(name, _Site()).is_counted = True

    def remember(self, name: str, body: bytes, fetched_at: str) -> None:
        """Use the robots.txt of an origin that was fetched a short time ago (UTC, ISO 8601), as long as it is valid."""
        site = self._sites.setdefault(name, _Site())
        age_s = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(fetched_at)).total_seconds())
        if site.rules is None and age_s < self._web.robots_max_age_s:
            site.rules = parse(body, fetched_at)
            site.expires_at = asyncio.get_running_loop().time() + self._web.robots_max_age_s - age_s
            self._forget_oldest(name)

    def drained(self) -> list[dict[str, Any]]:
        """Those fetched since the last call, as rows of schemas/robots.py."""
        fetched, self._fetched, self._fetched_bytes = self._fetched, [], 0
        return fetched

    def _keep(self, name: str, site: _Site, answer: Answer) -> None:
        if site.rules is not None and site.rules.fetched_at == answer.fetched_at:
            body = answer.body if answer.reason is None else b""
            if self._fetched_bytes + len(body) <= MAX_KEPT_BYTES:
                self._fetched_bytes += len(body)
                self._fetched.append({"origin": name, "robots_fetched_at": answer.fetched_at, "robots": body})

    def _learn(self, site: _Site, answer: Answer) -> None:
        if answer.reason is NetReason.LOCAL_LIMIT:
            raise NetFault(answer.reason, answer.detail)
        now = asyncio.get_running_loop().time()
        site.asked_at = answer.asked_at
        site.rules = _rules_of(answer)
        if site.rules is not None:
            site.failures, site.expires_at = 0, now + self._web.robots_max_age_s
            return
        site.trouble = f"robots.txt: {answer.reason}" + (f": {answer.detail}" if answer.detail else "")
        waits = self._web.robots_waits_s
        if answer.reason in _OF_THE_ORIGIN and not answer.hops:
            site.refused, site.expires_at = (answer.reason, answer.detail), float("inf")
        elif site.failures < len(waits):
            wait_s = max(waits[site.failures], answer.retry_after_s or 0.0)
            site.ask_at = now + min(wait_s, self._web.robots_wait_max_s)
            site.failures += 1
        else:
            site.refused, site.expires_at = (NetReason.ROBOTS_UNREACHABLE, site.trouble), float("inf")

    def _forget_oldest(self, name: str) -> None:
        """Bound what is kept of sites that are settled: with rules, or refused. The others are bounded by the lane."""
        if self._sites[name].rules is not None or self._sites[name].refused:
            self._settled[name] = None
        if len(self._settled) > MAX_SITES:
            oldest = next(iter(self._settled))
            del self._settled[oldest], self._sites[oldest]

    def _judge(self, site: _Site, url: str, now: float) -> Verdict:
        if site.refused:
            return Verdict(*site.refused, asked_at=site.asked_at)
        if site.rules is None:
            left_s = max(site.ask_at - now, 0.0)
            return Verdict(NetReason.ROBOTS_UNREACHABLE, site.trouble, retry_in_s=left_s, asked_at=site.asked_at)
        rules = site.rules
        if rules.crawl_delay_s > self._web.crawl_delay_max_s:
            delay = f"Crawl-delay {rules.crawl_delay_s:g} s (limit {self._web.crawl_delay_max_s:g} s)"
            return Verdict(NetReason.CRAWL_DELAY_TOO_LONG, delay, fetched_at=rules.fetched_at, asked_at=site.asked_at)
        reason = None if rules.allows(url) else NetReason.ROBOTS_DISALLOW
        return Verdict(reason, crawl_delay_s=rules.crawl_delay_s, fetched_at=rules.fetched_at, asked_at=site.asked_at)


def _rules_of(answer: Answer) -> Rules | None:
    """The rules that an answer means, None for unreachable."""
    missing = answer.status is not None and 400 <= answer.status < 500 and answer.status != 429
    if missing and answer.reason in (NetReason.HTTP_4XX, NetReason.RATE_LIMITED):
        return parse(b"", answer.fetched_at)
    if answer.reason is NetReason.EMPTY_BODY or (answer.reason and answer.status == 204):
        return parse(b"", answer.fetched_at)
    return parse(answer.body, answer.fetched_at) if answer.reason is None else None
