"""URLs: one reading for keys, requests and links, after the WHATWG URL standard (https://url.spec.whatwg.org/).

Parsing is ada's, the parser of Node.js. ``clean`` gives the URL that is requested, as a browser would send it;
``normalise`` goes one step further and serves keys only: two spellings of one URL, one key. Whatever comes in, nothing
but UrlError comes out, and no text of an error holds a password.

What differs from the standard: only http and https; no fragment; credentials are refused instead of sent, and so is
port 0; URLs have a limit of bytes; and a host is an address, or made of labels of 1 to 63 letters, digits, ``-`` and
``_``, where ``xn--`` stands before what decodes: nothing else is ever found in DNS. What stands beyond ASCII in a query
is written in UTF-8, where a browser takes the charset of the page: a key must not depend on that.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import ada_url

from pipeline.core.ids import key_of
from pipeline.web.reasons import NetReason

MAX_URL_BYTES = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}

_HREF = re.compile(r"(https?)://(\[[0-9a-f:]+\]|[^/:@]*)(?::([0-9]+))?(/[^?#]*)(?:\?([^#]*))?(?:#.*)?")
"""What ada writes for http(s), if there are no credentials."""
_AS_WRITTEN = re.compile(
    r"(https?)://((?:(?!xn--)[a-z0-9\-]++\.)++(?!xn--)[a-z]++)()((?:/(?!\.)[a-zA-Z0-9_~.,=+&;:@!$()*\-]*+)++)"
    r"(?:\?([a-zA-Z0-9_~.,=+&;:@!$()*/?%\-]*+))?"
)
"""An absolute URL that ada writes as it was, in the same groups: most are, and this is faster."""
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_TAB_OR_NEWLINE = str.maketrans("", "", "\t\r\n")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_USERINFO = re.compile(r"^((?:[a-z][a-z0-9+.\-]*:[/\\]*|[/\\]{2,}))[^/\\?#]*@", re.IGNORECASE)
_USERINFO_WITHIN = re.compile(r"([a-z][a-z0-9+.\-]{0,31}:[/\\]+)[^/\\?#\s]*@", re.IGNORECASE)
_NAME = re.compile(r"(?:[a-z0-9_\-]{1,63}\.)*[a-z0-9_\-]{1,63}\.?")
_LONGEST_NAME = 253
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
TRACKING = re.compile(
    r"[?&](?:utm_[a-z_]+|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|twclid|ttclid|mc_cid|mc_eid|igshid)(?=[=&]|$)"
)
"""A parameter that mail and advertising add to links."""
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class UrlError(ValueError):
    """A URL that is never requested: ``reason`` says why, ``detail`` shows the part at fault."""

    def __init__(self, reason: NetReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Parts:
    """A parsed URL. ``host`` is ASCII (IPv6 without brackets), ``path`` begins with a slash, no fragment."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def netloc(self) -> str:
        """Host as written in a URL, with the port unless it is the scheme's own."""
        return self.bracketed if self.port == DEFAULT_PORTS[self.scheme] else f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """Host as written in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def target(self) -> str:
        """Path and query: what stands in a request line, and what robots.txt judges."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


@lru_cache(maxsize=8192)  # a URL is looked at several times around its request, of which many are under way
def split(url: str, max_bytes: int = MAX_URL_BYTES) -> Parts:
    """Parse an absolute http(s) URL as a browser does, percent-encoding what needs it, once.

    Raises UrlError.
    """
    scheme, host, port, path, query = _parse(url, None, max_bytes).groups()
    return Parts(scheme, host.strip("[]"), int(port) if port else DEFAULT_PORTS[scheme], path, query)


def clean(url: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """The URL that is requested: whitespace removed or encoded once, host in ASCII, no fragment.

    >>> clean(" HTTP://Bücher.example:80/a b/%20/../ñ?q='#top")
    'http://xn--bcher-kva.example/a%20b/%C3%B1?q=%27'
    """
    return _parse(url, None, max_bytes)[0].partition("#")[0]


def normalise(url: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """The spelling of a URL that makes its key. Never requested. See ``normalise_clean``.

    >>> normalise("http://example.com:80/%7Ea/./b%2fc?id=1&utm_source=x#y")
    'http://example.com/~a/b%2Fc?id=1'
    """
    return normalise_clean(clean(url, max_bytes), max_bytes)


def normalise_clean(url: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """``normalise`` of what ``clean`` or ``join`` has given.

    Escapes of unreserved characters are decoded, the others in upper-case hex (RFC 3986, 6.2.2); parameters that only
    say where a visitor came from are gone. Case of the path, order and rest of the query stay: they may name another
    resource (benchmarks/url_keys.py counts what further rules would merge wrongly).
    """
    normalised = without_tracking(with_normal_escapes(url))
    _check_length(normalised, max_bytes)
    return normalised


def with_normal_escapes(url: str) -> str:
    """A clean URL with the escapes that RFC 3986, 6.2.2, asks for."""
    return _ESCAPE.sub(_normal_escape, url)


def without_tracking(url: str) -> str:
    """A clean URL without the parameters of its query that TRACKING names; without ``?`` where nothing is left of it.

    >>> without_tracking("http://a.example/b&utm_source=x?utm_source=x&")
    'http://a.example/b&utm_source=x'
    """
    if "?" not in url or not TRACKING.search(url, url.index("?")):
        return url
    path, _, query = url.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not TRACKING.match(f"&{pair}")]
    if len(kept) == len(pairs):  # it stands within a value
        return url
    return f"{path}?{'&'.join(kept)}" if any(kept) else path


def url_id(url: str) -> str:
    """32 hex digits that name a URL in every table (``page_id`` too)."""
    return key_of(normalise(url))


def origin(url: str) -> str:
    """``scheme://host:port``, the port always written: what robots.txt, delays and opt-outs belong to."""
    parts = split(url)
    return f"{parts.scheme}://{parts.bracketed}:{parts.port}"


def join(base: str, ref: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """``ref`` as met on the page ``base``, absolute and clean. Raises UrlError.

    >>> join("http://example.com/a/b", "../c d.jpg")
    'http://example.com/c%20d.jpg'
    """
    return _parse(ref, _clean_base(base, max_bytes), max_bytes)[0].partition("#")[0]


def redact(url: str) -> str:
    """A URL, or a text with URLs in it, without user names and passwords: for all that a person or a file sees.

    >>> redact("http://user:secret@example.com/a")
    'http://***@example.com/a'
    """
    one_line = url.strip(_C0_AND_SPACE).translate(_TAB_OR_NEWLINE)
    return _USERINFO_WITHIN.sub(r"\1***@", _USERINFO.sub(r"\1***@", one_line))


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host *is*, as browsers and C libraries read it; None for a name.

    ``2130706433``, ``0177.0.0.1``, ``127.1`` and ``0x7f.1`` are all 127.0.0.1.
    Raises UrlError for a host that ends in a number and is no address (WHATWG: a failure, never a name).
    """
    if ":" in host:
        return IPv6Address(split(f"http://[{host}]/").host)
    last = host.removesuffix(".").rpartition(".")[2]
    return IPv4Address(split(f"http://{host}/").host) if _NUMBER.fullmatch(last) else None


def _parse(url: str, base: str | None, max_bytes: int) -> re.Match[str]:
    """The groups of _HREF in ``url``, absolute or on the clean page ``base``. Raises UrlError."""
    text = _scalar_values(url.strip(_C0_AND_SPACE))
    _check_length(text, max_bytes)
    match = _AS_WRITTEN.fullmatch(text) or _as_ada_writes(text, base)
    if fault := _fault_of_host(match[2]) or (match[3] == "0" and "port 0"):
        raise UrlError(NetReason.URL_INVALID, fault)
    if len(match[0]) > max_bytes:
        _check_length(match[0].partition("#")[0], max_bytes)
    return match


def _as_ada_writes(text: str, base: str | None) -> re.Match[str]:
    try:
        href = ada_url.normalize_url(text) if base is None else ada_url.join_url(base, text)
    except ValueError:
        raise _refusal(text) from None
    match = _HREF.fullmatch(href)
    if match is None:
        raise _refusal(href)
    return match


def _refusal(text: str) -> UrlError:
    """Why ``text`` is not a URL, or not one for us."""
    shown = redact(text)
    match = _SCHEME.match(shown)
    if match and match[1].lower() not in DEFAULT_PORTS:
        return UrlError(NetReason.SCHEME_NOT_ALLOWED, match[1].lower()[:64])
    if match and shown != text.strip(_C0_AND_SPACE).translate(_TAB_OR_NEWLINE):
        return UrlError(NetReason.URL_CREDENTIALS, shown[:256])
    return UrlError(NetReason.URL_INVALID, f"not a URL with a valid host and port: {shown[:256]}")


@lru_cache(maxsize=1024)  # all links of a page have one base
def _clean_base(base: str, max_bytes: int) -> str:
    return clean(base, max_bytes)


@lru_cache(maxsize=4096)  # many URLs have one host
def _fault_of_host(host: str) -> str | None:
    """Why ``host``, as ada has written it, cannot be found in DNS; None for an address and a good name."""
    if host.startswith("["):
        return None
    if not _NAME.fullmatch(host) or len(host.removesuffix(".")) > _LONGEST_NAME:
        return f"bad host: {host[:64]!r}"
    if not all(map(_decodes, host.split("."))):
        return f"host not convertible from ASCII: {host[:64]}"
    return None


def _decodes(label: str) -> bool:
    """Whether an ``xn--`` label stands for a label beyond ASCII (UTS 46); any other passes."""
    return not label.startswith("xn--") or ada_url.idna_to_unicode(label) != label


def _normal_escape(match: re.Match[str]) -> str:
    if match[1] is None:
        return "%25"  # a stray percent sign; left alone it could join what follows into a new escape
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else f"%{match[1].upper()}"


def _scalar_values(text: str) -> str:
    """Lone surrogates, which no encoding can write, become U+FFFD (the standard's USVString)."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _check_length(url: str, max_bytes: int) -> None:
    data = url.encode("utf-8", "surrogatepass")
    if len(data) > max_bytes:
        head = redact(url[:1024]).encode("utf-8", "replace")[:256].decode("utf-8", "ignore")
        digest = hashlib.sha256(data).hexdigest()
        raise UrlError(NetReason.URL_TOO_LONG, f"{len(data)} bytes (limit {max_bytes}), sha256 {digest}: {head}")
