"""The funnel from the manifests alone: both units, what is missing, and what does not add up."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.audit.counts import FindingCode, funnel_table
from pipeline.audit.terminal import print_funnel
from pipeline.core.errors import InputError
from pipeline.core.manifest import publish
from pipeline.core.run import Run


def edit(run: Run, stage: str, **changes: Any) -> None:
    publish(run.storage, run.manifest(stage).model_copy(update=changes))


def printed(run: Run, width: int) -> list[str]:
    stream = io.StringIO()
    print_funnel(funnel_table(run), Console(file=stream, width=width))
    return stream.getvalue().splitlines()


def test_every_stage_is_counted_in_its_own_unit_and_in_what_it_hands_on(toy: Run) -> None:
    funnel = funnel_table(toy)
    counts = {count.stage: count for count in funnel.stages}
    assert [(c.stage, c.unit, c.keeps_unit) for c in funnel.stages] == [
        ("extract", "candidate", "candidate"),
        ("text", "candidate", "pair"),
        ("fetch", "image", "image"),
        ("select", "pair", "pair"),
        ("export", "pair", "pair"),
    ]
    assert (counts["extract"].rows_in, counts["extract"].dropped) == (70, (("alt_empty", 42),))
    assert counts["text"].dropped == (("duplicate_pair", 12), ("text_too_short", 4))
    assert (counts["text"].kept, counts["text"].handed_on) == (12, 12)
    assert dict(counts["select"].dropped) == {"image_dropped": 2, "user:no_bridges": 1}
    assert all(count.rows_in == count.kept + count.rows_dropped for count in funnel.stages)
    assert (funnel.broken, funnel.incomplete, funnel.verdict) == ((), (), "every row is accounted for")


def test_a_stage_whose_counts_do_not_add_up_breaks_the_funnel(half_toy: Run) -> None:
    """A4."""
    edit(half_toy, "extract", rows_in=71)
    funnel = funnel_table(half_toy)
    assert [finding.code for finding in funnel.broken] == [FindingCode.LEDGER_MISMATCH]
    assert funnel.broken[0].text == "71 candidates in, 28 kept, 42 dropped"
    assert funnel.verdict.startswith("BROKEN: ledger_mismatch: extract: 71 candidates in")


def test_a_stage_that_read_other_rows_than_its_source_keeps_breaks_the_funnel(half_toy: Run) -> None:
    """A4: equal counts do not help where the digests of the keys differ."""
    keeps = half_toy.manifest("extract").keeps
    edit(half_toy, "extract", keeps=keeps.model_copy(update={"digest": "0" * 16}))
    (finding,) = funnel_table(half_toy).broken
    assert (finding.stage, finding.code) == ("text", FindingCode.LEDGER_MISMATCH)
    assert keeps.digest in finding.text
    assert "0" * 16 in finding.text


def test_a_reason_outside_the_closed_set_is_shown_as_such(half_toy: Run) -> None:
    """A5."""
    edit(half_toy, "text", dropped={"duplicate_pair": 12, "too_ugly": 3, "user:unknown": 1})
    funnel = funnel_table(half_toy)
    assert [finding.code for finding in funnel.broken] == [FindingCode.LEDGER_INVALID] * 2
    assert "'too_ugly'" in funnel.broken[0].text
    assert any("too_ugly 3" in line for line in printed(half_toy, 120))


def test_stages_that_have_not_run_are_named_and_have_no_numbers(half_toy: Run) -> None:
    """A6: a stage with committed parts and no manifest is half done."""
    half_toy.storage.create("fetch/parts/0.json", b"{}")
    funnel = funnel_table(half_toy)
    assert [str(stage) for stage in funnel.incomplete] == [
        "fetch is half done",
        "select has not run",
        "export has not run",
    ]
    lines = printed(half_toy, 100)
    assert [line.split() for line in lines if line.startswith(("fetch", "select"))] == [
        ["fetch", "half", "done"],
        ["select", "not", "run"],
    ]
    assert lines[-1].startswith("incomplete: fetch is half done")


def test_a_folder_without_any_manifest_is_no_run_to_audit(with_config, tmp_path) -> None:
    """A7."""
    with pytest.raises(InputError, match=r"input_missing.*no stage has run"):
        funnel_table(with_config(tmp_path / "nothing"))


def test_a_manifest_that_is_none_is_refused_by_name(half_toy: Run) -> None:
    """A7."""
    half_toy.storage.replace("text/manifest.json", b'{"stage": "text"')
    with pytest.raises(InputError, match=r"input_unreadable: text/manifest\.json"):
        funnel_table(half_toy)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_ends_with_the_verdict(toy: Run, width: int) -> None:
    lines = printed(toy, width)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert lines[-1] == "every row is accounted for"
    text = next(line for line in lines if line.startswith("text"))
    assert text.split()[:6] == ["text", "candidate", "28", "12", "42.9%", "16"]
    assert "duplicate_pair 12" in text
