"""One build end to end on real sockets, Spark and WARCs, and what a second one does."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import webdataset
from PIL import Image

from pipeline import audit
from pipeline.demo.score import score
from pipeline.smallweb.truth import Kind, read_truth
from pipeline.vision.phash import phash_of

MEASURING = ("crawl", "extract", "text", "fetch", "dedup", "attach", "clip")


def test_every_row_is_accounted_for_from_disk(built) -> None:
    run, manifests = built
    for manifest in manifests.values():
        assert manifest.rows_in == manifest.kept + sum(manifest.dropped.values())
    assert manifests["export"].kept > 40
    assert audit.check(run) == []


def test_every_filter_does_what_the_planted_truth_asks(built, small_web) -> None:
    scores = {found.fate: found for found in score(read_truth(small_web.site), built[0])}
    for fate in (
        "crawl/dropped/robots_disallow",
        "extract/dropped/alt_missing",
        "extract/dropped/alt_empty",
        "extract/dropped/data_uri",
        "text/dropped/text_boilerplate",
        "text/dropped/text_too_short",
        "text/dropped/text_repetition",
        "text/dropped/optout_meta",
        "text/dropped/duplicate_pair",
        "fetch/dropped/http_4xx",
        "fetch/dropped/http_5xx",
        "fetch/dropped/too_small",
        "fetch/dropped/deadline_exceeded",
        "fetch/dropped/robots_disallow",
        "fetch/dropped/optout_xrobots",
        "fetch/dropped/too_many_redirects",
        "fetch/dropped/not_an_image",
        "select/dropped/duplicate_image",
    ):
        assert (scores[fate].precision, scores[fate].recall) == (1.0, 1.0), scores[fate]


def test_no_planted_address_or_number_stands_in_a_caption_t9(built, small_web, folder) -> None:
    """T9: the captions of text have what stands for them, and the rows of the corpus have none of them."""
    contacts = {truth.image_url: truth.note for truth in read_truth(small_web.site) if truth.kind is Kind.PRIVATE_ALT}
    rows = built[0].rows("text").where("image_url like '%/owned/%'").select("image_url", "caption").collect()
    captions = {row["image_url"]: row["caption"] for row in rows}
    assert captions.keys() == contacts.keys()
    for url, contact in contacts.items():
        assert captions[url].endswith("(<email>)" if "@" in contact else "(<phone>)")
    corpus = str(ds.dataset(list(folder.glob("corpus/*.parquet"))).to_table().to_pylist())
    assert corpus.count("(<email>)") > 0
    assert not [contact for contact in contacts.values() if contact in corpus]


def test_no_decoy_and_nothing_forbidden_is_ever_asked_for(built, small_web) -> None:
    asked = small_web.requests()
    assert not [path for _, path in asked if "/decoy/" in path or path.startswith("/private/")]
    assert not [path for host, path in asked if path.startswith("/members/")]


def test_the_corpus_reads_back_with_webdataset_and_pyarrow_e5_e6_e8(folder) -> None:
    """E5: members of a sample adjacent, in order. E6: tar and parquet agree. E8: texts come back as they were."""
    manifest = json.loads((folder / "corpus/manifest.json").read_text())
    samples = 0
    for shard in manifest["shards"]:
        tar_path, rows = (
            folder / f"corpus/{shard['name']}.tar",
            pq.read_table(folder / f"corpus/{shard['name']}.parquet").to_pylist(),
        )
        with tarfile.open(tar_path) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == [
            f"{row['key']}.{end}" for row in rows for end in ("jpg", "txt", "json")
        ]
        assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
            (0, 0, 0, "", 0o644)
        }
        read = list(webdataset.WebDataset(str(tar_path), shardshuffle=False, empty_check=False).decode("pil"))
        assert (
            [sample["__key__"] for sample in read] == [row["key"] for row in rows] == sorted(row["key"] for row in rows)
        )
        for sample, row in zip(read, rows, strict=True):
            assert sample["txt"] == row["caption"]
            assert sample["json"] == row
            assert sample["jpg"].size == (row["width"], row["height"])
        samples += len(rows)
    assert samples == manifest["samples"] > 0


def test_whoever_holds_the_corpus_can_recompute_the_hashes(folder) -> None:
    with tarfile.open(folder / "corpus/00000.tar") as tar:
        rows = {row["key"]: row for row in pq.read_table(folder / "corpus/00000.parquet").to_pylist()}
        for member in [member for member in tar if member.name.endswith(".jpg")][:20]:
            picture = Image.open(io.BytesIO(tar.extractfile(member).read()))
            assert phash_of(picture) == rows[member.name.removesuffix(".jpg")]["phash"]


def test_tables_are_read_by_anyone_with_pyarrow(folder) -> None:
    for stage in (*MEASURING, "select", "export"):
        manifest = json.loads((folder / stage / "manifest.json").read_text())
        rows, ledger = (ds.dataset(folder / stage / name).to_table() for name in ("rows", "ledger"))
        assert ledger.num_rows <= rows.num_rows
        assert sum(ledger["count"].to_pylist()) == sum(manifest["dropped"].values())
        assert all(field.metadata and b"description" in field.metadata for field in rows.schema)


def test_a_second_build_does_nothing_and_asks_nothing(build, copied, folder, small_web, digests) -> None:
    run_folder, asked = copied(), small_web.requests()
    _, again = build(run_folder)
    assert small_web.requests() == asked
    assert digests(run_folder) == digests(folder)
    assert {manifest.measured for manifest in again.values()} == {0}


def test_a_changed_decide_setting_measures_nothing_again(built, build, copied, small_web) -> None:
    """A minimum length moves: the same measure keys, nothing measured, nothing asked."""
    _, first = built
    asked = small_web.requests()
    _, second = build(copied(), {"text.min_chars": 40})
    assert small_web.requests() == asked
    assert second["text"].dropped["text_too_short"] > first["text"].dropped["text_too_short"]
    for stage in MEASURING:
        assert second[stage].measure_key == first[stage].measure_key
        assert second[stage].measured == 0, stage


def test_an_operate_setting_changes_no_key(build, copied, built) -> None:
    _, second = build(copied(), {"fetch.timeout_s": 2.5, "web.tries": 1})
    for stage, manifest in second.items():
        assert manifest.measure_key == built[1][stage].measure_key
        assert manifest.measured == 0


def test_a_loosened_language_filter_fetches_only_what_was_never_fetched(
    build, copied, folder, small_web, digests
) -> None:
    """And the corpus is byte for byte that of a run that always had the loosened filter."""
    run_folder = copied("extract")
    before = len(small_web.requests())
    _, tight = build(run_folder, {"text.languages": ["en"], "text.und": "drop"}, until="fetch")
    asked_tight = small_web.requests()[before:]
    _, loose = build(run_folder)
    asked_loose = small_web.requests()[before + len(asked_tight) :]
    assert loose["fetch"].measured == loose["fetch"].rows_in - tight["fetch"].rows_in > 0
    assert asked_loose
    assert not set(asked_loose) & set(asked_tight)
    assert digests(run_folder) == digests(folder)


def test_a_moved_fetch_rule_shows_in_what_attach_says_of_the_image(build, copied) -> None:
    """The kept images stay the same; the reason of a dropped one changes."""
    run_folder = copied()
    build(run_folder, {"fetch.min_side": 1}, until="attach")
    loosest = {"fetch.min_side": 1, "fetch.min_spread": 0.0, "fetch.max_aspect": 100.0}
    run, manifests = build(run_folder, loosest, until="attach")
    assert "too_small" not in manifests["fetch"].dropped
    assert not [row for row in run.rows("attach").collect() if row["image_verdict"] == "fetch/dropped/too_small"]


def test_a_users_rule_is_in_funnel_ledger_and_proof(build, copied) -> None:
    rule = [{"stage": "select", "name": "small_and_german", "drop_when": "width < 300 and lang = 'de'"}]
    run, manifests = build(copied(), {"rules": rule})
    assert manifests["select"].dropped["user:small_and_german"] > 0
    assert audit.check(run) == []
