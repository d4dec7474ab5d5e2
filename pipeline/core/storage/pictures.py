"""Reads stored images in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.core.storage.base import Storage
from pipeline.core.storage.local import LocalStorage

PICTURES_AT_ONCE = 256  # these two limit the memory of `read_pictures`
PICTURE_BYTES_AT_ONCE = 64 << 20

Place = tuple[str | None, int | None, int | None]
"""Where an image is: file, offset and length in bytes; null if there is none. A file of the run has a relative path; an
absolute path is a user's file on a local disk, such as a tar that is read in place."""


def read_pictures(storage: Storage, places: Iterable[Place]) -> Iterator[bytes | None]:
    """The stored images at these places, in the same order; None if one is incomplete.

    Reads a few hundred at a time and each file once for them, so that nearby images share a request.
    """
    for some in _some_at_a_time(places):
        by_file: dict[str, list[tuple[int, int]]] = {}
        for file, offset, size in some:
            if file is not None and offset is not None and size is not None:
                by_file.setdefault(file, []).append((offset, size))
        read = storage.each(lambda item: _holder(storage, item[0]).read_ranges(*item), by_file.items())
        found = {file: iter(pictures) for file, pictures in zip(by_file, read, strict=True)}
        for file, offset, size in some:
            yield None if file is None or offset is None or size is None else next(found[file])


def _holder(storage: Storage, file: str) -> Storage:
    """The storage that reads a file of a `Place`."""
    return LocalStorage("/") if file.startswith("/") else storage


def _some_at_a_time(places: Iterable[Place]) -> Iterator[list[Place]]:
    some: list[Place] = []
    held = 0
    for place in places:
        size = place[2] or 0
        if some and (len(some) == PICTURES_AT_ONCE or held + size > PICTURE_BYTES_AT_ONCE):
            yield some
            some, held = [], 0
        some.append(place)
        held += size
    if some:
        yield some
