"""Where pairs lie: corpora, WebDataset tars, JSON lists. Found and checked first, then indexed, then read in place.

The index knows of every sample its key, its captions, and the file, offset and length of its image; images
themselves are read when they are needed. Samples are in order of key (then file, then offset), so nothing depends on
the order or number of files. Captions are held in Arrow buffers: 10⁷ samples take about 1.5 GB.

A sample without an image or without a caption is left out: the index lists its key as unreadable (N9). A file that is
missing, cut off or not as its manifest says stops the work before it starts (N10).
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from pipeline.core.boundary import attempted, contained, said
from pipeline.core.corpus_manifest import parse
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.ids import key_of
from pipeline.core.sample_names import MAX_TEXT_BYTES, key_and_ending
from pipeline.core.tars import TarMember, tar_members

PICTURES = ("jpg", "jpeg", "png", "webp")

_ROW = pa.schema(
    {
        "key": pa.string(),
        "file": pa.int32(),
        "offset": pa.int64(),
        "bytes": pa.int64(),
        "captions": pa.list_(pa.string()),
    }
)


@dataclass(frozen=True)
class Source:
    """A file with samples. ``sha256`` is the manifest's where there is one, else that of the bytes read now."""

    path: Path
    kind: Literal["tar", "list"]
    sha256: str
    samples: int | None = None  # as the manifest says
    images: Path | None = None  # of a list: where its paths begin


def find_sources(data: Sequence[str], images: str = "", verify: bool = False) -> list[Source]:
    """The files behind ``data``, each once, in order of their digests; wildcards are resolved.

    InputError: ``input_missing``, ``input_unreadable``, ``shard_mismatch`` (size, or sha256 with ``verify``).
    """
    if not data:
        raise InputError(ErrorCode.CONFIG_INVALID, "data names no corpus, tar or list: there is nothing to read")
    found = [source for place in data for source in _sources(place, images, verify)]
    return sorted({source.sha256: source for source in found}.values(), key=lambda source: source.sha256)


def fingerprint(sources: Iterable[Source]) -> str:
    """32 hex digits that name the data, wherever it lies and in whatever order it is given."""
    return key_of("pairs", *sorted(f"{source.kind} {source.sha256}" for source in sources))


class Index:
    """All samples of some sources, in order of key. Reading images is thread-safe."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """InputError: ``shard_mismatch``, ``input_unreadable``, ``input_schema``."""
        self.unreadable: list[str] = []  # keys of samples that have no image or no caption
        self._files: list[Path] = []
        self._open = threading.local()
        tables = [pa.Table.from_pylist(list(self._rows(source)), _ROW) for source in sources]
        table = pa.concat_tables([_ROW.empty_table(), *tables])
        order = [(column, "ascending") for column in ("key", "file", "offset")]  # files: in order of their digests
        self._table = table.sort_by(order).combine_chunks()
        self._places = [self._table[column].to_numpy() for column in ("file", "offset", "bytes")]
        self._captions = self._table["captions"].combine_chunks()
        self.unreadable.sort()

    def __len__(self) -> int:
        rows: int = self._table.num_rows
        return rows

    def key(self, sample: int) -> str:
        key: str = self._table["key"][sample].as_py()
        return key

    def captions(self, sample: int) -> list[str]:
        """At least one, none of them empty."""
        captions: list[str] = self._captions[sample].as_py()
        return captions

    def picture(self, sample: int) -> bytes:
        """The bytes of the sample's image as they are stored. StageError ``shard_unreadable`` names the file."""
        file, offset, size = (int(column[sample]) for column in self._places)
        path = self._files[file]
        try:
            data = os.pread(self._descriptor(file), size, offset)
        except OSError as error:
            raise StageError(
                ErrorCode.SHARD_UNREADABLE, f"{path}: {error.strerror}; repair the file and rerun"
            ) from error
        if len(data) != size:
            raise StageError(
                ErrorCode.SHARD_UNREADABLE, f"{path} ends before byte {offset + size}; repair the file and rerun"
            )
        return data

    def _descriptor(self, file: int) -> int:
        """Of the file that this thread has open: one at a time, since a list has a file for every image."""
        if getattr(self._open, "file", None) != file:
            stream = self._files[file].open("rb")
            if hasattr(self._open, "stream"):
                self._open.stream.close()
            self._open.stream, self._open.file = stream, file
        descriptor: int = self._open.stream.fileno()
        return descriptor

    def _rows(self, source: Source) -> Iterator[dict[str, Any]]:
        samples = _tar_samples(source.path) if source.kind == "tar" else _list_samples(source)
        found = 0
        for found, (key, place, captions) in enumerate(samples, 1):  # noqa: B007 - counted
            captions = [caption.strip() for caption in captions if caption.strip()]
            if place is None or not captions:
                self.unreadable.append(key)
                continue
            path, offset, size = place
            if not self._files or self._files[-1] != path:
                self._files.append(path)
            yield {"key": key, "file": len(self._files) - 1, "offset": offset, "bytes": size, "captions": captions}
        if source.samples not in (None, found):
            raise InputError(
                ErrorCode.SHARD_MISMATCH, f"{source.path} has {found:,} samples, its manifest says {source.samples:,}"
            )


# -- finding files


def _sources(place: str, images: str, verify: bool) -> Iterator[Source]:
    is_glob = glob.has_magic(place) and not Path(place).exists()  # a folder may be named "my run [v1]"
    matches = sorted(glob.glob(place, recursive=True)) if is_glob else [place]
    if not matches:
        raise InputError(ErrorCode.INPUT_MISSING, f"nothing matches {place}")
    for path in map(Path, matches):
        if path.is_dir():
            yield from _of_folder(path, verify)
        elif not path.exists():
            raise InputError(ErrorCode.INPUT_MISSING, f"{path} is not there")
        elif path.suffix == ".tar":
            yield Source(path, "tar", _sha256([path]))
        elif path.suffix == ".json":
            yield _list_source(path, Path(images) if images else path.parent)
        else:
            raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: neither a corpus folder nor a .tar nor a .json list")


def _of_folder(folder: Path, verify: bool) -> Iterator[Source]:
    """A corpus by its manifest, a run by its corpus, any other folder by the tars in it."""
    if (folder / "corpus" / "manifest.json").is_file():
        folder = folder / "corpus"
    manifest = folder / "manifest.json"
    if manifest.is_file():
        for shard in parse(manifest.read_bytes(), manifest).shards:
            tar, path = shard.files["tar"], folder / f"{shard.name}.tar"
            _compare(path, tar.bytes, tar.sha256 if verify else None)
            yield Source(path, "tar", tar.sha256, shard.samples)
        return
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        raise InputError(ErrorCode.INPUT_MISSING, f"{folder} holds neither a corpus (manifest.json) nor tars")
    for path in tars:
        yield Source(path, "tar", _sha256([path]))


def _compare(path: Path, size: int, sha256: str | None) -> None:
    """N10, V5: InputError unless the shard is as its manifest says."""
    if not path.is_file():
        raise InputError(
            ErrorCode.SHARD_MISMATCH, f"{path} is in the manifest and not on disk; get it back or build again"
        )
    if path.stat().st_size != size:
        raise InputError(
            ErrorCode.SHARD_MISMATCH,
            f"{path} has {path.stat().st_size:,} bytes, its manifest says {size:,}; get it again",
        )
    if sha256 is not None and _sha256([path]) != sha256:
        raise InputError(ErrorCode.SHARD_MISMATCH, f"{path} has another sha256 than its manifest says; get it again")


def _sha256(paths: Iterable[Path]) -> str:
    """Of the bytes of all files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _read_json(path: Path) -> Any:
    def refuse(error: Exception) -> Any:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path} is not JSON: {said(error)}") from None

    return attempted(lambda: json.loads(path.read_bytes()), refuse)


# -- samples of a file: key, place of the image (None: not there), captions

_Samples = Iterator[tuple[str, tuple[Path, int, int] | None, list[str]]]


def _tar_samples(path: Path) -> _Samples:
    """Neighbouring members of one key are a sample; its caption is KEY.txt, else "caption" of KEY.json."""

    def refuse(error: Exception, count: int) -> TarMember:
        text = f"{path} is cut off or not a plain tar ({said(error)}); get it again"
        raise InputError(ErrorCode.SHARD_MISMATCH, text) from None

    key = ""
    members: dict[str, TarMember] = {}
    with path.open("rb", buffering=0) as file:
        for member in contained(tar_members(file), refuse):
            named = key_and_ending(member.name)
            if not member.is_file or named is None:
                continue
            if named[0] != key and members:
                yield _tar_sample(path, file, key, members)
                members = {}
            key, ending = named
            members[ending] = member
        if members:
            yield _tar_sample(path, file, key, members)


def _tar_sample(
    path: Path, file: BinaryIO, key: str, members: dict[str, TarMember]
) -> tuple[str, tuple[Path, int, int] | None, list[str]]:
    picture = next((members[ending] for ending in PICTURES if ending in members), None)
    place = (path, picture.start, picture.size) if picture else None
    if "txt" in members:
        return key, place, [_read(file, members["txt"]).decode("utf-8", "replace")]
    if "json" in members:  # if it is broken: a sample without a caption
        return key, place, attempted(lambda: _captions(json.loads(_read(file, members["json"]))), lambda error: [])
    return key, place, []


def _read(file: BinaryIO, member: TarMember) -> bytes:
    """A text; empty if it is longer than any caption, and would only fill the memory."""
    return os.pread(file.fileno(), member.size, member.start) if member.size <= MAX_TEXT_BYTES else b""


def _captions(entry: Any) -> list[str]:
    """``entry["caption"]``: one text or several."""
    caption = entry.get("caption") if isinstance(entry, dict) else None
    captions = caption if isinstance(caption, list) else [caption]
    return [text for text in captions if isinstance(text, str)]


def _list_source(path: Path, images: Path) -> Source:
    pictures = [images / entry["image"] for entry in _entries(path)]
    digest = key_of(_sha256([path]), _sha256(picture for picture in pictures if picture.is_file()))
    return Source(path, "list", digest, images=images)


def _list_samples(source: Source) -> _Samples:
    for entry in _entries(source.path):
        path = source.images / entry["image"]
        yield entry["image"], (path, 0, path.stat().st_size) if path.is_file() else None, _captions(entry)


def _entries(path: Path) -> list[dict[str, Any]]:
    entries = _read_json(path)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("image"), str) for entry in entries
    ):
        raise InputError(ErrorCode.INPUT_SCHEMA, f'{path} is not a list of {{"image": path, "caption": [text, ...]}}')
    return entries
