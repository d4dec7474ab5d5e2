"""CLIP with a Vision Transformer, written for training; names and shapes of its weights are those of openai/CLIP.

A trained ``state_dict`` is therefore what ``clip.load``, open_clip and ``pipeline.vision.clip_model`` read: width,
layers, patch, image size and context length are seen in the shapes, and attention heads are 64 wide throughout.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021 (section 2.4, tables
19 and 20); Dosovitskiy et al., An Image is Worth 16x16 Words, 2021.

Shapes: B batch, S image size in pixels, P patches a side, T image tokens (P² + 1), L text length, W width, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_WIDTH = 64  # readers of the weights derive the number of heads from it
VOCABULARY = 49_408  # CLIP's byte pair encoding with its start and end tokens
INITIAL_TEMPERATURE = 0.07
MAX_LOGIT_SCALE = 100.0  # "clipped to prevent scaling the logits by more than 100" (section 2.5)

Preset = Literal["nano", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"]


@dataclass(frozen=True)
class Shape:
    """What the weights' shapes say. Widths are multiples of 64, image size is one of the patch."""

    embed_dim: int
    image_size: int  # pixels
    patch_size: int  # pixels
    vision_width: int
    vision_layers: int
    context_length: int  # tokens, start and end included
    text_width: int
    text_layers: int

    @property
    def image_tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2 + 1


PRESETS: dict[Preset, Shape] = {
    "nano": Shape(128, 64, 16, 128, 4, 24, 128, 3),  # ours: two minutes on two cores (docs/training.md)
    "ViT-B/32": Shape(512, 224, 32, 768, 12, 77, 512, 12),
    "ViT-B/16": Shape(512, 224, 16, 768, 12, 77, 512, 12),
    "ViT-L/14": Shape(768, 224, 14, 1024, 24, 77, 768, 12),
    "ViT-L/14@336px": Shape(768, 336, 14, 1024, 24, 77, 768, 12),
}


class Encoded(NamedTuple):
    """Embeddings of length 1, and the factor by which their cosines become logits."""

    image_BD: Tensor
    text_BD: Tensor
    logit_scale: Tensor


class Clip(nn.Module):
    """Two encoders and a temperature. ``forward`` gives embeddings; the loss is in ``pipeline.training.loss``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.visual = VisionTransformer(shape)
        self.transformer = Transformer(shape.text_width, shape.text_layers, causal=True)
        self.token_embedding = nn.Embedding(VOCABULARY, shape.text_width)
        self.positional_embedding = nn.Parameter(torch.empty(shape.context_length, shape.text_width))
        self.ln_final = nn.LayerNorm(shape.text_width)
        self.text_projection = nn.Parameter(torch.empty(shape.text_width, shape.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))
        self._initialise()

    def _initialise(self) -> None:
        """As openai/CLIP: text blocks by width and depth (as in GPT-2), image blocks as PyTorch does by default."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        width, layers = self.shape.text_width, self.shape.text_layers
        residual_std = width**-0.5 * (2 * layers) ** -0.5
        for block in self.transformer.blocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=residual_std)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def encode_image(self, pixels_B3SS: Tensor) -> Tensor:
        """[B, D], of any length, of normalised pixels."""
        image_BD: Tensor = self.visual(pixels_B3SS)
        return image_BD

    def encode_text(self, tokens_BL: Tensor) -> Tensor:
        """[B, D], of any length: what stands at the end token, which has the highest number of all."""
        x_BLW: Tensor = self.token_embedding(tokens_BL) + self.positional_embedding[: tokens_BL.shape[1]]
        x_BLW = self.ln_final(self.transformer(x_BLW))
        return x_BLW[torch.arange(len(x_BLW), device=x_BLW.device), tokens_BL.argmax(dim=1)] @ self.text_projection

    def forward(self, pixels_B3SS: Tensor, tokens_BL: Tensor) -> Encoded:
        image_BD = F.normalize(self.encode_image(pixels_B3SS).float(), dim=1)
        text_BD = F.normalize(self.encode_text(tokens_BL).float(), dim=1)
        return Encoded(image_BD, text_BD, self.logit_scale.exp())

    @torch.no_grad()
    def clip_logit_scale(self) -> None:
        """After each step: no scale above 100."""
        self.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))


class VisionTransformer(nn.Module):
    """Patches and a class token, whose last state is the image."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, scale = shape.vision_width, shape.vision_width**-0.5
        self.conv1 = nn.Conv2d(3, width, shape.patch_size, shape.patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(shape.image_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, shape.vision_layers, causal=False)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, shape.embed_dim))

    def forward(self, pixels_B3SS: Tensor) -> Tensor:
        patches_BTW = self.conv1(pixels_B3SS).flatten(2).transpose(1, 2)
        class_B1W = self.class_embedding.to(patches_BTW.dtype).expand(len(patches_BTW), 1, -1)
        x_BTW = torch.cat([class_B1W, patches_BTW], dim=1) + self.positional_embedding
        x_BTW = self.transformer(self.ln_pre(x_BTW))
        image_BW: Tensor = self.ln_post(x_BTW[:, 0])
        return image_BW @ self.proj


class Transformer(nn.Module):
    """Residual blocks, normalised before attention and before the MLP."""

    def __init__(self, width: int, layers: int, causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, causal) for _ in range(layers)))

    @property
    def blocks(self) -> list[Block]:
        return [block for block in self.resblocks if isinstance(block, Block)]

    def forward(self, x_BLW: Tensor) -> Tensor:
        for block in self.blocks:
            x_BLW = block(x_BLW)
        return x_BLW


class Block(nn.Module):
    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.attn = Attention(width, causal)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x_BLW: Tensor) -> Tensor:
        x_BLW = x_BLW + self.attn(self.ln_1(x_BLW))
        x_BLW = x_BLW + self.mlp(self.ln_2(x_BLW))
        return x_BLW


class Attention(nn.Module):
    """Multi-head self-attention; weights named as in ``torch.nn.MultiheadAttention``, and initialised like it."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x_BLW: Tensor) -> Tensor:
        projected = F.linear(x_BLW, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(2, (3, self.heads, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x_BLW = self.out_proj(attended.transpose(1, 2).flatten(2))
        return x_BLW


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x_BLW: Tensor) -> Tensor:
        x_BLW = self.c_proj(self.gelu(self.c_fc(x_BLW)))
        return x_BLW


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU. Weights trained with the one go with no other."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
