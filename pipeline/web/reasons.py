"""Why a request gave nothing: one closed set for crawl and fetch, with what a later run may do about it.

Each code is a row of docs/faults.md (Crawl, Images, Opt-outs). *Retryable* means that the same request may
succeed later: it is tried again in this run, and asked again by ``--retry-failed``. What is final is asked once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

RETRY, FINAL = True, False


class WebReason(StrEnum):
    """A reason code; ``retryable`` says whether asking again can help. Its subclasses have the members."""

    retryable: bool

    def __new__(cls, code: str, retryable: bool = FINAL) -> Self:
        """A member is its code; ``retryable`` is an attribute of it."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.retryable = retryable
        return member


class NetReason(WebReason):
    """What the way to a server and its answer can end in."""

    # The URL itself: no request is made.
    URL_INVALID = "url_invalid", FINAL
    URL_CREDENTIALS = "url_credentials", FINAL
    URL_TOO_LONG = "url_too_long", FINAL
    SCHEME_NOT_ALLOWED = "scheme_not_allowed", FINAL
    PORT_NOT_ALLOWED = "port_not_allowed", FINAL

    # robots.txt and the limits of a host.
    ROBOTS_DISALLOW = "robots_disallow", FINAL
    ROBOTS_UNREACHABLE = "robots_unreachable", RETRY
    CRAWL_DELAY_TOO_LONG = "crawl_delay_too_long", FINAL
    RATE_LIMITED = "rate_limited", RETRY
    HOST_BUDGET = "host_budget", RETRY
    ROUND_ENDED = "round_ended", RETRY  # the time of this round was over before the URL's turn came

    # The way to the server.
    DNS_NOT_FOUND = "dns_not_found", FINAL
    DNS_FAILED = "dns_failed", RETRY
    ADDRESS_BLOCKED = "address_blocked", FINAL
    CONNECT_FAILED = "connect_failed", RETRY
    TLS_FAILED = "tls_failed", FINAL
    DEADLINE_EXCEEDED = "deadline_exceeded", RETRY

    # The answer.
    TOO_MANY_REDIRECTS = "too_many_redirects", FINAL
    HTTP_MALFORMED = "http_malformed", FINAL
    HTTP_4XX = "http_4xx", FINAL
    HTTP_5XX = "http_5xx", RETRY
    HTTP_STATUS_ODD = "http_status_odd", FINAL
    NOT_HTML = "not_html", FINAL
    BODY_TOO_LARGE = "body_too_large", FINAL
    TRUNCATED_BODY = "truncated_body", RETRY
    EMPTY_BODY = "empty_body", FINAL
    BAD_ENCODING = "bad_encoding", FINAL

    # What the owner asked for.
    OPTOUT_XROBOTS = "optout_xrobots", FINAL
    OPTOUT_META = "optout_meta", FINAL
    OPTOUT_TDM = "optout_tdm", FINAL
    OPTOUT_AI_PREF = "optout_ai_pref", FINAL
    OPTOUT_AI_TXT = "optout_ai_txt", FINAL
    OPTOUT_RSL = "optout_rsl", FINAL
    OPTOUT_UNREACHABLE = "optout_unreachable", RETRY
    OPTOUT_AI_BOT_RULE = "optout_ai_bot_rule", FINAL

    LOCAL_LIMIT = "local_limit", RETRY  # this machine ran out of sockets or memory; never a row's last word

    # A fault of ours met while asking: the row is kept and can be asked for again once the fault is repaired.
    INTERNAL_ERROR = "internal_error", RETRY


class NetFault(Exception):
    """A request that ends before its answer: ``reason`` and what exactly happened."""

    def __init__(self, reason: WebReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
