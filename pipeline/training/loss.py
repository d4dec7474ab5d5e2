"""CLIP's contrastive loss, on one process or on many.

Source: Radford et al., 2021, figure 3. Each process holds its share of the global batch, gathers the embeddings of all
with their gradient, and compares its own rows with every column: [B/W, B] logits instead of [B, B].

Shapes: B global batch, W processes, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.training.model import Encoded
from pipeline.training.world import World


def contrastive_loss(encoded: Encoded, valid_B: Tensor, world: World) -> Tensor:
    """Mean of both cross entropies, image to texts and text to images; the mean over processes is that of the batch.

    ``valid_B`` (of the share) is False where a sample could not be read: it has no row, and no column in any other.
    With every sample valid in one process this is, to the letter, figure 3 of the paper.
    """
    all_valid = world.gather(valid_B)
    logits_per_image = encoded.logit_scale * encoded.image_BD @ world.gather(encoded.text_BD).T
    logits_per_text = encoded.logit_scale * encoded.text_BD @ world.gather(encoded.image_BD).T
    labels = torch.arange(len(valid_B), device=valid_B.device) + world.rank * len(valid_B)
    total = sum(
        F.cross_entropy(logits.masked_fill(~all_valid, -torch.inf)[valid_B], labels[valid_B], reduction="sum")
        for logits in (logits_per_image, logits_per_text)
    )
    return total / 2 * world.size / all_valid.sum()
