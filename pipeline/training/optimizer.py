"""The optimiser and its learning rate.

Source: Radford et al., 2021: section 2.5 and table 18 (AdamW, cosine, decay of matrices alone).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from pipeline.training.config import TrainConfig


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
