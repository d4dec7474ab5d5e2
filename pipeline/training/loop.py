"""The training loop: a corpus becomes a CLIP model.

    checkpoints/step-000180.pt   weights, optimiser, step: enough to go on as if nothing had happened
    checkpoints/latest.json      which checkpoints count, with their sha256
    model.pt                     the weights alone, for ``clip.load``, ``clip.model`` and `pairmill evaluate`
    train.json                   settings, digests of data and model, losses: written last, a training without is none
    metrics.jsonl                one line a step

A training is named by its Measure settings and its data. The same one asked again goes on from its newest checkpoint,
or is up to date; another one in the same folder is refused. Nothing that is written tells of a clock, host or path: on
one machine the same training gives the same bytes, stopped in between or not.

Source: Radford et al., 2021: section 2.5 and table 18 (AdamW, cosine, decay of matrices alone), figure 3 (loss).
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.core.config import Kind, settings_of
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.lock import run_lock
from pipeline.core.progress import Done, Reporter
from pipeline.core.storage import Storage, open_storage
from pipeline.training import checkpoint
from pipeline.training.account import METRICS, Name, TrainResult, finished, forget_another, publish
from pipeline.training.batches import Batch, Batches, normalise
from pipeline.training.config import TrainConfig
from pipeline.training.loss import contrastive_loss
from pipeline.training.model import PRESETS, Clip
from pipeline.training.signals import Stopped, noted
from pipeline.training.sources import Index, find_sources, fingerprint
from pipeline.training.world import World

MAX_UNREADABLE = 0.001  # of the samples (N9)
MAX_SKIPPED_IN_A_ROW = 20  # steps whose fp16 gradients overflow (N8)
LINES = 10  # of progress, over the whole training
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(config: TrainConfig, reporter: Reporter) -> TrainResult:
    """Train, go on with, or find finished what ``config`` asks for.

    InputError: ``device_unavailable``, ``input_missing``, ``shard_mismatch``, ``dataset_too_small``, ``output_exists``,
    ``output_locked``, ``resume_mismatch``, ``checkpoint_corrupt``, ``unsafe_checkpoint``, ``disk_full``. StageError:
    ``loss_nonfinite``, ``too_many_errors``, ``shard_unreadable``, ``device_out_of_memory``. `Stopped` after a signal.
    """
    if not config.output or "://" in config.output:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"output is {config.output!r}; give a local folder for the model")
    world = World.of_environment()
    device = _device(config, world)
    sources = find_sources(config.data, config.images, config.verify)
    name = Name(settings_of(config, Kind.MEASURE), fingerprint(sources))
    output, storage = Path(config.output), open_storage(config.output)
    with _held(output, storage, world, reporter), world.joined(device):
        if config.overwrite and world.is_first:
            forget_another(storage, name)
        world.wait_for_first()
        if result := finished(output, storage, name, up_to_date=True):
            reporter.line(f"   train: up to date, {result.steps:,} steps", event="up_to_date")
            return result
        index = Index(sources)
        _require_enough(index, config, world)
        with Training(config, name, storage, index, world, device, reporter) as training:
            world.require_equal(training.step)
            training.run()
        world.wait_for_first()
        result = finished(output, storage, name, up_to_date=False)
        if result is None:
            raise StageError(
                ErrorCode.RANK_FAILED, f"process {world.rank} does not see {config.output}; all must share it"
            )
        return result


class Training:
    """Network, optimiser and what happened so far. ``state`` is all of it, as a checkpoint holds it."""

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
        self.config, self.name, self.storage, self.world, self.device = config, name, storage, world, device
        self.reporter = reporter
        self.index = index
        begun = checkpoint.load_newest(storage, reporter.line)
        if begun:
            self._require_this(begun)
        shape = PRESETS[config.model]
        with torch.random.fork_rng(devices=[]):  # for the weights; nothing else is drawn from torch's generator
            torch.manual_seed(config.seed)
            self.network = Clip(shape).to(device)
        self.optimizer = optimizer(self.network, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.step = 0
        self.skipped = 0  # in a row
        self.losses: list[float] = []
        self.unreadable: set[str] = set(index.unreadable)
        self.batches = Batches(
            index,
            batch_size=config.batch_size,
            seed=config.seed,
            image_size=shape.image_size,
            crop_margin=config.crop_margin,
            context_length=shape.context_length,
            share=(world.rank, world.size),
            workers=config.workers,
            cache_mb=config.cache_mb,
        )
        if begun:
            self.restore(begun)

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.batches.__exit__()

    def run(self) -> None:
        """From the step it is at to the last, then publish."""
        parallel = self.world.wrap(self.network, self.device)
        metrics = Metrics(Path(self.config.output, METRICS), self.step) if self.world.is_first else None
        with noted() as signal_number, self.reporter.bar("train", lambda: Done(self.step, None, self.config.steps)):
            began = time.monotonic()
            for batch in self.batches.from_step(self.step, self.config.steps):
                with self._out_of_memory_named():
                    measured = self.advance(parallel, batch)
                if metrics:
                    metrics.add(measured)
                    self._report(measured, time.monotonic() - began)
                stop = self.world.max(signal_number())
                if stop or (self.step % self.config.checkpoint_steps == 0 and self.step < self.config.steps):
                    self.save()
                if stop:
                    raise Stopped(stop, self.step)
        self.save()
        if self.world.is_first:
            weights = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
            publish(self.storage, self.name, weights, self._facts())

    def advance(self, parallel: nn.Module, batch: Batch) -> dict[str, Any]:
        """One step of the optimiser; what was measured on the way."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(batch.step, self.config)
        valid_B = batch.valid_B.to(self.device)
        self._note_unreadable(batch.step, valid_B)
        with torch.autocast(self.device.type, DTYPES[self.config.precision], enabled=self.config.precision != "fp32"):
            encoded = parallel(normalise(batch.pixels_B3SS.to(self.device)), batch.tokens_BL.to(self.device))
        share = contrastive_loss(encoded, valid_B, self.world)
        loss = self.world.mean(share.detach().clone()).item()
        self._require_finite(loss, batch.step)
        self.optimizer.zero_grad()
        self.scaler.scale(share).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_gradient_norm).item()
        self._count_skipped(norm, batch.step)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.network.clip_logit_scale()
        self.step = batch.step + 1
        self.losses.append(loss)
        return {
            "step": self.step,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm if math.isfinite(norm) else None,
            "logit_scale": self.network.logit_scale.exp().item(),
        }

    def state(self) -> dict[str, Any]:
        return {
            "key": self.name.key,
            "settings": self.name.settings,
            "data": self.name.data,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "losses": self.losses,
            "unreadable": sorted(self.unreadable),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be where ``state`` was taken."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.skipped, self.losses = state["step"], state["skipped"], list(state["losses"])
        self.unreadable = set(state["unreadable"])
        self.reporter.line(f"   train: going on from step {self.step:,}", event="resumed", step=self.step)

    def save(self) -> None:
        """One checkpoint, by the first process, for which the others wait."""
        if self.world.is_first:
            checkpoint.save(self.storage, self.step, self.state(), self.config.keep_checkpoints)
        self.world.wait_for_first()

    def _require_this(self, begun: dict[str, Any]) -> None:
        """N6: InputError ``resume_mismatch`` where the checkpoint is another training's."""
        if begun["key"] != self.name.key:
            raise InputError(
                ErrorCode.RESUME_MISMATCH,
                f"{self.config.output} holds a training begun with other settings or data "
                f"({self.name.difference(begun['settings'], begun['data'])}); choose another output, or set overwrite",
            )

    def _facts(self) -> dict[str, Any]:
        return {
            "samples": len(self.index),
            "unreadable": sorted(self.unreadable),
            "steps": self.step,
            "losses": self.losses,
        }

    def _note_unreadable(self, step: int, valid_B: torch.Tensor) -> None:
        """N9: every process comes to the same set, since all know the order."""
        valid = self.world.gather(valid_B)
        if bool(valid.all()):
            return
        keys = self.batches.keys(step)
        self.unreadable.update(keys[place] for place in (~valid).nonzero().flatten().tolist())
        _require_readable(self.unreadable, len(self.index))

    def _require_finite(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise StageError(
                ErrorCode.LOSS_NONFINITE,
                f"loss is {loss} at step {step + 1}; lower learning_rate, or look at the samples of the batch: "
                + " ".join(self.batches.keys(step)),
            )

    def _count_skipped(self, norm: float, step: int) -> None:
        """fp16 gradients may overflow: the scaler skips such a step. Without a scaler it is an error (N7, N8)."""
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        if self.skipped > (MAX_SKIPPED_IN_A_ROW - 1 if self.scaler.is_enabled() else 0):
            raise StageError(
                ErrorCode.LOSS_NONFINITE,
                f"gradient norm is {norm} at step {step + 1}, {self.skipped} steps in a row; lower learning_rate, or "
                "look at the samples of the batch: " + " ".join(self.batches.keys(step)),
            )

    @contextlib.contextmanager
    def _out_of_memory_named(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise StageError(
                ErrorCode.DEVICE_OUT_OF_MEMORY,
                f"step {self.step + 1} with batch_size {self.config.batch_size} on {self.world.size} device(s) in "
                f"{self.config.precision} does not fit into {self.device}; lower batch_size, or take more devices",
            ) from error

    def _report(self, measured: dict[str, Any], seconds: float) -> None:
        """A line each tenth of the way."""
        every = max(1, self.config.steps // LINES)
        if self.step % every and self.step != self.config.steps:
            return
        self.reporter.line(
            f"   train: step {self.step:>6,} of {self.config.steps:,}  loss {measured['loss']:.4f}  "
            f"rate {measured['learning_rate']:.1e}  scale {measured['logit_scale']:6.2f}  {seconds:7.1f} s",
            event="step",
            **measured,
        )


class Metrics:
    """metrics.jsonl: a line a step, of the steps that count. Lines after the checkpoint that is gone on from go."""

    def __init__(self, path: Path, steps: int) -> None:
        lines = path.read_text("utf-8").splitlines(keepends=True)[:steps] if path.exists() else []
        path.write_text("".join(lines), "utf-8")
        self._path = path

    def add(self, measured: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(measured) + "\n")


def optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Weights decay "all weights that are not gains or biases" (section 2.5): what has two dimensions or more.

    The class embedding has one, and is neither; it is left out too, as the temperature is.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Of a step counted from 0: up in a line over the warm-up, then down to zero along half a cosine."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2


# -- before and after


def _device(config: TrainConfig, world: World) -> torch.device:
    """N15: what was asked for, or an error; only ``auto`` may choose."""
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
            f"process {world.local_rank} finds {torch.cuda.device_count()} GPUs; start as many",
        )
    if config.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(ErrorCode.DEVICE_UNAVAILABLE, "this GPU has no bf16; set precision=fp16 or fp32")
    return torch.device("cuda", world.local_rank)


@contextlib.contextmanager
def _held(output: Path, storage: Storage, world: World, reporter: Reporter) -> Iterator[None]:
    """The output, locked by the first process (N18)."""
    if not world.is_first:
        yield
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"output {output}: {error.strerror}") from None
    with run_lock(storage, reporter.line):
        yield


def _require_enough(index: Index, config: TrainConfig, world: World) -> None:
    """N9, N11, N12: before the first step."""
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
    _require_readable(set(index.unreadable), len(index))


def _require_readable(unreadable: set[str], samples: int) -> None:
    if len(unreadable) > MAX_UNREADABLE * samples:
        raise StageError(
            ErrorCode.TOO_MANY_ERRORS,
            f"{len(unreadable):,} of {samples:,} samples cannot be read (limit {MAX_UNREADABLE:.1%}), such as "
            f"{min(unreadable)}; mend or leave out the shards they are in",
        )
