"""`pairmill hashes build`: lists of evaluation sets, from folders and tars of pictures."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.core.errors import InputError
from pipeline.funnel import Config, require_comparable_hashes
from pipeline.stages.dedup.eval_lists import read_listed
from pipeline.vision.image import measure_image
from pipeline.vision.settings import ImageSettings
from schemas.hashes import HASHES


def picture(seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    """A folder with a file that is no picture, and a tar."""
    folder, tar = tmp_path / "flowers", tmp_path / "birds.tar"
    (folder / "val").mkdir(parents=True)
    for number in range(3):
        (folder / "val" / f"{number}.png").write_bytes(picture(number))
    (folder / "labels.txt").write_text("rose")
    with tarfile.open(tar, "w") as archive:
        member = tarfile.TarInfo("wren.png")
        member.size = len(data := picture(9))
        archive.addfile(member, io.BytesIO(data))
    return [folder, tar]


def test_a_list_has_the_hashes_of_all_pictures_by_name_d8(sets, tmp_path) -> None:
    """D8"""
    output = tmp_path / "list.parquet"
    result = CliRunner().invoke(app, ["hashes", "build", *map(str, sets), "--output", str(output)])
    assert (result.exit_code, result.output) == (
        0,
        f"skipped: flowers/labels.txt (not_an_image)\n4 images in {output}; 1 files skipped\n",
    )
    table = pq.read_table(output)
    assert table.schema.equals(HASHES)
    assert table["name"].to_pylist() == ["birds/wren.png", *(f"flowers/val/{number}.png" for number in range(3))]
    columns = measure_image(picture(9), ImageSettings()).columns
    assert table.slice(0, 1).to_pylist() == [
        {"name": "birds/wren.png"} | {name: columns[name] for name in HASHES.names[1:]}
    ]
    assert read_listed([str(output)]).telling.all()


def test_nothing_but_files_that_are_no_pictures_is_one_line(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    output = tmp_path / "list.parquet"
    result = CliRunner().invoke(app, ["hashes", "build", str(tmp_path / "empty"), "--output", str(output)])
    assert result.exit_code != 0
    assert not output.exists()


@pytest.mark.parametrize("mode", ["center_crop", "border"])
def test_lists_of_whole_pictures_are_not_compared_with_cropped_ones_d8(mode) -> None:
    """D8"""
    config = Config.model_validate({"fetch": {"resize_mode": mode}, "dedup": {"eval_hashes": ["list.parquet"]}})
    with pytest.raises(InputError, match=f"{mode}.*set fetch.resize_mode to keep_ratio_largest"):
        require_comparable_hashes(config)
