"""The training loop: a corpus becomes a CLIP model.

    checkpoints/step-000180.pt   weights, optimiser, step: enough to resume as if nothing had happened
    checkpoints/latest.json      which checkpoints count, with their sha256
    model.pt                     the weights alone, for ``clip.load``, ``clip.model`` and `pairmill evaluate`
    train.json                   settings, digests of data and model, losses: written last, so it means finished
    metrics.jsonl                one line per step

A training is named by its Measure settings and its data. Started again, it resumes from its newest checkpoint,
or is up to date; another one in the same folder is refused. Nothing that is written tells of a clock, host or path: on
one machine the same training gives the same bytes, stopped in between or not.

Source: Radford et al., 2021: section 2.5 and table 18 (optimizer.py), figure 3 (loss.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.config import Kind, settings_of
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.progress import Done, Reporter
from pipeline.core.storage import Storage, open_storage
from pipeline.training import checkpoint
from pipeline.training.account import METRICS, Name, TrainResult, finished, forget_another, publish
from pipeline.training.batches import Batch, Batches, normalise
from pipeline.training.config import TrainConfig
from pipeline.training.health import count_skipped, out_of_memory_named, require_finite, require_readable
from pipeline.training.loss import contrastive_loss
from pipeline.training.metrics import Metrics
from pipeline.training.model import PRESETS
from pipeline.training.optimizer import learning_rate, optimizer
from pipeline.training.setup import device_of, held, require_enough
from pipeline.training.signals import Stopped, noted
from pipeline.training.sources import Index, find_sources, fingerprint
from pipeline.training.state import begin, load_begun
from pipeline.training.world import World

__all__ = ["learning_rate", "optimizer", "train"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(config: TrainConfig, reporter: Reporter) -> TrainResult:
    """Train, resume, or find finished what ``config`` asks for.

    InputError: ``device_unavailable``, ``input_missing``, ``shard_mismatch``, ``dataset_too_small``, ``output_exists``,
    ``output_locked``, ``resume_mismatch``, ``checkpoint_corrupt``, ``unsafe_checkpoint``, ``disk_full``. StageError:
    ``loss_nonfinite``, ``too_many_errors``, ``shard_unreadable``, ``device_out_of_memory``. `Stopped` after a signal.
    """
    if not config.output or "://" in config.output:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"output is {config.output!r}; give a local folder for the model")
    world = World.of_environment()
    device = device_of(config, world)
    sources = find_sources(config.data, config.images, config.verify)
    name = Name(settings_of(config, Kind.MEASURE), fingerprint(sources))
    output, storage = Path(config.output), open_storage(config.output)
    with held(output, storage, world, reporter), world.joined(device):
        if config.overwrite and world.is_first:
            forget_another(storage, name)
        world.wait_for_first()
        if result := finished(output, storage, name, up_to_date=True):
            reporter.line(f"   train: up to date, {result.steps:,} steps", event="up_to_date")
            return result
        index = Index(sources)
        require_enough(index, config, world)
        with Training(config, name, storage, index, world, device, reporter) as training:
            world.require_equal(training.state.step)
            training.run()
        world.wait_for_first()
        result = finished(output, storage, name, up_to_date=False)
        if result is None:
            raise StageError(
                ErrorCode.RANK_FAILED, f"process {world.rank} does not see {config.output}; all must share it"
            )
        return result


class Training:
    """The loop in one process. What it changes is all in ``state``."""

    def __init__(
        self,
        config: TrainConfig,
        name: Name,
        storage: Storage,
        index: Index,
        world: World,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self.config, self.name, self.storage, self.index = config, name, storage, index
        self.world, self.device, self.reporter = world, device, reporter
        begun = load_begun(storage, name, config.output, reporter)
        self.state = begin(config, device, index.unreadable)
        if begun:
            self.state.restore(begun)
            step = self.state.step
            reporter.line(f"   train: resuming from step {step:,}", event="resumed", step=step)
        self.batches = Batches(
            index,
            batch_size=config.batch_size,
            seed=config.seed,
            image_size=PRESETS[config.model].image_size,
            crop_margin=config.crop_margin,
            context_length=PRESETS[config.model].context_length,
            share=(world.rank, world.size),
            workers=config.workers,
            cache_mb=config.cache_mb,
        )

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.batches.__exit__()

    def run(self) -> None:
        """From the step it is at to the last, then publish."""
        state, config, world = self.state, self.config, self.world
        network = world.wrap(state.network, self.device)
        metrics = (
            Metrics(Path(config.output, METRICS), state.step, config.steps, self.reporter) if world.is_first else None
        )
        with noted() as signal_number, self.reporter.bar("train", lambda: Done(state.step, None, config.steps)):
            for batch in self.batches.from_step(state.step, config.steps):
                with out_of_memory_named(batch.step, config.batch_size, world.size, config.precision, self.device):
                    measured = self.advance(network, batch)
                if metrics:
                    metrics.add(measured)
                stop = world.max(signal_number())
                if stop or (state.step % config.checkpoint_steps == 0 and state.step < config.steps):
                    self.save()
                if stop:
                    raise Stopped(stop, state.step)
        self.save()
        if world.is_first:
            self.publish()

    def advance(self, network: nn.Module, batch: Batch) -> dict[str, Any]:
        """One step of the optimiser; what was measured on the way."""
        state, config = self.state, self.config
        rate = learning_rate(batch.step, config)
        for group in state.optimizer.param_groups:
            group["lr"] = rate

        valid_B = batch.valid_B.to(self.device)
        self._note_unreadable(batch.step, valid_B)
        with torch.autocast(self.device.type, DTYPES[config.precision], enabled=config.precision != "fp32"):
            encoded = network(normalise(batch.pixels_B3SS.to(self.device)), batch.tokens_BL.to(self.device))
        share = contrastive_loss(encoded, valid_B, self.world)
        loss = self.world.mean(share.detach().clone()).item()
        require_finite(loss, batch.step, self.batches.keys)

        state.optimizer.zero_grad()
        state.scaler.scale(share).backward()
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.max_gradient_norm).item()
        state.skipped = count_skipped(state.skipped, norm, batch.step, self.batches.keys, state.scaler.is_enabled())
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.network.clip_logit_scale()

        state.step = batch.step + 1
        state.losses.append(loss)
        return {
            "step": state.step,
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "logit_scale": state.network.logit_scale.exp().item(),
        }

    def save(self) -> None:
        """One checkpoint, by the first process, for which the others wait."""
        if self.world.is_first:
            checkpoint.save(self.storage, self.state.step, self.state.to_dict(self.name), self.config.keep_checkpoints)
        self.world.wait_for_first()

    def publish(self) -> None:
        """The model and its account: after that the training is finished."""
        state = self.state
        weights = {name: tensor.cpu() for name, tensor in state.network.state_dict().items()}
        facts = {
            "samples": len(self.index),
            "unreadable": sorted(state.unreadable),
            "steps": state.step,
            "losses": state.losses,
        }
        publish(self.storage, self.name, weights, facts)

    def _note_unreadable(self, step: int, valid_B: Tensor) -> None:
        """N9: every process comes to the same set, since all know the order."""
        valid = self.world.gather(valid_B)
        if bool(valid.all()):
            return
        keys = self.batches.keys(step)
        self.state.unreadable.update(keys[place] for place in (~valid).nonzero().flatten().tolist())
        require_readable(self.state.unreadable, len(self.index))
