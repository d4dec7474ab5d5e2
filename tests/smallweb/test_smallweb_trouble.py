"""Each kind of host in trouble, asked by a client that reads bytes."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.smallweb.trouble import (
    HOSTS_PER_RANGE,
    RANGES,
    Trouble,
    address_of,
    kind_of,
    read_log,
    serving_trouble,
)

LATENCY_S, HANDSHAKE_S, LIMITED_S = 0.1, 0.4, 1.0
BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"


@pytest.fixture(scope="module")
def picture() -> bytes:
    stream = BytesIO()
    levels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(levels).resize((144, 144)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, picture):
    """A tar with the picture, and a certificate for the first host whose handshake is slow."""
    folder = tmp_path_factory.mktemp("trouble")
    with tarfile.open(folder / "images.tar", "w") as tar:
        member = tarfile.TarInfo("0.jpg")
        member.size = len(picture)
        tar.addfile(member, BytesIO(picture))
    address = address_of(Trouble.SLOW_TLS, 0)
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {folder}/key.pem"
    command += f" -out {folder}/cert.pem -subj /CN=slow -addext subjectAltName=IP:{address}"
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def web(folder):
    tls = folder / "cert.pem", folder / "key.pem"
    log, tars = folder / "requests.tsv", [folder / "images.tar"]
    with serving_trouble(tars, LATENCY_S, log, tls, handshake_s=HANDSHAKE_S, limited_s=LIMITED_S) as web:
        yield web


@contextmanager
def connected(url: str, tls: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    host, _, port = url.split("/")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        if tls is None:
            yield plain
            return
        with tls.wrap_socket(plain, server_hostname=host) as secure:
            yield secure


def send(connection: socket.socket, url: str, agent: str = "test") -> None:
    _, _, host, path = url.split("/", 3)
    connection.sendall(f"GET /{path} HTTP/1.1\r\nUser-Agent: {agent}\r\nHost: {host}\r\n\r\n".encode())


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer; without a length the body goes on until the connection ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        assert more, data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    while not length or len(body) < int(length):
        more = connection.recv(65536)
        if not more:
            break
        body += more
    return head, body


def ask(url: str, agent: str = "test") -> tuple[bytes, bytes]:
    with connected(url) as connection:
        send(connection, url, agent)
        return answer(connection)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection within some latencies."""
    connection.settimeout(3 * LATENCY_S)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_an_address_says_what_is_wrong_with_its_host():
    hosts = [(kind, number) for kind in Trouble for number in (0, 1, HOSTS_PER_RANGE, HOSTS_PER_RANGE * RANGES - 1)]
    addresses = [address_of(*host) for host in hosts]
    assert [kind_of(address) for address in addresses] == [kind for kind, _ in hosts]
    assert len(set(addresses)) == len(hosts)
    assert kind_of("127.0.0.1") is Trouble.FINE


def test_a_fine_host_answers_after_the_latency_and_keeps_the_connection(web, picture):
    url = web.url(Trouble.FINE, 0, 7)
    with connected(url) as connection:
        for _ in range(2):
            begun = time.monotonic()
            send(connection, url)
            head, body = answer(connection)
            assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", picture)
            assert time.monotonic() - begun >= LATENCY_S
        assert not is_closed(connection)


def test_a_closing_host_closes_after_each_answer(web, picture):
    url = web.url(Trouble.CLOSING, 0, 0)
    with connected(url) as connection:
        send(connection, url)
        head, body = answer(connection)
        assert (b"Content-Length" in head, body) == (True, picture)
        assert is_closed(connection)


def test_an_old_host_ends_its_image_with_the_connection(web, picture):
    head, body = ask(web.url(Trouble.OLD, 0, 0))
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.0 200 OK", picture)
    assert b"content-length" not in head.lower()


def test_a_slow_handshake_begins_late_and_then_works(web, folder, picture):
    url = web.url(Trouble.SLOW_TLS, 0, 0)
    begun = time.monotonic()
    with connected(url, ssl.create_default_context(cafile=str(folder / "cert.pem"))) as connection:
        assert time.monotonic() - begun >= HANDSHAKE_S
        for _ in range(2):
            send(connection, url)
            assert answer(connection)[1] == picture


def test_a_limited_range_says_429_on_all_its_addresses_for_a_while(web):
    robots = web.url(Trouble.LIMITED, 0, 0).replace("0.jpg", "robots.txt")
    begun = time.monotonic()
    for url in (robots, web.url(Trouble.LIMITED, 1, 0)):
        head, _ = ask(url)
        assert head.startswith(b"HTTP/1.1 429")
        assert b"Retry-After: 1" in head
    time.sleep(max(LIMITED_S + 0.1 - (time.monotonic() - begun), 0))
    assert ask(web.url(Trouble.LIMITED, 2, 0))[0].startswith(b"HTTP/1.1 200")
    assert ask(web.url(Trouble.LIMITED, HOSTS_PER_RANGE, 0))[0].startswith(b"HTTP/1.1 429")  # another range


def test_a_host_can_forbid_all_but_browsers(web, picture):
    url = web.url(Trouble.FORBIDDEN, 0, 0)
    assert ask(url)[0].startswith(b"HTTP/1.1 403")
    assert ask(url, BROWSER)[1] == picture


def test_a_parked_host_has_one_page_for_everything(web):
    url = web.url(Trouble.PARKED, 0, 0)
    for path in ("0.jpg", "robots.txt"):
        head, body = ask(url.replace("0.jpg", path))
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/html" in head
        assert body.startswith(b"<!doctype html>")


def test_consent_is_asked_for_on_another_host(web):
    url = web.url(Trouble.CONSENT, 0, 0)
    head, _ = ask(url)
    assert head.startswith(b"HTTP/1.1 302")
    target = head.partition(b"Location: ")[2].split(b"\r\n")[0].decode()
    assert target.split("/")[2] != url.split("/")[2]
    assert ask(target)[1].startswith(b"<!doctype html>")


@pytest.mark.parametrize(("kind", "status"), [(Trouble.FINE, b"404"), (Trouble.ROBOTS, b"503")])
def test_a_fine_host_has_no_robots_txt_and_another_cannot_say(web, kind, status, picture):
    url = web.url(kind, 3, 0)
    assert ask(url.replace("0.jpg", "robots.txt"))[0].split()[1] == status
    assert ask(url)[1] == picture


@pytest.mark.parametrize("kind", [Trouble.SILENT, Trouble.DEAD_NAME])
def test_a_silent_host_accepts_and_never_answers(web, kind):
    url = web.url(kind, 0, 0)
    host = web.resolve([(kind, 0)]).get(web.host(kind, 0), url.split("/")[2])
    with connected(f"http://{host}/") as connection:
        send(connection, url)
        connection.settimeout(3 * LATENCY_S)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("kind", [Trouble.REFUSED, Trouble.LOST_NAME])
def test_nothing_listens_where_a_host_refuses(web, kind):
    host = web.resolve([(kind, 0)]).get(web.host(kind, 0), web.url(kind, 0, 0).split("/")[2])
    with pytest.raises(ConnectionRefusedError), connected(f"http://{host}/"):
        pass


def test_dead_names_share_one_address_and_ipv6_hosts_do_not(web):
    hosts = {kind: [(kind, number) for number in range(20)] for kind in Trouble}
    assert len(set(web.resolve(hosts[Trouble.DEAD_NAME]).values())) == 1
    assert len(set(web.resolve(hosts[Trouble.IPV6]).values())) == 20
    assert not web.resolve(hosts[Trouble.FINE])


def test_there_is_no_way_to_an_ipv6_host(web):
    (target,) = web.resolve([(Trouble.IPV6, 0)]).values()
    address, _, port = target.rpartition(":")
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"unreachable|Invalid argument|not supported|Cannot assign") as failed:
        socket.create_connection((address.strip("[]"), int(port)), timeout=5)
    assert not isinstance(failed.value, ConnectionRefusedError)
    assert time.monotonic() - begun < 4


def test_the_log_has_every_request_with_what_was_open(web, folder):
    log = folder / "requests.tsv"
    begun, length = time.time(), log.stat().st_size
    here, there = web.url(Trouble.FINE, 8, 5), web.url(Trouble.SILENT, 8, 5)
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(url)) for url in (here, here, here, there)]
        for connection, url in zip(connections, (here, here, here, there), strict=True):
            send(connection, url)
        for connection in connections[:3]:
            answer(connection)
    deadline = time.monotonic() + 5
    while len(found := read_log(log, length)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    fine, silent = found[:3], found[3]
    assert {(request.host, request.path, request.status) for request in fine} == {(here.split("/")[2], "/5.jpg", 200)}
    assert [request.open_here for request in fine] == [1, 2, 3]
    assert all(request.waited_s >= LATENCY_S and request.connections >= 3 for request in fine)
    assert all(begun <= request.asked_at <= time.time() for request in found)
    assert (silent.host, silent.waited_s, silent.status, silent.open_here) == (there.split("/")[2], -1.0, 0, 1)


def test_a_later_server_can_have_the_same_ports_and_begins_anew(folder):
    tars = [folder / "images.tar"]
    with serving_trouble(tars) as first:
        assert ask(first.url(Trouble.LIMITED, 0, 0))[0].startswith(b"HTTP/1.1 429")
    with serving_trouble(tars, ports=first, limited_s=0.0) as second:
        assert second == first
        assert ask(second.url(Trouble.LIMITED, 0, 0))[0].startswith(b"HTTP/1.1 200")
