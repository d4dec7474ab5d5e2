"""Reader of photographs with captions: a tar of images and a gzip TSV, as Flickr8k is often passed around.

The TSV has a header and the columns image, n, caption, lang; an image in only one of the two files is left out.
"""

from __future__ import annotations

import csv
import gzip
import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path


def read_flickr8k(
    images_tar: Path, captions_tsv_gz: Path, langs: Collection[str] = ("en",), limit: int | None = None
) -> Iterator[tuple[str, bytes, list[tuple[str, str]]]]:
    """``(file name, bytes, [(caption, language), ...])`` in the order of the tar, at most ``limit`` of them."""
    captions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with gzip.open(captions_tsv_gz, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["lang"] in langs:
                captions[row["image"]].append((row["caption"], row["lang"]))
    given = 0
    with tarfile.open(images_tar) as tar:
        for member in tar:
            if given == limit:
                return
            name = Path(member.name).name
            if member.isfile() and name in captions:
                given += 1
                yield name, tar.extractfile(member).read(), captions[name]
