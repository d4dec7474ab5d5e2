"""The loss is the one of the paper, and a sample that cannot be read is not in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from pipeline.training.loss import contrastive_loss
from pipeline.training.model import Encoded
from pipeline.training.world import World

ALONE = World()


def encoded(rows: int, seed: int = 0) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    image_BD, text_BD = (F.normalize(torch.randn(rows, 8, generator=generator), dim=1) for _ in range(2))
    return Encoded(image_BD, text_BD, torch.tensor(14.3))


def test_the_loss_is_figure_3_of_the_paper() -> None:
    some = encoded(7)
    logits = some.image_BD.double().numpy() @ some.text_BD.double().numpy().T * 14.3
    loss_i = -np.diag(log_softmax(logits, axis=0)).mean()
    loss_t = -np.diag(log_softmax(logits, axis=1)).mean()
    found = contrastive_loss(some, torch.ones(7, dtype=torch.bool), ALONE).item()
    assert found == pytest.approx((loss_i + loss_t) / 2, abs=1e-5)


def test_equal_embeddings_cost_the_logarithm_of_the_batch() -> None:
    some = encoded(1)
    same = Encoded(some.image_BD.expand(16, -1), some.text_BD.expand(16, -1), some.logit_scale)
    assert contrastive_loss(same, torch.ones(16, dtype=torch.bool), ALONE).item() == pytest.approx(np.log(16), abs=1e-5)


def test_an_unreadable_sample_changes_nothing_for_the_others() -> None:
    """N9"""
    some, valid = encoded(6), torch.tensor([True, False, True, True, False, True])
    without = Encoded(some.image_BD[valid], some.text_BD[valid], some.logit_scale)
    expected = contrastive_loss(without, torch.ones(4, dtype=torch.bool), ALONE)
    assert contrastive_loss(some, valid, ALONE).item() == pytest.approx(expected.item(), abs=1e-6)
