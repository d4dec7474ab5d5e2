"""The texts of pages as Chromium reads them, without scripts: charset, markup and alts in one."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from pipeline.stages.extract.pages.charset import decode

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
PATIENCE_S = 300
READER = """<!doctype html><meta charset=utf-8><script>
async function read(n) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-same-origin";
  const loaded = new Promise(done => { frame.onload = done; setTimeout(done, 20000); });
  frame.src = "/page/" + n;
  document.body.append(frame);
  await loaded;
  const page = frame.contentDocument;
  const alts = [...page.querySelectorAll("img[alt]")].map(image => image.getAttribute("alt"));
  frame.remove();
  return {charset: page.characterSet, alts};
}
onload = async () => {
  const found = [];
  for (let n = 0; n < COUNT; n++) found.push(await read(n));
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
};
</script>"""


@contextmanager
def served(pages: list[bytes]) -> Iterator[tuple[str, threading.Event, list[dict]]]:
    """A server of the pages, without a charset in its answers, and what the browser sends back."""
    came, found = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/page/")[2]
            is_page = name != self.path and name.isdecimal()
            body = pages[int(name)] if is_page else READER.replace("COUNT", str(len(pages))).encode()
            self.send_response(200 if is_page or self.path == "/" else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            found.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", came, found
    finally:
        server.shutdown()


def as_chromium_reads(pages: list[bytes], folder: Path) -> list[dict]:
    with served(pages) as (url, came, found):
        command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder}", url]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert came.wait(PATIENCE_S), "Chromium has not answered"
        finally:
            browser.kill()
            browser.wait()
    return found


def alts(html: bytes) -> list[str]:
    tree = LexborHTMLParser(decode(html, None).text)
    return [image.attributes["alt"] or "" for image in tree.css("img[alt]")]


WORDS = {
    "windows-1251": "Красная лодка на тихом озере",
    "koi8-r": "Старая мельница у реки",
    "koi8-u": "Їжак їсть яблуко під ґанком",
    "iso-8859-2": "Żółta łódź na jeziorze",
    "windows-1250": "Červený člun na klidném jezeře",
    "windows-1254": "Gölde kırmızı bir tekne, ağaçlar",
    "iso-8859-7": "Κόκκινη βάρκα στη λίμνη",
    "windows-1255": "סירה אדומה באגם",
    "windows-1256": "قارب أحمر على البحيرة",
    "windows-1258": "Con thuyền đỏ",
    "windows-874": "เรือสีแดงในทะเลสาบ",
    "gbk": "平静湖面上的红色小船",
    "gb18030": "湖边的老磨坊",
    "big5": "湖上的紅色小船",
    "shift_jis": "静かな湖の赤いボート",
    "euc-jp": "静かな湖の赤いボート",
    "iso-2022-jp": "静かな湖の赤いボート",
    "euc-kr": "잔잔한 호수 위의 빨간 배",
    "macintosh": "café à la crème",
    "utf-8": "Красная лодка, 红色小船, café",
}
CODECS = {"windows-874": "cp874", "windows-1258": "cp1258", "macintosh": "mac-roman"}
DECLARED = (
    "<meta charset={0}>",
    "<meta content='text/html; charset={0}' http-equiv=content-type>",
    "<?xml version='1.0' encoding='{0}'?>",
    "<style>" + ".a{{color:red}}" * 900 + "</style><meta charset='{0}'>",
    "<!-- <meta charset=utf-8> --><title>x</title><META CHARSET = {0} >",
)


def page_in(label: str, declaration: str) -> bytes:
    text = f"{declaration.format(label)}<body>" + f"<img src=a.jpg alt='{WORDS[label]}'>" * 3
    return text.encode(CODECS.get(label, label), "ignore")


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_real_pages_have_the_alts_that_chromium_reads_x50(shared_data, tmp_path) -> None:
    """X50: a page that is UTF-8 in spite of what it declares is read as UTF-8; Chromium shows it as declared."""
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        names = [name for name in tar.getnames() if name.endswith(".html")]
        pages = [tar.extractfile(name).read() for name in names]
    found = as_chromium_reads(pages, tmp_path)
    differ = [
        (name, one["charset"]) for name, page, one in zip(names, pages, found, strict=True) if one["alts"] != alts(page)
    ]
    assert differ == [("pl_trojmiasto.wyborcza.pl.html", "ISO-8859-2")]  # it is UTF-8


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_a_declared_charset_gives_the_alts_that_chromium_reads_x50(tmp_path) -> None:
    """X50"""
    cases = [(label, declaration[:20]) for label in WORDS for declaration in DECLARED]
    pages = [page_in(label, declaration) for label in WORDS for declaration in DECLARED]
    found = as_chromium_reads(pages, tmp_path)
    differ = [case for case, page, one in zip(cases, pages, found, strict=True) if one["alts"] != alts(page)]
    assert differ == []
