"""The page on training names every setting as the code has it, and the command line reads numbers as people write them."""

from __future__ import annotations

import pytest
from checkout import ROOT

from pipeline.core.config import kind_of
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.stages_doc import as_text
from pipeline.training.config import TrainConfig

PAGE = ROOT / "docs" / "training.md"


def test_every_setting_stands_on_the_page_with_kind_default_and_meaning() -> None:
    _, _, table = PAGE.read_text("utf-8").partition("## Settings")
    rows = [
        f"| `{name}` | {kind_of(TrainConfig, name).value} | `{as_text(field.default)}` | {field.description} |"
        for name, field in TrainConfig.model_fields.items()
    ]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize("written", ["5e-4", "5E-4", "0.0005", "5.0e-4"])
def test_a_small_number_may_be_written_as_people_do(written: str) -> None:
    assert load_config(TrainConfig, sets=[f"learning_rate={written}"]).learning_rate == 0.0005


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"config_invalid: .*warmup_steps is 10, not below the 10 steps"):
        load_config(TrainConfig, sets=["steps=10", "warmup_steps=10"])
