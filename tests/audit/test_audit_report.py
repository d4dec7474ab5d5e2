"""The report: one page that opens offline, shows hostile text as text, and says BROKEN where it must."""

from __future__ import annotations

import base64
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from pipeline.audit.corpus import THUMBNAIL_BYTES, thumbnail
from pipeline.audit.counts import Finding, StageCount, funnel_table
from pipeline.audit.report import charts, write_report
from pipeline.core.errors import InputError, StageError
from pipeline.core.manifest import publish
from pipeline.core.run import Run

SECRETS = (b"hunter2", b"jane.doe", b"7946 0958")


@pytest.fixture(scope="module")
def report(toy_folder, tmp_path_factory: pytest.TempPathFactory, run_in) -> Run:
    """A run with its report written."""
    run = run_in(toy_folder, tmp_path_factory.mktemp("report") / "run")
    write_report(run, funnel_table(run))
    return run


def page(run: Run) -> str:
    return run.storage.read("audit/report.html").decode()


def outputs(run: Run) -> dict[str, bytes]:
    folder = run.storage.path("audit")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_page_asks_the_network_for_nothing(report: Run) -> None:
    """A2: every picture is a data: URI, and the content policy forbids the rest."""
    tree = LexborHTMLParser(page(report))
    assert [
        node.tag
        for name in ("script", "a", "link", "iframe", "object", "embed", "form", "base", "svg")
        for node in tree.css(name)
    ] == []
    policy = tree.css_first("meta[http-equiv=Content-Security-Policy]").attributes["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    pictures = [node.attributes["src"] for node in tree.css("img")]
    assert len(pictures) == 9
    assert all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    style = "".join(node.text() for node in tree.css("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_text_is_text(report: Run) -> None:
    """A1, A9: markup, handlers and javascript: stand on the page as they are written, and do nothing."""
    tree = LexborHTMLParser(page(report))
    text = tree.body.text()
    for caption in (
        "<script>alert(1)</script> on a chalk board",
        "javascript:alert(1) printed on a mug",
        "a sign that reads \\u202egnp.exe",
    ):
        assert caption in text
    assert not [
        name
        for node in tree.css("*")
        for name in node.attributes
        if name.startswith("on") or name in ("href", "action")
    ]
    assert "\u202e" not in page(report)
    assert "w" * 299 + "…" in text
    assert "w" * 301 not in text


def test_secrets_are_in_no_output_byte(report: Run) -> None:
    """A8, R22: passwords in URLs, e-mail addresses and telephone numbers."""
    for name, data in outputs(report).items():
        content = data if not name.endswith(".parquet") else repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
        assert not [secret for secret in SECRETS if secret in content], name


def test_thumbnails_are_our_own_small_jpegs(report: Run) -> None:
    """A2."""
    for node in LexborHTMLParser(page(report)).css("img"):
        data = base64.b64decode(node.attributes["src"].partition(",")[2])
        assert len(data) <= THUMBNAIL_BYTES
        assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_even_noise_becomes_a_small_thumbnail_and_junk_none() -> None:
    """A2."""
    stream = io.BytesIO()
    Image.frombytes("RGB", (600, 600), os.urandom(600 * 600 * 3)).save(stream, "PNG")
    assert len(base64.b64decode(thumbnail(stream.getvalue()).partition(",")[2])) <= THUMBNAIL_BYTES
    assert thumbnail(b"<svg onload=alert(1)>") is None
    assert thumbnail(stream.getvalue()[:-500]) is None


def test_every_reason_has_count_share_threshold_and_samples(report: Run) -> None:
    tree = LexborHTMLParser(page(report))
    cells = {
        row.css_first("td").text(): [cell.text() for cell in row.css("td")]
        for row in tree.css("table.reasons tr")
        if row.css_first("td")
    }
    assert cells["alt_empty"][1:3] == ["42", "60.0 %"]
    assert cells["text_too_short"][1:] == ["4", "14.3 %", "3", "5"]
    assert "user:no_bridges" in cells
    samples = {
        details.css_first("summary").text(): len(details.css(".samples tr")) - 1 for details in tree.css("details")
    }
    assert samples["duplicate_pair: 10 samples"] == 10
    assert samples["text_too_short: 4 samples"] == 4


def test_the_same_ledgers_give_the_same_bytes(report: Run) -> None:
    """A11."""
    before = outputs(report)
    write_report(report, funnel_table(report))
    assert set(before) == {"report.html", "stats.json", "tables/funnel.parquet", "tables/reasons.parquet"}
    assert outputs(report) == before


def test_numbers_for_machines_stand_under_paths(report: Run) -> None:
    stats = json.loads(report.storage.read("audit/stats.json"))
    assert stats["counts"]["text/dropped/text_too_short"] == 4
    assert stats["counts"]["text/handed_on"] == 12
    assert stats["findings"] == []
    reasons = pq.read_table(report.storage.path("audit/tables/reasons.parquet")).to_pylist()
    assert {
        "stage": "text",
        "reason": "text_too_short",
        "rows": 4,
        "lowest": 3.0,
        "highest": 3.0,
        "threshold": "5",
        "known": True,
    }.items() <= next(row for row in reasons if row["reason"] == "text_too_short").items()


def test_broken_counts_are_marked_at_the_top_and_the_report_is_written(half_toy: Run) -> None:
    """A4: the numbers stand on the page; the funnel's findings give the exit code."""
    publish(half_toy.storage, half_toy.manifest("extract").model_copy(update={"rows_in": 71}))
    funnel = funnel_table(half_toy)
    write_report(half_toy, funnel)
    header = LexborHTMLParser(page(half_toy)).css_first("header").text()
    assert "BROKEN." in header
    assert "71 candidates in, 28 kept, 42 dropped" in header
    assert funnel.broken


def test_a_stage_that_has_not_run_is_named_and_has_no_share(half_toy: Run) -> None:
    """A6."""
    write_report(half_toy, funnel_table(half_toy))
    tree = LexborHTMLParser(page(half_toy))
    assert "fetch has not run" in tree.css_first("header").text()
    assert [node.text() for node in tree.css("section.stage > h2")] == ["extract", "text", "Settings"]


def test_a_foreign_reason_in_a_ledger_is_shown_as_such_and_ends_with_its_code(half_toy: Run, forge) -> None:
    """A5: never under "other"; the report is written first."""

    def edit(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("reason")
        return table.set_column(
            place, table.schema.field(place), pa.array(["<b>made up", None, *table["reason"].to_pylist()[2:]])
        )

    forge(half_toy, "text", "ledger", edit)
    funnel = funnel_table(half_toy)
    assert funnel.broken == ()
    with pytest.raises(StageError, match="ledger_invalid: text: 1 rows of the ledger have"):
        write_report(half_toy, funnel)
    text = LexborHTMLParser(page(half_toy)).body.text()
    assert "BROKEN." in text
    assert "<b>made up (not a reason of this stage)" in text
    assert "(no reason)" in text


@pytest.mark.parametrize("harm", ["gone", "unreadable"])
def test_without_a_ledger_no_report_is_written_and_the_old_one_stays(half_toy: Run, harm: str) -> None:
    """A7, A11."""
    half_toy.storage.replace("audit/report.html", b"the old one")
    path = half_toy.storage.path(half_toy.manifest("text").files["ledger"][0].path)
    path.unlink() if harm == "gone" else path.write_bytes(b"no parquet at all")
    with pytest.raises(InputError, match="input_missing" if harm == "gone" else "input_unreadable"):
        write_report(half_toy, funnel_table(half_toy))
    assert outputs(half_toy) == {"report.html": b"the old one"}


def test_a_report_of_known_findings_is_written_whatever_is_unreadable(half_toy: Run) -> None:
    """A4: `audit --check` found a flipped byte; the page says so, and the manifest's counts stand in."""
    path = half_toy.storage.path(half_toy.manifest("text").files["ledger"][0].path)
    path.write_bytes(b"no parquet at all")
    findings = [Finding.mismatch("text", "text/ledger/x.parquet has 17 bytes, 900 when it was listed")]
    write_report(half_toy, funnel_table(half_toy), findings)
    tree = LexborHTMLParser(page(half_toy))
    assert "17 bytes, 900 when it was listed" in tree.css_first("header").text()
    assert "text_too_short" in tree.body.text()


def test_bars_of_one_unit_share_a_scale_and_every_row_is_drawn() -> None:
    dropped = tuple((f"reason_{number}", 10 - number) for number in range(7))
    counts = [
        StageCount("extract", "candidate", "candidate", 200, 151, 151, dropped, 0, 1.0, False),
        StageCount("text", "candidate", "pair", 151, 151, 100, (), 0, 1.0, False),
        StageCount("fetch", "image", "image", 0, 0, 0, (), 0, 1.0, False),
        StageCount("clip", "pair", "pair", 0, 0, 0, (), 0, 1.0, True),
    ]
    first, second = charts(counts)
    assert (first.unit, first.full, second.unit) == ("candidate", 200, "image")
    assert sum(segment.width for segment in first.bars[0].segments) == pytest.approx(100, abs=0.01)
    assert first.bars[0].segments[-1].label == "3 more reasons"
    assert first.bars[1].segments[0].width == 75.5
    assert second.bars[0].segments == ()
