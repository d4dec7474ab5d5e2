"""One GET against servers that do what servers do."""

import asyncio
import functools
import gzip
import resource
import shlex
import socket
import ssl
import subprocess
import time
import tracemalloc
import zlib

import brotli
import pytest

from pipeline.core.errors import InputError
from pipeline.web.client import Client
from pipeline.web.config import WebConfig
from pipeline.web.reasons import NetReason


async def drip(writer, data, pause_s):
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(pause_s)


def test_a_plain_page_is_answered_in_full(ask, http):
    answer, server = ask(http(b"hello", X_Odd="v"), "http://Site.example/a b#part")
    assert (answer.reason, answer.body, answer.status, answer.version) == (None, b"hello", 200, "1.1")
    assert answer.final_url == "http://site.example/a%20b"
    assert answer.raw_headers == ((b"X-Odd", b"v"), (b"Content-Length", b"5"))
    assert answer.address == "127.0.0.1"
    assert answer.tries == 1
    assert answer.fetched_at.endswith("+00:00")
    assert server.requests[0].host == "site.example"
    assert b"User-Agent: pairmill/" in server.requests[0].head
    assert b"(+https://contact.example/)" in server.requests[0].head


@pytest.mark.parametrize(
    "contact", ["", "nobody", "Mozilla/5.0 (a@b.example)", "a@b.example\r\nX: y", "https://x.example/ Chrome/1"]
)
def test_nobody_and_a_browser_are_refused_before_the_first_request(contact):
    """C31"""
    with pytest.raises(InputError, match=r"config_invalid: web\.contact is"):
        Client(WebConfig(contact=contact))


@pytest.mark.parametrize(
    "silent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"]
)
def test_a_dripping_server_meets_one_total_deadline(ask, silent):
    """C16, F1, F2"""

    async def handler(request, writer):
        writer.write(silent)
        rest = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"[len(silent) :] + b"x" * 50
        await drip(writer, rest, 0.05)

    started = time.monotonic()
    answer, _ = ask(handler, timeout_s=0.5)
    assert answer.reason is NetReason.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 1.5


def test_the_deadline_runs_over_all_hops(ask, http):
    """C16"""

    async def handler(request, writer):
        await asyncio.sleep(0.3)
        return http(b"", "302 Found", Location=request.path + "a")

    answer, server = ask(handler, timeout_s=0.7)
    assert answer.reason is NetReason.DEADLINE_EXCEEDED
    assert server.paths == ["/a", "/aa", "/aaa"]


def test_time_spent_asking_for_a_hop_stands_outside_the_deadline(ask, http):
    async def handler(request, writer):
        return http(b"", "302 Found", Location="/b") if request.path == "/a" else http()

    async def allow(url):
        await asyncio.sleep(0.6)

    answer, _ = ask(handler, timeout_s=0.4, allow_hop=allow)
    assert answer.reason is None
    assert answer.seconds < 0.4


def test_an_endless_body_stops_at_the_cap(ask):
    """C17, F3"""

    async def handler(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    answer, _ = ask(handler)
    assert (answer.reason, answer.detail) == (NetReason.BODY_TOO_LARGE, "more than 100000 bytes received")


def test_a_declared_length_over_the_cap_is_never_read(ask):
    """C17, F4"""
    answer, _ = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000000\r\n\r\n")
    assert answer.reason is NetReason.BODY_TOO_LARGE
    assert "50000000000 bytes declared" in answer.detail


def test_a_cut_body_is_kept_up_to_the_cap(ask, http):
    answer, _ = ask(http(b"x" * 200_000), cut_body=True)
    assert answer.reason is None
    assert answer.body == b"x" * 100_000


ZEROS = bytes(64 << 20)


def brotli_fast(data):
    return brotli.compress(data, quality=5)


@pytest.mark.parametrize(
    ("coding", "packers"),
    [
        ("gzip", [gzip.compress]),
        ("deflate", [zlib.compress]),
        ("br", [brotli_fast]),
        ("gzip, gzip", [gzip.compress, gzip.compress]),
        ("gzip, br", [gzip.compress, brotli_fast]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bomb_is_counted_as_it_unpacks(ask, http, coding, packers):
    """C17, F8"""
    bomb = functools.reduce(lambda data, pack: pack(data), packers, ZEROS)
    tracemalloc.start()
    answer, _ = ask(http(bomb, Content_Encoding=coding), max_body_bytes=1 << 20)
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer.reason, answer.detail) == (NetReason.BODY_TOO_LARGE, "more than 1048576 bytes decoded")
    assert grown < 32 << 20


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"hello")),
        ("x-gzip", gzip.compress(b"he") + gzip.compress(b"llo") + b"\0\0"),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", raw_deflate(b"hello")),
        ("br", brotli.compress(b"hello")),
        ("gzip, br", brotli.compress(gzip.compress(b"hello"))),
        ("identity", b"hello"),
    ],
)
def test_up_to_two_codings_are_undone(ask, http, coding, body):
    """C18"""
    answer, _ = ask(http(body, Content_Encoding=coding))
    assert (answer.reason, answer.body) == (None, b"hello")


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("zstd", b"hello"),
        ("gzip", b"hello"),
        ("gzip, gzip, gzip", gzip.compress(b"hello")),
        ("gzip", gzip.compress(b"hello")[:-3]),
        ("deflate", b"\x78\x9cjunk"),
        ("br", b"hello"),
        ("br", brotli.compress(b"hello" * 1000)[:-4]),
        ("aes128gcm", b"x"),
    ],
)
def test_a_body_that_is_not_what_its_coding_says_is_dropped(ask, http, coding, body):
    """C18"""
    answer, _ = ask(http(body, Content_Encoding=coding))
    assert answer.reason is NetReason.BAD_ENCODING
    assert answer.body == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
def test_a_body_cut_off_is_no_body(ask, sent):
    """C25, F5"""
    answer, _ = ask(sent)
    assert answer.reason is NetReason.TRUNCATED_BODY
    assert answer.body == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"hello, I speak HTTP/0.9",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\xa0\0\0",
        b"HTTP/2.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 2000 OK\r\n\r\nhello",
    ],
)
def test_what_is_not_well_formed_http_is_refused(ask, sent):
    """C25, F6, F20"""
    answer, _ = ask(sent)
    assert answer.reason is NetReason.HTTP_MALFORMED, answer
    assert answer.detail


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"y" * 70_000 + b"\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(101)) + b"\r\nok",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(70)) + b"\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
    ids=["long line", "many lines", "large block", "interim answers"],
)
def test_a_head_over_its_bounds_is_refused(ask, sent):
    """C25, F7"""
    answer, _ = ask(sent)
    assert answer.reason is NetReason.HTTP_MALFORMED
    assert "head over 65536 bytes or 100 lines" in answer.detail


def test_a_head_within_its_bounds_is_read(ask):
    head = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + b"".join(
        b"X-%d: %s\r\n" % (n, b"y" * 600) for n in range(95)
    )

    async def handler(request, writer):
        for start in range(0, len(head), 997):
            writer.write(head[start : start + 997])
            await writer.drain()
        return b"Content-Length: 2\r\n\r\nok"

    answer, _ = ask(handler)
    assert (answer.reason, answer.body) == (None, b"ok")
    assert len(answer.raw_headers) == 96


def test_surplus_bytes_are_never_the_next_answer(loop_server, web_config, want):
    """F6"""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def handler(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        await asyncio.sleep(0.05)
        return evil if request.path == "/1" else None

    async def main():
        async with loop_server(handler, keep=True) as server, Client(web_config(server.port)) as client:
            first = await client.get("http://h.example/1", want())
            await asyncio.sleep(0.1)
            return first, await client.get("http://h.example/2", want()), server.connections

    first, second, connections = asyncio.run(main())
    assert (first.body, second.body, connections) == (b"hello", b"hello", 2)


def test_odd_header_bytes_arrive_unchanged(ask):
    """C30"""
    answer, _ = ask(b"HTTP/1.1 200 OK\r\nX-Odd: caf\xe9 \xff\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert (b"X-Odd", b"caf\xe9 \xff") in answer.raw_headers
    assert answer.body == b"ok"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *[(f"{status} X", NetReason.HTTP_4XX) for status in (400, 401, 403, 404, 410, 451)],
        *[(f"{status} X", NetReason.HTTP_5XX) for status in (500, 502, 503, 504, 520)],
        *[(f"{status} X", NetReason.RATE_LIMITED) for status in (408, 425, 429)],
        *[(f"{status} X", NetReason.HTTP_STATUS_ODD) for status in (201, 204, 206, 300, 304, 999)],
    ],
)
def test_each_status_has_its_reason_and_its_body_is_not_kept(ask, http, status, reason):
    """C15, F21, F22, F23, F24"""
    answer, _ = ask(http(b"valid image" if status[:3] not in ("204", "304") else b"", status))
    assert (answer.reason, answer.status, answer.body) == (reason, int(status[:3]), b"")


def test_a_body_of_no_bytes_is_empty(ask, http):
    """F24"""
    assert ask(http(b""))[0].reason is NetReason.EMPTY_BODY


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("-1", None),
        ("abc", None),
        ("31536000", 31536000.0),
        ("9" * 400, 1e9),
        ("Tue, 15 Nov 1994 08:14:31 GMT", 60.0),
        ("Tue, 15 Nov 1994 08:12:31 GMT", None),
        ("Tue, 99 Nov 1994 08:12:31 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(ask, http, value, seconds):
    """C14, F22"""
    answer, _ = ask(http(b"", "503 Busy", Retry_After=value, Date="Tue, 15 Nov 1994 08:13:31 GMT"))
    assert (answer.reason, answer.retry_after_s) == (NetReason.RATE_LIMITED, seconds)


def redirects(http, table):
    async def handler(request, writer):
        return (
            http(b"", "302 Found", Location=table[request.path], Set_Cookie="id=1")
            if request.path in table
            else http(b"end")
        )

    return handler


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a?", "/a?"),
        ("?", "/?"),
        ("/a//b/", "/a//b/"),
        ("//x", "//x"),
        ("/%zz%7e%2F|[x]?%&'^`", "/%zz%7e%2F|[x]?%&%27^`"),
        ("/a b/ñ?+%20 ", "/a%20b/%C3%B1?+%20"),
        ("/a:b@c;d=e,f'!$&()*+?/../?", "/a:b@c;d=e,f'!$&()*+?/../?"),
    ],
)
def test_the_bytes_asked_for_are_those_of_the_clean_url(ask, http, url, path):
    """F45"""
    answer, server = ask(http(b"ok"), "http://site.example" + url)
    assert (server.paths, answer.final_url) == ([path], "http://site.example" + path)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("img//x.jpg", "/d/img//x.jpg"),
        ("///cdn.example/tri.jpg", "/tri.jpg"),
        ("x.jpg;", "/d/x.jpg;"),
        ("..\\x y.jpg?", "/x%20y.jpg?"),
        ("\\\\cdn.example\\x", "/x"),
        ("http:x.jpg", "/d/x.jpg"),
        ("//i❤.example/e.jpg", "/e.jpg"),
    ],
)
def test_a_redirect_leads_where_a_browser_would_go(ask, http, location, path):
    """F9, X60"""
    answer, server = ask(redirects(http, {"/d/a": location}), "http://site.example/d/a")
    assert (server.paths, answer.body) == (["/d/a", path], b"end")


def test_five_hops_are_followed_and_a_sixth_is_not(ask, http):
    """C19, F9"""
    chain = {f"/{n}": f"/{n + 1}" for n in range(5)}
    answer, _ = ask(redirects(http, chain), "http://site.example/0")
    assert (answer.reason, answer.body, len(answer.hops)) == (None, b"end", 5)
    answer, server = ask(redirects(http, {**chain, "/5": "/6"}), "http://site.example/0")
    assert answer.reason is NetReason.TOO_MANY_REDIRECTS
    assert "/6" not in server.paths


def test_a_loop_is_noticed_at_once_and_no_cookie_or_referer_is_ever_sent(ask, http):
    """C19, F9, F10"""
    answer, server = ask(redirects(http, {"/a": "/b", "/b": "/a"}))
    assert answer.reason is NetReason.TOO_MANY_REDIRECTS
    assert server.paths == ["/a", "/b"]
    for request in server.requests:
        assert not {b"cookie", b"referer", b"authorization"} & {
            line.split(b":")[0].lower() for line in request.head.split(b"\r\n")
        }


@pytest.mark.parametrize(
    ("location", "path"), [("b c", "/d/b%20c"), ("/ñ", "/%C3%B1"), ("//other.example/x", "/x"), ("?q", "/d/a?q")]
)
def test_relative_and_unencoded_targets_are_resolved(ask, http, location, path):
    """F9"""

    async def handler(request, writer):
        if request.path == "/d/a":
            return b"HTTP/1.1 301 X\r\nContent-Length: 0\r\nLocation: " + location.encode() + b"\r\n\r\n"
        return http()

    answer, server = ask(handler, "http://site.example/d/a")
    assert answer.reason is None
    assert server.paths[1] == path


def test_a_redirect_to_nowhere_has_the_reason_its_stage_gives(ask, http):
    """C19, F9"""
    assert ask(http(b"", "302 Found"))[0].reason is NetReason.HTTP_MALFORMED
    answer, _ = ask(http(b"", "302 Found"), without_target=NetReason.TOO_MANY_REDIRECTS)
    assert answer.reason is NetReason.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("ftp://h.example/", "scheme_not_allowed"),
        ("javascript:alert(1)", "scheme_not_allowed"),
        ("data:image/png,x", "scheme_not_allowed"),
        ("HTTP+unix://%2Fs/", "scheme_not_allowed"),
        ("gopher://h.example/", "scheme_not_allowed"),
        ("http://h.example:22/", "port_not_allowed"),
        ("http://h.example:6379/", "port_not_allowed"),
        ("http://h.example:0/", "url_invalid"),
        ("http://u:secret@h.example/", "url_credentials"),
        ("http://[::1", "url_invalid"),
        ("/" + "a" * 5000, "url_too_long"),
    ],
)
def test_every_hop_is_judged_before_it_is_asked(ask, http, location, reason):
    """C20, F14, F46, F47"""
    answer, server = ask(http(b"", "302 Found", Location=location))
    assert answer.reason == reason
    assert server.paths == ["/a"]
    assert "secret" not in repr(answer).replace(repr(answer.raw_headers), "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://u:secret@h.example/", "url_credentials"),
        ("http://h.example:25/", "port_not_allowed"),
        ("http://h.example:abc/", "url_invalid"),
        ("ftp://h.example/", "scheme_not_allowed"),
        ("http://h.example/" + "a" * 5000, "url_too_long"),
        ("", "url_invalid"),
    ],
)
def test_a_url_at_fault_is_never_asked(ask, http, url, reason):
    """F14, F46, F47, F48"""
    answer, server = ask(http(), url)
    assert answer.reason == reason
    assert server.connections == 0
    assert "secret" not in repr(answer)


def test_a_hop_that_the_caller_forbids_is_not_asked(ask, http):
    """C19"""

    async def allow(url):
        return NetReason.ROBOTS_DISALLOW

    answer, server = ask(redirects(http, {"/a": "/b"}), allow_hop=allow)
    assert answer.reason is NetReason.ROBOTS_DISALLOW
    assert server.paths == ["/a"]


def test_opt_outs_of_all_hops_are_united(ask, http):
    """O12"""

    async def handler(request, writer):
        if request.path == "/a":
            return http(b"", "302 Found", Location="/b", X_Robots_Tag="noai")
        return http(b"x", tdm_reservation="1")

    answer, _ = ask(handler)
    assert answer.reason is None
    assert answer.optouts == ("optout_tdm", "optout_xrobots")


def test_what_its_head_refuses_is_not_read(ask):
    """C24, O1"""
    sent = 0

    async def handler(request, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
        while sent < 50_000_000:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    def only_html(head):
        assert head.location is None
        return None if head.header("content-type") == "text/html" else NetReason.NOT_HTML

    answer, _ = ask(handler, check_head=only_html, max_body_bytes=10**9)
    assert (answer.reason, answer.body) == (NetReason.NOT_HTML, b"")
    assert sent < 10_000_000  # what the kernel's buffers took


def test_the_start_of_a_body_can_refuse_the_rest(ask, http):
    """C24"""
    seen = []

    def look(head, start):
        seen.append(start)
        return None if start.startswith(b"<html") else NetReason.NOT_HTML

    assert ask(http(b"%PDF" * 5000), check_start=look)[0].reason is NetReason.NOT_HTML
    assert ask(http(b"<html>" * 5000), check_start=look)[0].reason is None
    assert ask(http(b"<html>"), check_start=look)[0].reason is None
    assert [len(start) for start in seen] == [1024, 1024, 6]


def test_a_refused_and_a_reset_connection_are_told_apart_from_silence(ask):
    """F18"""

    async def reset(request, writer):
        writer.transport.abort()

    assert ask(reset)[0].reason is NetReason.CONNECT_FAILED
    assert ask(b"")[0].reason is NetReason.CONNECT_FAILED
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        assert ask(b"", web={"resolve": {"*": target}})[0].reason is NetReason.CONNECT_FAILED


def test_the_environment_does_not_move_the_way_out(ask, http, monkeypatch, tmp_path):
    """F15"""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    (tmp_path / "netrc").write_text("machine site.example login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    answer, server = ask(http())
    assert answer.reason is None
    assert b"uthorization" not in server.requests[0].head


def test_a_connection_is_kept_for_the_next_request(loop_server, web_config, want, http):
    async def main():
        async with loop_server(http(), keep=True) as server, Client(web_config(server.port)) as client:
            for _ in range(3):
                assert (await client.get("http://h.example/", want())).reason is None
            return server.connections

    assert asyncio.run(main()) == 1


def openssl(folder, arguments):
    """Skips where there is no openssl. ``arguments`` is split at spaces, but for those in quotes."""
    try:
        subprocess.run(["openssl", *shlex.split(arguments)], cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make certificates with")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority and certificates it signed: good, expired; and one nobody signed."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=DNS:site.example\n")
    own = "req -x509 -newkey rsa:2048 -nodes -days 2 "
    rights = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
    openssl(folder, own + f"-keyout ca.key -out ca.pem -subj '/CN=Test CA' {rights}")
    openssl(
        folder, own + "-keyout self.key -out self.pem -subj /CN=site.example -addext subjectAltName=DNS:site.example"
    )
    for name, days in (("good", 2), ("expired", -1)):
        openssl(folder, f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile names"
        openssl(folder, f"x509 -req -in {name}.csr -out {name}.pem -days {days} {signed}")
    return folder


def tls_server(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
    return context


def test_a_trusted_name_is_checked_although_another_address_is_dialled(ask, http, authority):
    """F13"""
    answer, _ = ask(
        http(), "https://site.example/", tls=tls_server(authority, "good"), web={"ca_file": str(authority / "ca.pem")}
    )
    assert (answer.reason, answer.body) == (None, b"ok"), answer


@pytest.mark.parametrize(
    ("name", "host"), [("expired", "site.example"), ("self", "site.example"), ("good", "wrong.example")]
)
def test_a_certificate_at_fault_is_never_accepted(ask, http, authority, name, host):
    """C23, F19"""
    answer, server = ask(
        http(), f"https://{host}/", tls=tls_server(authority, name), web={"ca_file": str(authority / "ca.pem")}
    )
    assert answer.reason is NetReason.TLS_FAILED, answer
    assert not server.requests


@pytest.mark.parametrize("greeting", [b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_an_alert_or_no_tls_at_all_ends_the_handshake(web_config, want, greeting):
    """C23, F19: 0x46 is what a server that knows only TLS 1.0 answers"""

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, Client(web_config(server.sockets[0].getsockname()[1])) as client:
            return await client.get("https://site.example/", want())

    assert asyncio.run(main()).reason is NetReason.TLS_FAILED


def test_a_ca_file_that_cannot_be_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"web\.ca_file"):
        Client(WebConfig(contact="a@b.example", ca_file=str(tmp_path / "none.pem")))


def test_memory_stays_small_over_many_large_answers(ask, http):
    """C17"""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        ask(http(gzip.compress(ZEROS), Content_Encoding="gzip"), max_body_bytes=1 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


def test_the_framing_of_a_body_counts_too(ask):
    """F58: chunks of one byte, each behind a thousand bytes of extension"""
    sent = 0

    async def endless(request, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"1;" + b"x" * 1000 + b"\r\nX\r\n"
        while sent < 50_000_000:
            writer.write(chunk * 100)
            sent += 100 * len(chunk)
            await writer.drain()
        return b"0\r\n\r\n"

    answer, _ = ask(endless, max_body_bytes=200_000)
    assert (answer.reason, answer.detail) == (NetReason.BODY_TOO_LARGE, "framing of more than 200000 bytes")
    assert sent < 10_000_000


def test_small_chunks_are_read_whole(ask):
    body = bytes(range(256)) * 40
    framed = b"".join(b"40\r\n" + body[n : n + 64] + b"\r\n" for n in range(0, len(body), 64))
    answer, _ = ask(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n")
    assert (answer.reason, answer.body) == (None, body)
