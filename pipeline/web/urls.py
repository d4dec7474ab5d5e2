"""URLs: one reading for keys, requests and links, after the WHATWG URL standard (https://url.spec.whatwg.org/).

``clean`` gives the URL that is requested, as a browser would send it; ``normalise`` goes one step further and
serves keys only: two spellings of one URL, one key. Whatever comes in, nothing but UrlError comes out, and no
text of an error holds a password.

Stricter than the standard in two places: credentials are refused instead of sent, and a host is made of
letters, digits, ``-``, ``_`` and dots, since nothing else is ever found in DNS.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes, urljoin

import idna

from pipeline.core.ids import key_of
from pipeline.web.reasons import NetReason

MAX_URL_BYTES = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PATH_SAFE = "".join(char for char in _PRINTABLE if char not in '"#<>?`{}^')
_QUERY_SAFE = "".join(char for char in _PRINTABLE if char not in "\"#<>'")
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_TAB_OR_NEWLINE = str.maketrans("", "", "\t\r\n")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_USERINFO = re.compile(r"^((?:[a-z][a-z0-9+.\-]*:[/\\]*|[/\\]{2,}))[^/\\?#]*@", re.IGNORECASE)
_USERINFO_WITHIN = re.compile(r"([a-z][a-z0-9+.\-]{0,31}:[/\\]+)[^/\\?#\s]*@", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_\-]{1,63}")
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


@lru_cache(maxsize=1024)  # a URL is looked at several times around its request
def split(url: str, max_bytes: int = MAX_URL_BYTES) -> Parts:
    """Parse an absolute http(s) URL as a browser does, percent-encoding what needs it, once.

    Raises UrlError.
    """
    _check_length(url, max_bytes)
    text = _scalar_values(url).strip(_C0_AND_SPACE).translate(_TAB_OR_NEWLINE)
    scheme, rest = _split_scheme(text)
    rest = rest.lstrip("/\\")
    end = _AUTHORITY_END.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    host, port = _split_authority(authority, DEFAULT_PORTS[scheme])
    path, mark, query = tail.partition("#")[0].partition("?")
    parts = Parts(scheme, host, port, _clean_path(path), quote(query, safe=_QUERY_SAFE) if mark else None)
    _check_length(str(parts), max_bytes)
    return parts


def clean(url: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """The URL that is requested: whitespace removed or encoded once, host in ASCII, no fragment.

    >>> clean(" HTTP://Bücher.example:80/a b/%20/../ñ?q='#top")
    'http://xn--bcher-kva.example/a%20b/%C3%B1?q=%27'
    """
    return str(split(url, max_bytes))


def normalise(url: str, max_bytes: int = MAX_URL_BYTES) -> str:
    """The spelling of a URL that makes its key. Never requested.

    Beyond ``clean``: escapes of unreserved characters are decoded, the others in upper-case hex (RFC 3986, 6.2.2);
    parameters that only say where a visitor came from are gone. Case of the path, order and rest of the query stay:
    they may name another resource (benchmarks/url_keys.py counts what further rules would merge wrongly).

    >>> normalise("http://example.com:80/%7Ea/./b%2fc?id=1&utm_source=x#y")
    'http://example.com/~a/b%2Fc?id=1'
    """
    normalised = without_tracking(with_normal_escapes(clean(url, max_bytes)))
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
    if not TRACKING.search(url):
        return url
    path, _, query = url.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not TRACKING.match(f"&{pair}")]
    if len(kept) == len(pairs):  # it stands in the path
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
    base = clean(base, max_bytes)
    _check_length(ref, max_bytes)
    text = _scalar_values(ref).strip(_C0_AND_SPACE).translate(_TAB_OR_NEWLINE)
    if not _SCHEME.match(text):
        path, *tail = re.split(r"(?=[?#])", text, maxsplit=1)
        text = path.replace("\\", "/") + "".join(tail)
    try:
        return clean(urljoin(base, text), max_bytes)
    except UrlError:
        raise
    except ValueError:
        raise UrlError(NetReason.URL_INVALID, f"no usable link: {redact(text)[:256]}") from None


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
        try:
            return IPv6Address(host)
        except ValueError:
            raise UrlError(NetReason.URL_INVALID, f"bad IPv6 address: {host[:64]}") from None
    numbers = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(numbers[-1]):
        return None
    return _ipv4(numbers, host)


def _ipv4(numbers: list[str], host: str) -> IPv4Address:
    """WHATWG IPv4 parser: up to four decimal, octal or hex numbers, the last one fills the remaining bytes."""
    try:
        *high, last = [_ipv4_number(number) for number in numbers]
        if len(high) > 3 or any(number > 255 for number in high) or last >= 256 ** (4 - len(high)):
            raise ValueError
    except ValueError:
        raise UrlError(NetReason.URL_INVALID, f"bad IPv4 address: {host[:64]}") from None
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(high)) + last)


def _ipv4_number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or len(text) > 40:
        raise ValueError
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def _split_scheme(text: str) -> tuple[str, str]:
    match = _SCHEME.match(text)
    if not match:
        raise UrlError(NetReason.URL_INVALID, f"no absolute URL: {redact(text)[:256]}")
    scheme = match[1].lower()
    if scheme not in DEFAULT_PORTS:
        raise UrlError(NetReason.SCHEME_NOT_ALLOWED, scheme[:64])
    return scheme, text[match.end() :]


@lru_cache(maxsize=1024)  # many URLs have one host
def _split_authority(authority: str, default_port: int) -> tuple[str, int]:
    userinfo, _, host_port = authority.rpartition("@")
    if userinfo.strip(":"):
        raise UrlError(NetReason.URL_CREDENTIALS, f"***@{host_port[:256]}")
    if host_port.startswith("["):
        host, bracket, after = host_port[1:].partition("]")
        if not bracket or ":" not in host or "%" in host or (after and not after.startswith(":")):
            raise UrlError(NetReason.URL_INVALID, f"bad IPv6 host: {host_port[:64]}")
        return str(literal_address(host)), _port(after[1:], default_port)
    host, _, port = host_port.partition(":")
    return _clean_host(host), _port(port, default_port)


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 5 and 1 <= int(text) <= 65535):
        raise UrlError(NetReason.URL_INVALID, f"bad port: {text[:32]}")
    return int(text)


def _clean_host(text: str) -> str:
    """Name or address in ASCII and lower case (UTS 46, RFC 5891)."""
    if len(text) > MAX_URL_BYTES:
        raise UrlError(NetReason.URL_INVALID, "host longer than 253 bytes")
    try:
        host = unquote_to_bytes(text).decode()
        if not host.isascii() or "xn--" in host.lower():
            mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
            host = ".".join(_ascii_label(label) for label in mapped.split("."))
        host = host.lower()
    except (UnicodeError, ValueError, IndexError):  # idna.IDNAError is a UnicodeError
        raise UrlError(NetReason.URL_INVALID, f"host not convertible to ASCII: {text[:64]}") from None
    labels = host.removesuffix(".").split(".")
    if len(host.removesuffix(".")) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlError(NetReason.URL_INVALID, f"bad host: {text[:64]!r}")
    address = literal_address(host)
    return host if address is None else str(address)


def _ascii_label(label: str) -> str:
    """Labels in ASCII pass (``_`` too, which IDNA knows nothing of); ``xn--`` ones must decode."""
    return label if label.isascii() and not label.startswith("xn--") else idna.alabel(label).decode()


def _clean_path(path: str) -> str:
    """Percent-encode and remove dot segments, also where the dots are escaped."""
    segments: list[str] = []
    pieces = quote(path, safe=_PATH_SAFE).replace("\\", "/").split("/")[1:] or [""]
    for place, piece in enumerate(pieces):
        dots = piece.replace("%2e", ".").replace("%2E", ".")
        if dots == ".." and segments:
            segments.pop()
        if dots not in (".", ".."):
            segments.append(piece)
        elif place == len(pieces) - 1:
            segments.append("")  # a last dot segment leaves the slash before it
    return "/" + "/".join(segments)


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
