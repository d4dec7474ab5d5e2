"""One GET, bounded in every direction, with one answer whatever the server does.

Redirects are followed here, not by aiohttp: each hop is judged (scheme, port, address, and what the caller's
``allow_hop`` says) before a byte leaves. One deadline on the monotonic clock runs from the first look-up to the
last byte over all hops; only the time that ``allow_hop`` itself takes (a host's turn, its robots.txt) stands
outside it. The body is counted as it comes, raw and decoded; what is refused by its head is never read.
No cookie, credential, referer or proxy is ever used. ``Client.get`` raises for nothing but cancellation.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Self

import aiohttp
from yarl import URL

from pipeline.core.errors import ErrorCode, InputError
from pipeline.web import optouts, sockets
from pipeline.web.allowance import Allowance
from pipeline.web.codings import CodingError, Decoder
from pipeline.web.config import WebConfig, require_contact
from pipeline.web.netguard import GuardedConnector, NetGuard, dialled, last_asked_at
from pipeline.web.reasons import NetFault, NetReason, WebReason
from pipeline.web.urls import MAX_URL_BYTES, Parts, UrlError, join, redact, split
from pipeline.web.wire import MAX_HEAD_BYTES, MAX_HEAD_LINES, GuardedProtocol

MAX_REDIRECTS = 5
START_BYTES = 1024  # of a body, given to Want.check_start
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GOOD = frozenset({200, 203})
RATE_LIMITS = frozenset({408, 425, 429})

RawHeaders = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What came before a body: of a redirect (``location`` is where it leads) or of the last answer (None)."""

    url: str
    status: int
    raw_headers: RawHeaders
    optouts: tuple[str, ...]  # of this and all hops before
    location: str | None = None

    def header(self, name: str) -> str | None:
        """First value of a header, None where it is missing."""
        return next(iter(_values(self.raw_headers, name)), None)


@dataclass(frozen=True, slots=True)
class Want:
    """What one kind of request asks for and where it stops."""

    accept: str
    timeout_s: float  # deadline over all hops, seconds
    max_body_bytes: int  # cap on the bytes received, and on the bytes decoded
    head_timeout_s: float | None = None  # from the begin of a hop to the end of its head, seconds; None: the deadline
    accept_encoding: str = "identity"
    check_head: Callable[[Head], NetReason | None] | None = None  # called on each hop, before its body is read
    check_start: Callable[[Head, bytes], NetReason | None] | None = None  # on the first 1,024 decoded bytes
    cut_body: bool = False  # keep what came within the cap, rather than refuse a longer body
    without_target: NetReason = NetReason.HTTP_MALFORMED  # reason of a redirect that has no Location
    max_url_bytes: int = MAX_URL_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """The one outcome of a URL. ``reason`` None means ok; then ``body`` is whole, decoded and not empty."""

    url: str  # as asked for
    final_url: str  # clean, after redirects
    reason: WebReason | None = None
    detail: str = ""
    status: int | None = None  # of the last answer; None where none came
    version: str = ""  # of HTTP: "1.0" or "1.1"
    raw_headers: RawHeaders = ()  # of the last answer, as received
    body: bytes = b""
    optouts: tuple[str, ...] = ()  # united over all hops, sorted
    hops: tuple[str, ...] = ()  # URLs that redirected, in order
    address: str = ""  # dialled last
    retry_after_s: float | None = None  # None: no header, or none that makes sense
    fetched_at: str = ""  # when the outcome was known: UTC, ISO 8601
    seconds: float = 0.0  # from look-up to last byte
    asked_at: float = 0.0  # when the last request left, on the event loop's clock; 0.0: none did
    tries: int = 0  # requests made for this URL, retries included, redirects not
    tried: tuple[str, ...] = ()  # what came of tries before, or why its host was parked: when (UTC), reason, detail
    robots_fetched_at: str = ""  # of the robots.txt that allowed it: UTC, ISO 8601

    def header(self, name: str) -> str | None:
        """First value of a header of the last answer, None where it is missing."""
        return next(iter(_values(self.raw_headers, name)), None)


AllowHop = Callable[[str], Awaitable[tuple[WebReason, str] | WebReason | None]]


def refusal(url: str, reason: WebReason, detail: str = "", tries: int = 0) -> Answer:
    """The answer of a URL that is not asked (again)."""
    url = redact(url)
    return Answer(url, url, reason, detail, fetched_at=_now().isoformat(timespec="seconds"), tries=tries)


class Client:
    """The way to the web for one event loop: ``async with Client(web) as client``.

    Raises InputError ``config_invalid`` without a contact, ``input_unreadable`` for a bad ``web.ca_file``.
    """

    def __init__(self, web: WebConfig, guard: NetGuard | None = None) -> None:
        require_contact(web)
        self.web = web
        self.guard = guard or NetGuard(web)
        self._tls = _tls_context(web.ca_file)
        self._session: aiohttp.ClientSession | None = None
        most = sockets.budget()
        self._max_idle = most // 4
        self.requests = Allowance(
            most - self._max_idle
        )  # open at one time; taken by the caller, before a deadline runs

    async def __aenter__(self) -> Self:
        self._connector = GuardedConnector(self.guard, self._max_idle, ssl=self._tls, limit=0, keepalive_timeout=15)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            requote_redirect_url=False,
            read_bufsize=32_768,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            max_headers=MAX_HEAD_LINES,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.web.connect_timeout_s),
            headers={"User-Agent": self.web.user_agent()},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
        self.guard.close()

    def close_idle(self, url: str) -> None:
        """Close the connections to the host of ``url`` that wait for another request: there will be none soon."""
        parts = split(url)
        self._connector.close_idle(parts.host, parts.port)

    async def get(self, url: str, want: Want, allow_hop: AllowHop | None = None) -> Answer:
        """Ask for ``url``; ``allow_hop`` may refuse each redirect target, or take its time before it agrees."""
        if self._session is None:
            raise RuntimeError("use `async with Client(...)`")
        return await _Request(self._session, self.guard, url, want, allow_hop).run()


class _Request:
    """One URL under way: what is known so far, so that any end of it makes a full answer."""

    def __init__(
        self, session: aiohttp.ClientSession, guard: NetGuard, url: str, want: Want, allow_hop: AllowHop | None
    ) -> None:
        self._session, self._guard, self._want, self._allow_hop = session, guard, want, allow_hop
        self._headers = {"Accept": want.accept, "Accept-Encoding": want.accept_encoding}
        shown = redact(url)
        self._known: dict[str, Any] = {"url": shown, "final_url": shown, "tries": 1, "optouts": (), "hops": ()}
        self._url = url
        self._asides_s = 0.0  # spent in allow_hop
        self._deadline = asyncio.timeout(want.timeout_s)

    async def run(self) -> Answer:
        started = asyncio.get_running_loop().time()
        dialled.set(None)
        try:
            async with self._deadline:
                await self._follow()
        except Exception as error:
            self._known["reason"], self._known["detail"] = _fault_of(error, self._deadline.expired())
        seconds = asyncio.get_running_loop().time() - started - self._asides_s
        connection = dialled.get()
        if connection is not None:
            self._known |= {"address": connection.address, "asked_at": last_asked_at()}
        return Answer(**self._known, fetched_at=_now().isoformat(timespec="seconds"), seconds=round(seconds, 3))

    async def _follow(self) -> None:
        """Hop after hop, until an answer is not a redirect. Raises what ends the request early."""
        url, seen = self._url, set[str]()
        while True:
            parts = split(url, self._want.max_url_bytes)
            self._guard.check_port(parts)
            url = str(parts)
            self._known["final_url"] = url
            seen.add(url)
            target = await self._hop(url)
            if target is None:
                return
            hops = self._known["hops"] = (*self._known["hops"], url)
            if target in seen or len(hops) > MAX_REDIRECTS:
                raise NetFault(NetReason.TOO_MANY_REDIRECTS, f"hop {len(hops)} leads to {target}")
            self._guard.check_port(split(target, self._want.max_url_bytes))
            await self._ask_for_hop(target)
            url = target

    async def _ask_for_hop(self, target: str) -> None:
        if self._allow_hop is None:
            return
        loop = asyncio.get_running_loop()
        asked, ends = loop.time(), self._deadline.when()
        self._deadline.reschedule(None)
        refused = await self._allow_hop(target)
        aside_s = loop.time() - asked
        self._asides_s += aside_s
        self._deadline.reschedule(None if ends is None else ends + aside_s)
        if refused:
            reason, detail = refused if isinstance(refused, tuple) else (refused, "")
            raise NetFault(reason, f"hop to {target}" + (f": {detail}" if detail else ""))

    async def _hop(self, url: str) -> str | None:
        """Ask for one URL. The URL it redirects to, or None where the answer is known."""
        exact = _as_it_stands(split(url, self._want.max_url_bytes))
        async with await self._answer_of(exact) as response:
            raw_headers = tuple((bytes(name), bytes(value)) for name, value in response.raw_headers)
            version = f"{response.version.major}.{response.version.minor}" if response.version else ""
            united = tuple(sorted({*self._known["optouts"], *optouts.from_headers(raw_headers)}))
            self._known |= {
                "status": response.status,
                "version": version,
                "raw_headers": raw_headers,
                "optouts": united,
            }
            target = self._judge_status(url, response.status, raw_headers)
            head = Head(url, response.status, raw_headers, united, target)
            if self._want.check_head and (reason := self._want.check_head(head)):
                raise NetFault(reason)
            if target is None:
                self._known["body"] = await self._read(response, head)
            return target

    async def _answer_of(self, exact: URL) -> aiohttp.ClientResponse:
        """The answer to a request, when its head is complete."""
        try:
            async with asyncio.timeout(self._want.head_timeout_s) as silence:
                return await self._session.get(exact, headers=self._headers, allow_redirects=False)
        except TimeoutError:
            if not silence.expired():
                raise
            detail = f"no answer in {self._want.head_timeout_s:g} s"
            raise NetFault(NetReason.DEADLINE_EXCEEDED, detail) from None

    def _judge_status(self, url: str, status: int, raw_headers: RawHeaders) -> str | None:
        """Where a redirect leads; None for an answer with a body to read. Raises NetFault for any other."""
        if status in GOOD:
            return None
        retry_after = _values(raw_headers, "retry-after")
        if status in RATE_LIMITS or (status == 503 and retry_after):
            self._known["retry_after_s"] = _retry_after_s(retry_after, _values(raw_headers, "date"))
            raise NetFault(NetReason.RATE_LIMITED, f"{status}, Retry-After: {', '.join(retry_after)[:64] or 'none'}")
        if status in REDIRECTS:
            location = _values(raw_headers, "location")
            if not location or not location[0].strip():
                raise NetFault(self._want.without_target, f"{status} without Location")
            return join(url, location[0], self._want.max_url_bytes)
        by_class = {4: NetReason.HTTP_4XX, 5: NetReason.HTTP_5XX}
        raise NetFault(by_class.get(status // 100, NetReason.HTTP_STATUS_ODD), str(status))

    async def _read(self, response: aiohttp.ClientResponse, head: Head) -> bytes:
        """The decoded body. Raises where a cap, a coding or the caller's look at its start says no."""
        cap, cut = self._want.max_body_bytes, self._want.cut_body
        declared = head.header("content-length") or ""
        if declared.isdigit() and int(declared) > cap and not cut:
            raise NetFault(NetReason.BODY_TOO_LARGE, f"{declared} bytes declared (limit {cap})")
        decoder = Decoder(_values(head.raw_headers, "content-encoding"))
        connection, body, received, judged = dialled.get(), bytearray(), 0, self._want.check_start is None
        if connection is not None:
            connection.limit_body(cap)
        async for chunk in _chunks(response, connection, cap):
            received += len(chunk)
            for piece in decoder.feed(chunk):
                body += piece
                if not judged and len(body) >= START_BYTES:
                    self._judge_start(head, body)
                    judged = True
                if len(body) > cap:
                    break
            if len(body) > cap or received > cap:
                if cut:
                    return bytes(body[:cap])
                which = "received" if received > cap else "decoded"
                raise NetFault(NetReason.BODY_TOO_LARGE, f"more than {cap} bytes {which}")
        if connection is not None and connection.fault:
            raise NetFault(NetReason.HTTP_MALFORMED, connection.fault)
        if received:
            decoder.end()
        if not body:
            raise NetFault(NetReason.EMPTY_BODY)
        if not judged:
            self._judge_start(head, body)
        return bytes(body)

    def _judge_start(self, head: Head, body: bytearray) -> None:
        if self._want.check_start and (reason := self._want.check_start(head, bytes(body[:START_BYTES]))):
            raise NetFault(reason)


async def _chunks(
    response: aiohttp.ClientResponse, connection: GuardedProtocol | None, cap: int
) -> AsyncIterator[bytes]:
    """The body as it comes. Raises NetFault where far more comes than the body can be."""
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except aiohttp.ClientError:
        if connection is None or not connection.overrun:
            raise
        raise NetFault(NetReason.BODY_TOO_LARGE, f"framing of more than {cap} bytes") from None


def _as_it_stands(parts: Parts) -> URL:
    """A URL whose path and query are sent byte for byte: as a query, yarl would drop a ``?`` with nothing behind it."""
    return URL.build(scheme=parts.scheme, authority=parts.netloc, path=parts.target, encoded=True)


def _fault_of(error: Exception, expired: bool) -> tuple[WebReason, str]:
    """The reason of an exception: ours, aiohttp's, ssl's or the system's. Order matters: they inherit crosswise."""
    match error:
        case NetFault() | UrlError():
            return error.reason, error.detail
        case CodingError():
            return NetReason.BAD_ENCODING, str(error)
        case aiohttp.ServerTimeoutError():
            return NetReason.CONNECT_FAILED, "no connection in time"
        case TimeoutError() if expired:
            return NetReason.DEADLINE_EXCEEDED, ""
        case aiohttp.ClientSSLError() | ssl.SSLError() | ssl.CertificateError():
            return NetReason.TLS_FAILED, _text(error)
        case aiohttp.ClientPayloadError():
            return NetReason.TRUNCATED_BODY, _text(error)
        case aiohttp.ClientResponseError():
            return NetReason.HTTP_MALFORMED, error.message[:256]
        case aiohttp.InvalidURL():
            return NetReason.URL_INVALID, _text(error)
        case aiohttp.ClientConnectionError() | OSError():
            return NetReason.CONNECT_FAILED, _text(error)
        case _:
            return NetReason.INTERNAL_ERROR, f"{type(error).__name__}: {_text(error)}"


def _text(error: Exception) -> str:
    return redact(str(error))[:256]


def _retry_after_s(values: list[str], date: list[str]) -> float | None:
    """Seconds asked for (RFC 9110 section 10.2.3); None for nothing, junk or the past.

    A date is read against the server's own Date, so that neither clock has to be right.
    """
    text = values[0].strip() if values else ""
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(date[0]) if date else _now()
        wait_s = (then.replace(tzinfo=then.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return wait_s if wait_s > 0 else None


def _values(raw_headers: RawHeaders, name: str) -> list[str]:
    """All values of a header, UTF-8 where they are, else Latin-1."""
    return list(_decoded(value for key, value in raw_headers if key.lower() == name.encode()))


def _decoded(values: Iterator[bytes]) -> Iterator[str]:
    for value in values:
        try:
            yield value.decode()
        except UnicodeDecodeError:
            yield value.decode("latin-1")


@lru_cache(maxsize=8)  # reading the system's authorities takes longer than a request
def _tls_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, names and chains always checked, the system's authorities and ``ca_file``'s."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InputError(ErrorCode.INPUT_UNREADABLE, f"web.ca_file is {ca_file!r}: {error}") from None
    return context


def _now() -> datetime:
    return datetime.now(UTC)
