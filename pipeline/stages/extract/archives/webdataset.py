"""Tars of images with their texts on disk: img2dataset's output, or any other tar in WebDataset layout.

A tar is read in place. Its headers give the place of each image, and (shard, offset, length) goes into the row. Of the
members only texts and JSON are read, and the bytes of an image if it has no other name.

    image     the member KEY.jpg (or another image ending)
    text      KEY.txt, else a field of KEY.json; with ``extract.caption_column`` that field. A list gives several texts
    URL       a field of KEY.json; if it is missing or unusable, ``urn:sha256:`` and the sha256 of the image
    listed    sha256 and boxes to blur: the fields that the settings name

Neighbours of one key are a sample, as WebDataset has it. Members of a key that are apart (``tar cf x.tar *.jpg *.txt``)
are joined if there is no doubt what belongs together: each ending once. A tar that is cut off gives the
samples before the cut, and one row for the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.core.boundary import attempted, said
from pipeline.core.sample_names import MAX_TEXT_BYTES, PICTURES, key_and_ending
from pipeline.core.tars import BrokenTar, tar_members
from pipeline.stages.extract.archives.text_files import text_of_file
from pipeline.stages.extract.candidates import NO_PAGE, Row, candidate, candidate_without_url, lost
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.lists.list_names import CAPTION_NAMES, URL_NAMES, usual
from pipeline.stages.extract.lists.picture_columns import with_listed
from pipeline.stages.extract.reasons import Reason

CHUNK_BYTES = 2**20
TEXT, JSON = "txt", "json"


class Member(NamedTuple):
    """The place of a file's bytes in a tar."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The members of one key by their ending."""

    key: str
    members: dict[str, Member]

    @property
    def picture(self) -> Member | None:
        return next((self.members[ending] for ending in PICTURES if ending in self.members), None)

    @property
    def is_whole(self) -> bool:
        """Whether there is an image and a member that may have its text."""
        return self.picture is not None and not self.members.keys().isdisjoint((TEXT, JSON))


def read_webdataset(path: str | Path, fingerprint: str, config: Config) -> Iterator[Row]:
    """Rows of all samples of a plain tar; one without an image or with broken JSON is lost completely."""
    shard = Path(path)
    with shard.open("rb", buffering=0) as file:
        try:
            for sample in _samples(_members(file)):
                yield from _rows_of(sample, file, shard, fingerprint, config)
        except BrokenTar as broken:
            reason = Reason.ARCHIVE_TRUNCATED if broken.is_cut else Reason.ARCHIVE_MALFORMED
            detail = f"{shard.name}, byte {broken.offset}: {broken.why}"
            yield lost(fingerprint, broken.offset, reason, detail)


def _rows_of(sample: Sample, file: BinaryIO, shard: Path, fingerprint: str, config: Config) -> list[Row]:
    """The rows of a sample; one without an image, or whose text or JSON cannot be read, is lost."""
    key = _well_formed(sample.key)
    named, where = {"source_key": f"{shard.stem}/{key}"}, f"{shard.name}, {key}"

    def broken(error: Exception) -> list[Row]:
        first = min(member.offset for member in sample.members.values())
        return [lost(fingerprint, first, Reason.RECORD_MALFORMED, _well_formed(f"{where}: {said(error)}"))]

    rows = attempted(lambda: list(_rows_of_sound(sample, file, where, fingerprint, config)), broken)
    return [row | named for row in rows]


def _rows_of_sound(sample: Sample, file: BinaryIO, where: str, fingerprint: str, config: Config) -> Iterator[Row]:
    """ValueError and other exceptions for a sample that cannot be read."""
    picture = sample.picture
    if picture is None:
        raise ValueError(f"no picture among {', '.join(sorted(sample.members))}")
    values = _json_of(sample, file)
    url, texts = _url_and_texts(sample, values, file, config)
    place = {"image_shard": fingerprint, "image_offset": picture.offset, "image_bytes": picture.size}
    sha256 = None
    for text in texts:
        row = candidate(NO_PAGE, None, url, text, config)
        if row["url_id"] is None:  # it is never requested, so an unusable URL loses no image
            sha256 = sha256 or _sha256(file, picture)
            row = candidate_without_url(sha256, text)
        yield with_listed(row, values, config.columns, Reason.RECORD_MALFORMED, where) | place


def _json_of(sample: Sample, file: BinaryIO) -> dict[str, Any]:
    """The object in KEY.json; empty if there is none, ValueError for broken JSON."""
    values = json.loads(_read(file, sample.members[JSON])) if JSON in sample.members else {}
    if not isinstance(values, dict):
        raise ValueError(f"its JSON is a {type(values).__name__}, no object")
    return values


def _url_and_texts(
    sample: Sample, values: dict[str, Any], file: BinaryIO, config: Config
) -> tuple[str, list[str | None]]:
    """The sample's URL, empty if it has none, and its texts; [None]: it has none."""
    if TEXT in sample.members and not config.caption_column:
        text: Any = text_of_file(_read(file, sample.members[TEXT]))
    else:
        text = _field(values, config.caption_column, CAPTION_NAMES)
    url = _field(values, config.url_column, URL_NAMES)
    texts = [_well_formed(text) for text in (text if isinstance(text, list) else [text]) if isinstance(text, str)]
    return _well_formed(url) if isinstance(url, str) else "", [*texts] or [None]


def _field(values: dict[str, Any], wanted: str, names: tuple[str, ...]) -> Any:
    """The field that a setting names, else the first that has one of the usual names, however it is written."""
    if wanted:
        return values.get(wanted)
    known = [name for name, value in values.items() if value is not None]
    return next((values[name] for name in usual(known, names)), None)


def _samples(members: Iterator[tuple[str, Member]]) -> Iterator[Sample]:
    """Whole samples in order; then samples of keys whose members are apart, and incomplete samples.

    Raises BrokenTar after everything before the break.
    """
    rest: dict[str, list[Sample]] = defaultdict(list)
    broken = None
    try:
        for sample in _neighbours(members):
            if sample.is_whole:
                yield sample
            else:
                rest[sample.key].append(sample)
    except BrokenTar as error:
        broken = error
    for key, pieces in rest.items():
        endings = Counter(ending for piece in pieces for ending in piece.members)
        if max(endings.values()) == 1:
            yield Sample(key, {ending: member for piece in pieces for ending, member in piece.members.items()})
        else:
            yield from pieces
    if broken:
        raise broken


def _neighbours(members: Iterator[tuple[str, Member]]) -> Iterator[Sample]:
    """Members of one key that follow one another. An ending that occurs again begins another sample.

    If the tar is cut, the sample that may continue there is lost with the rest.
    """
    sample, broken = Sample("", {}), None
    try:
        for name, member in members:
            named = key_and_ending(name)
            if named is None:
                continue
            key, ending = named
            if key != sample.key or ending in sample.members:
                if sample.members:
                    yield sample
                sample = Sample(key, {})
            sample.members[ending] = member
    except BrokenTar as error:
        broken = error
    if sample.members and (broken is None or _is_past(broken, sample)):
        yield sample
    if broken:
        raise broken


def _is_past(broken: BrokenTar, sample: Sample) -> bool:
    """Whether no member of ``sample`` may be lost: another one was begun, or the last one has ended."""
    return broken.member is not None and not broken.member.removeprefix("./").startswith(f"{sample.key}.")


def _members(file: BinaryIO) -> Iterator[tuple[str, Member]]:
    """Name and place of every plain file, in order. Raises BrokenTar, also for what stands behind the end."""
    for member in tar_members(file):
        if member.is_file:
            yield member.name, Member(member.start, member.size)
    offset = file.tell()
    while block := os.pread(file.fileno(), CHUNK_BYTES, offset):
        if any(block):
            raise BrokenTar(offset, "more after the mark of a tar's end: are these two?", member="")
        offset += len(block)


def _read(file: BinaryIO, member: Member) -> bytes:
    if member.size > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {member.size} bytes (limit {MAX_TEXT_BYTES})")
    return os.pread(file.fileno(), member.size, member.offset)


def _sha256(file: BinaryIO, member: Member) -> str:
    digest = hashlib.sha256()
    for start in range(0, member.size, CHUNK_BYTES):
        digest.update(os.pread(file.fileno(), min(CHUNK_BYTES, member.size - start), member.offset + start))
    return digest.hexdigest()


def _well_formed(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no table accepts."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
