"""Pictures that lie outside a run, in a person's tars, are read as those of the run are; and never too many at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.core.storage import PICTURE_BYTES_AT_ONCE, Place, Storage, open_storage, read_pictures


def test_a_file_of_a_person_is_read_by_its_path_wherever_the_run_lies(storage: Storage, tmp_path: Path) -> None:
    tar = tmp_path / "00000.tar"
    tar.write_bytes(b"0123456789")
    storage.replace("a.images", b"abcdef")
    places = [
        (str(tar), 2, 3),
        ("a.images", 0, 2),
        (str(tar), 8, 5),
        (None, None, None),
        (f"{tar}.gone", 0, 1),
        (str(tar), 0, 1),
    ]
    assert list(read_pictures(storage, places)) == [b"234", b"ab", None, None, None, b"0"]


def test_pictures_are_held_up_to_a_number_of_bytes_however_large_they_are(tmp_path: Path) -> None:
    size = PICTURE_BYTES_AT_ONCE // 4
    with (tmp_path / "large.tar").open("wb") as tar:
        tar.truncate(3 * size)
    asked = []

    def places() -> Iterator[Place]:
        for number in range(20):
            asked.append(number)
            yield str(tmp_path / "large.tar"), number % 3 * size, size

    pictures = read_pictures(open_storage(str(tmp_path / "run")), places())
    assert len(next(pictures) or b"") == size
    assert len(asked) == 5  # four are held, the fifth was one too many
    assert sum(1 for _ in pictures) == 19
