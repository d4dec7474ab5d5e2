"""`audit --check`: whatever is changed by hand in a finished run is found, also by a careful hand."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.audit.counts import Finding
from pipeline.audit.proof import check
from pipeline.core.errors import InputError
from pipeline.core.run import Run


def told(findings: list[Finding]) -> str:
    return "\n".join(str(finding) for finding in findings)


def without_first_row(table: pa.Table) -> pa.Table:
    return table.slice(1)


def with_first_reason(reason: str | None) -> object:
    def edit(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("reason")
        return table.set_column(place, table.schema.field(place), pa.array([reason, *table["reason"].to_pylist()[1:]]))

    return edit


def test_a_run_that_nobody_touched_is_proved(toy: Run) -> None:
    assert check(toy) == []


@pytest.mark.parametrize("role", ["rows", "ledger"])
def test_a_row_taken_out_of_a_file_is_found_by_its_digest(half_toy: Run, role: str) -> None:
    file = half_toy.manifest("text").files[role][0]
    path = half_toy.storage.path(file.path)
    pq.write_table(without_first_row(pq.read_table(path)), path)
    found = check(half_toy)
    assert any(file.path in finding.text for finding in found)
    assert {(finding.stage, finding.code.value) for finding in found} == {("text", "ledger_mismatch")}


@pytest.mark.parametrize("role", ["rows", "ledger"])
def test_a_row_taken_out_is_found_even_with_a_forged_manifest(half_toy: Run, forge, role: str) -> None:
    """R16: the counts on disk are held against one another, not believed."""
    forge(half_toy, "text", role, without_first_row)
    found = check(half_toy)
    assert found
    assert {(finding.stage, finding.code.value) for finding in found} == {("text", "ledger_mismatch")}
    assert "28 candidates in; on disk" in told(found) or "entries of the ledger" in told(found)


def test_an_edited_reason_is_found_even_with_a_forged_manifest(half_toy: Run, forge) -> None:
    first = pq.read_table(half_toy.storage.path(half_toy.manifest("text").files["ledger"][0].path))["reason"][0].as_py()
    other = "text_too_short" if first == "duplicate_pair" else "duplicate_pair"
    forge(half_toy, "text", "ledger", with_first_reason(other))
    found = told(check(half_toy))
    assert "1 entries of the ledger do not follow from rows and rules" in found
    assert "1 entries of the ledger are missing" in found


def test_a_reason_that_is_none_is_invalid(half_toy: Run, forge) -> None:
    """A5: a foreign reason, no reason, two reasons for one row."""
    forge(half_toy, "text", "ledger", with_first_reason("other"))
    forge(half_toy, "extract", "ledger", lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    found = told(check(half_toy))
    assert "ledger_invalid: text: 1 rows of the ledger have 'other', which is not a reason of this stage" in found
    assert "ledger_invalid: extract: 1 rows have two reasons or more in the ledger" in found


def test_an_entry_without_a_reason_is_invalid(half_toy: Run, forge) -> None:
    """A5."""
    forge(half_toy, "text", "ledger", with_first_reason(None))
    assert "ledger_invalid: text: 1 rows of the ledger have no reason" in told(check(half_toy))


@pytest.mark.parametrize("role", ["rows", "ledger"])
def test_one_flipped_byte_is_found(half_toy: Run, role: str) -> None:
    file = half_toy.manifest("extract").files[role][0]
    path = half_toy.storage.path(file.path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert any(file.path in finding.text and "sha256" in finding.text for finding in check(half_toy))


def test_a_flipped_byte_and_a_stranger_in_the_corpus_are_found(toy: Run) -> None:
    path = toy.storage.path("corpus/00000.tar")
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.unlink()
    path.write_bytes(data)
    toy.storage.create("corpus/00009.tar", b"")
    found = told(check(toy))
    assert "corpus/00000.tar has sha256" in found
    assert "corpus/00009.tar is not listed in any manifest" in found


def test_a_sample_taken_out_of_the_corpus_is_found_even_with_forged_manifests(toy: Run, forge) -> None:
    forge(toy, "export", "corpus", without_first_row)
    found = told(check(toy))
    assert "the corpus holds 8 pairs" in found


def test_a_config_with_other_rules_is_told_from_a_broken_ledger(half_toy: Run, with_config) -> None:
    run = with_config(half_toy.storage.root, text={"min_chars": 9})
    (finding,) = check(run)
    assert finding.text == "its rules differ from those of this config; run pairmill build"


@pytest.mark.parametrize("role", ["rows", "ledger"])
def test_a_ledger_that_is_gone_is_missing_input(half_toy: Run, role: str) -> None:
    """A7."""
    half_toy.storage.delete(half_toy.manifest("text").files[role][0].path)
    with pytest.raises(InputError, match=f"input_missing: text/{role}/"):
        check(half_toy)


def test_the_planted_rows_are_what_the_tests_believe(toy: Run) -> None:
    table = pq.read_table(toy.storage.path(toy.manifest("select").files["ledger"][0].path))
    assert pc.sum(table["count"]).as_py() <= 3
    assert toy.manifest("export").kept == 9
