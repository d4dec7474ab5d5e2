"""What stops a training that goes wrong, and what a training says while it goes well."""

import json
import math

import pytest
import torch

from pipeline.core.errors import StageError
from pipeline.core.progress import Reporter
from pipeline.training.health import (
    MAX_SKIPPED_IN_A_ROW,
    count_skipped,
    out_of_memory_named,
    require_finite,
    require_readable,
)
from pipeline.training.metrics import Metrics


def keys(step):
    return [f"key{step}a", f"key{step}b"]


class Heard(Reporter):
    def __init__(self):
        super().__init__(quiet=True)
        self.steps = []

    def line(self, text, **facts):
        self.steps.append(facts["step"])


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_step_and_samples(loss):
    require_finite(0.5, 6, keys)
    with pytest.raises(StageError, match=r"loss_nonfinite: loss is (nan|inf) at step 7; .*: key6a key6b"):
        require_finite(loss, 6, keys)


def test_overflowing_gradients_are_skipped_some_times_with_a_scaler_and_never_without():
    skipped = 0
    for step in range(MAX_SKIPPED_IN_A_ROW - 1):
        skipped = count_skipped(skipped, math.inf, step, keys, is_scaled=True)
    assert skipped == MAX_SKIPPED_IN_A_ROW - 1
    assert count_skipped(skipped, 0.1, 30, keys, is_scaled=True) == 0
    with pytest.raises(StageError, match=rf"gradient norm is inf at step 31, {MAX_SKIPPED_IN_A_ROW} steps in a row"):
        count_skipped(skipped, math.inf, 30, keys, is_scaled=True)
    with pytest.raises(StageError, match="gradient norm is nan at step 1, 1 steps in a row"):
        count_skipped(0, math.nan, 0, keys, is_scaled=False)


def test_a_thousandth_of_the_samples_may_be_unreadable():
    require_readable({"b"}, 1000)
    with pytest.raises(StageError, match=r"too_many_errors: 2 of 1,000 samples .* a;"):
        require_readable({"b", "a"}, 1000)


def test_out_of_memory_says_what_to_lower_and_other_errors_pass():
    with (
        pytest.raises(
            StageError, match=r"device_out_of_memory: step 3 with batch_size 8 on 2 device.* lower batch_size"
        ),
        out_of_memory_named(2, 8, 2, "fp32", torch.device("cpu")),
    ):
        raise torch.OutOfMemoryError
    with pytest.raises(ZeroDivisionError), out_of_memory_named(2, 8, 2, "fp32", torch.device("cpu")):
        raise ZeroDivisionError


def test_metrics_after_the_step_that_is_resumed_from_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    Metrics(path, 2, 40, Heard()).add({"step": 3, "loss": 1.0, "learning_rate": 1e-3, "logit_scale": 14.3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "loss": 1.0, "learning_rate": 1e-3, "logit_scale": 14.3},
    ]


@pytest.mark.parametrize(("steps", "said"), [(25, [*range(2, 25, 2), 25]), (3, [1, 2, 3])])
def test_every_step_has_a_line_in_the_file_and_each_tenth_of_the_way_one_of_progress(tmp_path, steps, said):
    heard = Heard()
    metrics = Metrics(tmp_path / "metrics.jsonl", 0, steps, heard)
    for step in range(1, steps + 1):
        metrics.add({"step": step, "loss": 1.0, "learning_rate": 1e-3, "logit_scale": 14.3})
    assert heard.steps == said
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == steps
