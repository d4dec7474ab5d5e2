"""What stops a training that goes wrong: StageErrors that name the step, the limit and the samples.

Steps are counted from 0 here and from 1 in messages. ``keys`` gives the keys of the batch of a step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch

from pipeline.core.errors import ErrorCode, StageError

MAX_UNREADABLE = 0.001  # of the samples (N9)
MAX_SKIPPED_IN_A_ROW = 20  # steps whose fp16 gradients overflow (N8)

Keys = Callable[[int], list[str]]


def require_readable(unreadable: set[str], samples: int) -> None:
    """StageError ``too_many_errors`` where too large a part of the samples cannot be read (N9)."""
    if len(unreadable) > MAX_UNREADABLE * samples:
        raise StageError(
            ErrorCode.TOO_MANY_ERRORS,
            f"{len(unreadable):,} of {samples:,} samples cannot be read (limit {MAX_UNREADABLE:.1%}), such as "
            f"{min(unreadable)}; repair or leave out their shards",
        )


def require_finite(loss: float, step: int, keys: Keys) -> None:
    """StageError ``loss_nonfinite`` for a loss that is infinite or NaN (N7)."""
    if not math.isfinite(loss):
        raise StageError(
            ErrorCode.LOSS_NONFINITE,
            f"loss is {loss} at step {step + 1}; lower learning_rate, or look at the samples of the batch: "
            + " ".join(keys(step)),
        )


def count_skipped(before: int, norm: float, step: int, keys: Keys, is_scaled: bool) -> int:
    """Steps in a row whose gradient norm is not finite, this one included; ``before`` counts those before it.

    fp16 gradients may overflow, and the scaler skips such a step. Without a scaler, or after too many of them, it is
    an error: StageError ``loss_nonfinite`` (N7, N8).
    """
    skipped = 0 if math.isfinite(norm) else before + 1
    if skipped > (MAX_SKIPPED_IN_A_ROW - 1 if is_scaled else 0):
        raise StageError(
            ErrorCode.LOSS_NONFINITE,
            f"gradient norm is {norm} at step {step + 1}, {skipped} steps in a row; lower learning_rate, or "
            "look at the samples of the batch: " + " ".join(keys(step)),
        )
    return skipped


@contextlib.contextmanager
def out_of_memory_named(
    step: int, batch_size: int, processes: int, precision: str, device: torch.device
) -> Iterator[None]:
    """StageError ``device_out_of_memory`` where the block takes more memory than the device has."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StageError(
            ErrorCode.DEVICE_OUT_OF_MEMORY,
            f"step {step + 1} with batch_size {batch_size} on {processes} device(s) in {precision} does not fit into "
            f"{device}; lower batch_size, or take more devices",
        ) from error
