"""Settings of stage clip: which model scores the pairs, and how similar image and caption must be."""

from __future__ import annotations

from pipeline.core.config import Decide, Field, Measure, MeasuredContent, Operate, StageConfig


class Config(StageConfig):
    """The section ``clip`` of the config."""

    model: MeasuredContent[str] = Field(
        "", description="path of a CLIP checkpoint, or one of OpenAI's names (ViT-B/32) that is in CLIP's cache"
    )
    model_sha256: Operate[str] = Field(
        "", pattern="^([0-9a-fA-F]{64})?$", description="sha256 that the checkpoint's file must have; empty: any"
    )
    min_score: Decide[float] = Field(
        0.28, ge=-1, le=1, description="lowest cosine kept (LAION-5B: 0.28 for English, ViT-B/32; LAION-400M: 0.3)"
    )
    batch_size: Measure[int] = Field(
        32, ge=1, le=65_536, description="images or captions per batch; every batch is padded to it, for equal bits"
    )
    device: Operate[str] = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one; cpu; cuda; cuda:1"
    )
