"""What is settled before the first step: the device, a locked output, and enough data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.lock import run_lock
from pipeline.core.progress import Reporter
from pipeline.core.storage import Storage
from pipeline.training.config import TrainConfig
from pipeline.training.health import require_readable
from pipeline.training.sources import Index
from pipeline.training.world import World


def device_of(config: TrainConfig, world: World) -> torch.device:
    """N15: what was asked for, or InputError ``device_unavailable``; only ``auto`` may choose."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            ErrorCode.DEVICE_UNAVAILABLE, "device is cuda and there is no GPU here; set device=cpu or auto"
        )
    if config.device == "cpu" or not torch.cuda.is_available():
        if config.precision != "fp32":
            raise InputError(
                ErrorCode.DEVICE_UNAVAILABLE, f"precision {config.precision} needs a GPU; set precision=fp32"
            )
        return torch.device("cpu")
    if world.local_rank >= torch.cuda.device_count():
        raise InputError(
            ErrorCode.DEVICE_UNAVAILABLE,
            f"only {torch.cuda.device_count()} GPUs; start at most {torch.cuda.device_count()} processes",
        )
    if config.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(ErrorCode.DEVICE_UNAVAILABLE, "this GPU has no bf16; set precision=fp16 or fp32")
    return torch.device("cuda", world.local_rank)


@contextlib.contextmanager
def held(output: Path, storage: Storage, world: World, reporter: Reporter) -> Iterator[None]:
    """The output, locked by the first process (N18). InputError: ``output_unwritable``, ``output_locked``."""
    if not world.is_first:
        yield
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"output {output}: {error.strerror}") from None
    with run_lock(storage, reporter.line):
        yield


def require_enough(index: Index, config: TrainConfig, world: World) -> None:
    """N9, N11, N12. InputError ``dataset_too_small``, ``config_invalid``; StageError ``too_many_errors``."""
    if len(index) < config.batch_size:
        raise InputError(
            ErrorCode.DATASET_TOO_SMALL,
            f"{len(index):,} samples do not fill a batch of {config.batch_size:,}; give more data, or lower batch_size",
        )
    if config.batch_size % world.size:
        raise InputError(
            ErrorCode.CONFIG_INVALID,
            f"batch_size {config.batch_size} cannot be shared evenly by {world.size} processes",
        )
    require_readable(set(index.unreadable), len(index))
