"""The whole state of a training after a step, one dict in its checkpoint: weights, optimiser, counts, losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.progress import Reporter
from pipeline.core.storage import Storage
from pipeline.training import checkpoint
from pipeline.training.account import Name
from pipeline.training.config import TrainConfig
from pipeline.training.model import PRESETS, Clip
from pipeline.training.optimizer import optimizer


@dataclass(eq=False)
class State:
    """What a step changes. Everything else in the loop follows from the settings and the data."""

    network: Clip
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    unreadable: set[str]  # keys of samples without image or caption, or whose image does not decode
    step: int = 0  # steps done
    skipped: int = 0  # steps in a row whose gradients overflowed
    losses: list[float] = field(default_factory=list)  # one per step

    def to_dict(self, name: Name) -> dict[str, Any]:
        """The checkpoint of the training ``name``."""
        return {
            "key": name.key,
            "settings": name.settings,
            "data": name.data,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "losses": self.losses,
            "unreadable": sorted(self.unreadable),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Be where ``saved`` was taken."""
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.step, self.skipped, self.losses = saved["step"], saved["skipped"], list(saved["losses"])
        self.unreadable = set(saved["unreadable"])


def begin(config: TrainConfig, device: torch.device, unreadable: list[str]) -> State:
    """The state before the first step; weights are drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):  # for the weights; nothing else is drawn from torch's generator
        torch.manual_seed(config.seed)
        network = Clip(PRESETS[config.model]).to(device)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    return State(network, optimizer(network, config), scaler, set(unreadable))


def load_begun(storage: Storage, name: Name, output: str, reporter: Reporter) -> dict[str, Any] | None:
    """The newest whole checkpoint; None where the training has none.

    InputError: ``resume_mismatch`` where it is another training's (N6), and those of `checkpoint.load_newest`.
    """
    begun = checkpoint.load_newest(storage, reporter.line)
    if begun is not None and begun["key"] != name.key:
        raise InputError(
            ErrorCode.RESUME_MISMATCH,
            f"{output} holds a training begun with other settings or data "
            f"({name.difference(begun['settings'], begun['data'])}); choose another output, or set overwrite",
        )
    return begun
