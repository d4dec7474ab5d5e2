"""A CLIP model and what it makes of pictures and captions: the one place where checkpoints are read.

Nothing is downloaded. Of a file only the tensors are used: the network is OpenAI's (QuickGELU), built from the shapes
of its weights. A pickle must load with ``weights_only=True``, which runs nothing in it. A TorchScript archive is opened
by ``torch.jit.load``: its methods are compiled, and those that restore its state run in TorchScript's interpreter (no
Python, no sandbox either); its networks are never called. Take archives from where you would take a program.

Every batch goes through the network at one shape, the last one padded. On a CPU other batch shapes change the last
bits of most scores; at one shape a row has the same bits in any place of any batch, for any number of threads.

Shapes: B batch, D embedding, L text length.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pipeline.core.errors import ErrorCode, InputError


def _define_missing_torchvision_ops() -> None:
    """Let ``import torchvision`` work where its compiled operators do not load.

    The wheel of torchvision 0.28 is linked against CUDA; beside a CPU torch its import fails with "operator
    torchvision::nms does not exist", although CLIP's transforms need no operator at all.
    """
    if "torchvision" in sys.modules:
        return
    found = importlib.util.find_spec("torchvision")
    for library in Path(found.origin).parent.glob("_C*") if found and found.origin else ():
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return
    for operator in ("nms", "qnms"):
        _TORCHVISION.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")  # what it defines lives as long as it does
_define_missing_torchvision_ops()

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    import clip
    import clip.clip as openai_clip
    import clip.model

_PREPROCESSING = "resize bicubic, centre crop, RGB, OpenAI mean and std; QuickGELU"

_SIZES = ("input_resolution", "context_length", "vocab_size")  # kept as tensors in OpenAI's archives; no weights

StateDict = dict[str, torch.Tensor]
T = TypeVar("T")


class Network(Protocol):
    """What is used of ``clip.model.CLIP``, a torch module without types."""

    context_length: int
    visual: Any
    text_projection: torch.Tensor
    logit_scale: torch.Tensor

    def encode_image(self, image: torch.Tensor) -> torch.Tensor: ...
    def encode_text(self, text: torch.Tensor) -> torch.Tensor: ...
    def float(self) -> Self: ...
    def eval(self) -> Self: ...
    def to(self, device: torch.device) -> Self: ...
    def state_dict(self) -> StateDict: ...


def load(name_or_path: str, device: str = "auto", batch_size: int = 32, sha256: str = "") -> ClipModel:
    """The model at a path, or one of OpenAI's by name (ViT-B/32) from CLIP's own cache.

    ``device`` is "auto", "cpu" or a CUDA device; without a GPU the CPU is taken, with one warning where a GPU was
    named. ``sha256`` is the digest the file must have; OpenAI's names carry theirs. InputError: ``model_missing``,
    ``model_hash_mismatch``, ``unsafe_checkpoint``, ``model_config_mismatch``.
    """
    path, sha256 = _find(name_or_path, sha256)
    if sha256:
        _check_sha256(path, sha256)
    return ClipModel(_network(path, _state_dict(path)), _device(device), batch_size)


def tokenize(texts: Sequence[str], context_length: int) -> torch.Tensor:
    """CLIP's tokens, int64 [B, L]; texts over the context length are cut before their end token."""
    tokens_BL: torch.Tensor = clip.tokenize(list(texts), context_length, truncate=True)
    return tokens_BL


class ClipModel:
    """A CLIP network in float32 on one device. ``digest`` names weights, preprocessing and context length."""

    def __init__(self, network: Network, device: torch.device, batch_size: int) -> None:
        self.network = network.float().eval().to(device)
        self.device = device
        self.batch_size = batch_size
        self.context_length = int(network.context_length)
        self.image_size = int(network.visual.input_resolution)
        self.embed_dim = int(network.text_projection.shape[1])
        self.preprocess = openai_clip._transform(self.image_size)
        self.digest = _digest(network.state_dict(), f"{_PREPROCESSING}; {self.image_size} px; {self.context_length}")

    @property
    def device_and_precision(self) -> str:
        """As the column clip_device holds it: "cpu float32"."""
        return f"{self.device.type} float32"

    def encode_images(self, pictures: Iterable[Image.Image]) -> npt.NDArray[np.float32]:
        """Embeddings of length 1, [B, D]."""
        batches = (torch.stack([self.preprocess(picture) for picture in some]) for some in self._batches(pictures))
        return self._encode(self.network.encode_image, batches)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings of length 1, [B, D]; texts over the context length are cut before their end token."""
        batches = (tokenize(some, self.context_length) for some in self._batches(texts))
        return self._encode(self.network.encode_text, batches)

    def is_cut(self, text: str) -> bool:
        """Whether ``text`` has more tokens than the context length holds beside start and end token."""
        return len(openai_clip._tokenizer.encode(text)) + 2 > self.context_length

    def _batches(self, items: Iterable[T]) -> Iterator[list[T]]:
        remaining = iter(items)
        while some := list(islice(remaining, self.batch_size)):
            yield some

    @torch.inference_mode()
    def _encode(
        self, encoder: Callable[[torch.Tensor], torch.Tensor], batches: Iterable[torch.Tensor]
    ) -> npt.NDArray[np.float32]:
        encoded = [np.empty((0, self.embed_dim), np.float32)]
        for batch in batches:
            padding = batch[:1].expand(self.batch_size - len(batch), *batch.shape[1:])
            embedding_BD = encoder(torch.cat([batch, padding]).to(self.device)).float()
            embedding_BD = embedding_BD / embedding_BD.norm(dim=1, keepdim=True)
            encoded.append(embedding_BD[: len(batch)].cpu().numpy())
        return np.concatenate(encoded)


def _find(name_or_path: str, sha256: str) -> tuple[Path, str]:
    """The checkpoint's file and the digest it must have ("" for any)."""
    url = openai_clip._MODELS.get(name_or_path)
    if url is None:
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(
                ErrorCode.MODEL_MISSING, f"{name_or_path!r} is not a file; give clip.model the path of a checkpoint"
            )
        return path, sha256
    folder, file = url.split("/")[-2:]
    path = Path.home() / ".cache" / "clip" / file
    if not path.is_file():
        raise InputError(
            ErrorCode.MODEL_MISSING,
            f"{name_or_path} is not at {path} and nothing is downloaded unasked; put {url} there",
        )
    return path, sha256 or folder


def _check_sha256(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise InputError(
            ErrorCode.MODEL_HASH_MISMATCH, f"{path} has sha256 {found}, expected {sha256}; get the file again"
        )


def _state_dict(path: Path) -> StateDict:
    """The tensors of a checkpoint, by OpenAI's names. No code of the file is run, no class but tensors is built."""
    try:
        if _is_torchscript(path):
            archived: StateDict = torch.jit.load(str(path), map_location="cpu").state_dict()
            return archived
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            ErrorCode.UNSAFE_CHECKPOINT,
            f"{path} is not a plain table of tensors and was not loaded; save its state_dict alone",
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            ErrorCode.MODEL_MISSING, f"{path} is cut off or not a checkpoint; get the file again"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(
            ErrorCode.MODEL_CONFIG_MISMATCH, f"{path} holds no state_dict (names to tensors) of a CLIP model"
        )
    return state


def _is_torchscript(path: Path) -> bool:
    """Both kinds of archive are zip files; only TorchScript has a table of constants."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _network(path: Path, state: StateDict) -> Network:
    state = {name: tensor for name, tensor in state.items() if name not in _SIZES}
    try:
        network: Any = clip.model.build_model(dict(state)).float()
        network.load_state_dict(state)  # again: build_model has rounded them to float16
    except (KeyError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        first = " ".join(str(error).split())[:300]
        raise InputError(
            ErrorCode.MODEL_CONFIG_MISMATCH, f"{path} does not hold weights of OpenAI's CLIP: {first}"
        ) from error
    clip_network: Network = network
    return clip_network


def _device(device: str) -> torch.device:
    if device != "cpu" and torch.cuda.is_available():
        return torch.device("cuda" if device == "auto" else device)
    if device not in ("auto", "cpu"):
        warnings.warn(f"clip.device is {device}, but there is no GPU: using the CPU", stacklevel=3)
    return torch.device("cpu")


def _digest(state: StateDict, preprocessing: str) -> str:
    """32 hex digits over names, shapes and float32 values, equal for every file that holds the same model."""
    digest = hashlib.blake2b(preprocessing.encode(), digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"\0{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
