"""What a training is: the settings of `pairmill train`.

Measure settings and the data name a training. One of them changed makes another training, which does not resume from
the checkpoints of this one. Operate settings say where and how the work is done.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from pipeline.core.config import Field, Measure, Operate, StageConfig
from pipeline.training.model import Preset

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]


class TrainConfig(StageConfig):
    """Defaults train the nano model on a CPU; the paper's own values are in the descriptions."""

    data: Operate[list[str]] = Field(
        [], description="corpus folders, runs, WebDataset tars or JSON lists of images with captions, used together"
    )
    images: Operate[str] = Field("", description="base folder for paths in JSON lists (default: the list's own folder)")
    output: Operate[str] = Field("", description="folder for checkpoints, model.pt, train.json and metrics.jsonl")
    overwrite: Operate[bool] = Field(False, description="start over if the output holds another training")

    model: Measure[Preset] = Field("nano", description="nano, ViT-B/32, ViT-B/16, ViT-L/14 or ViT-L/14@336px")
    seed: Measure[int] = Field(0, ge=0, lt=2**32, description="of weights, order, crops and choice of captions")
    batch_size: Measure[int] = Field(256, ge=2, description="pairs per step, over all processes (CLIP: 32,768)")
    steps: Measure[int] = Field(180, ge=1, description="steps of the optimiser")
    warmup_steps: Measure[int] = Field(
        45, ge=0, description="steps of linear warm-up (CLIP: 2,000); without any, nano stays at its first loss"
    )
    learning_rate: Measure[float] = Field(1e-3, gt=0, description="at its highest (CLIP: 5e-4 for ViT-B/32)")
    weight_decay: Measure[float] = Field(0.1, ge=0, description="of matrices; none on gains, biases, scale (CLIP: 0.2)")
    beta1: Measure[float] = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean gradient")
    beta2: Measure[float] = Field(0.98, ge=0, lt=1, description="AdamW's decay of the mean square (CLIP, table 18)")
    epsilon: Measure[float] = Field(1e-6, gt=0, description="added to AdamW's denominator (CLIP, table 18)")
    max_gradient_norm: Measure[float] = Field(1.0, gt=0, description="longer gradients are shortened to this")
    crop_margin: Measure[float] = Field(
        0.125, ge=0, le=1, description="images are resized this much larger than the random crop"
    )
    precision: Measure[Precision] = Field("fp32", description="of the networks' arithmetic; bf16 and fp16 need a GPU")

    device: Operate[Device] = Field("auto", description="auto uses a GPU if there is one, cuda requires one")
    workers: Operate[int] = Field(2, ge=1, le=256, description="threads that decode images; does not change results")
    cache_mb: Operate[int] = Field(1024, ge=0, description="memory for decoded images, in MiB")
    checkpoint_steps: Operate[int] = Field(50, ge=1, description="steps between checkpoints")
    keep_checkpoints: Operate[int] = Field(3, ge=1, description="newest checkpoints kept")
    verify: Operate[bool] = Field(False, description="first check the sha256 of every shard, not only its size")

    @model_validator(mode="after")
    def _warms_up_before_the_end(self) -> TrainConfig:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, not below the {self.steps} steps of the training")
        return self
