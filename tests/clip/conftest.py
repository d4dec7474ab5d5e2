"""A CLIP model of OpenAI's architecture, small enough for a test, with random weights."""

import pytest
import torch

from pipeline.vision.clip_model import clip


def random_clip(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return clip.model.CLIP(
        embed_dim=32, image_resolution=32, vision_layers=2, vision_width=64, vision_patch_size=16,
        context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=2,
    ).eval()  # fmt: skip


@pytest.fixture(scope="session")
def random_network():
    """A function from a seed to a network."""
    return random_clip


@pytest.fixture(scope="session")
def write_random_checkpoint():
    """A function (path, seed): a state_dict as torch.save writes it; 13 MB, for the real vocabulary needs its table."""

    def write(path, seed):
        torch.save(random_clip(seed).state_dict(), path)
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, write_random_checkpoint):
    return write_random_checkpoint(tmp_path_factory.mktemp("clip") / "tiny.pt", seed=0)
