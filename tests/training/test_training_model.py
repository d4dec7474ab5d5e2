"""The network is openai/CLIP's: same names, same shapes, same start, same answers."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.training.model import MAX_LOGIT_SCALE, PRESETS, VOCABULARY, Clip, Shape
from pipeline.vision.clip_model import clip, tokenize

SMALL = Shape(
    embed_dim=48,
    image_size=48,
    patch_size=16,
    vision_width=128,
    vision_layers=2,
    context_length=20,
    text_width=64,
    text_layers=3,
)


def openais(shape: Shape) -> torch.nn.Module:
    return clip.model.CLIP(
        shape.embed_dim,
        shape.image_size,
        shape.vision_layers,
        shape.vision_width,
        shape.patch_size,
        shape.context_length,
        VOCABULARY,
        shape.text_width,
        shape.text_width // 64,
        shape.text_layers,
    )


@pytest.mark.parametrize("shape", [SMALL, *PRESETS.values()], ids=["small", *PRESETS])
def test_names_and_shapes_of_the_weights_are_openais(shape: Shape) -> None:
    with torch.device("meta"):
        ours, theirs = Clip(shape).state_dict(), openais(shape).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_the_same_weights_give_the_answers_of_openais_code() -> None:
    torch.manual_seed(0)
    theirs, ours = openais(SMALL).eval(), Clip(SMALL).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    pixels, tokens = torch.randn(5, 3, 48, 48), tokenize(["a", "red fox in snow", "狐狸", "x" * 90, "two dogs"], 20)
    with torch.no_grad():
        assert torch.allclose(ours.encode_image(pixels), theirs.encode_image(pixels), atol=1e-5)
        assert torch.allclose(ours.encode_text(tokens), theirs.encode_text(tokens), atol=1e-5)
        image_BD, text_BD, scale = ours(pixels, tokens)
        assert torch.allclose(scale * image_BD @ text_BD.T, theirs(pixels, tokens)[0], atol=1e-4)


def test_weights_start_with_the_spread_of_openais_code() -> None:
    torch.manual_seed(0)
    ours, theirs = Clip(SMALL).state_dict(), openais(SMALL).state_dict()
    for name, tensor in ours.items():
        assert tensor.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.05), name
        if tensor.numel() > 500:
            assert tensor.std().item() == pytest.approx(theirs[name].std().item(), rel=0.1, abs=1e-6), name


def test_the_logit_scale_is_clipped_at_100() -> None:
    network = Clip(SMALL)
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        network.logit_scale.fill_(math.log(150))
    network.clip_logit_scale()
    assert network.logit_scale.exp().item() == pytest.approx(MAX_LOGIT_SCALE)


def test_what_stands_after_the_end_token_changes_no_text() -> None:
    network = Clip(SMALL).eval()
    tokens = tokenize(["a red fox"], 20)
    other = tokens.clone()
    other[0, -1] = 17
    with torch.no_grad():
        assert torch.equal(network.encode_text(tokens), network.encode_text(other))
