"""Loading checkpoints safely, and embeddings whose bits do not depend on their company."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from checkout import ROOT
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.vision import clip_model
from pipeline.vision.clip_model import load

PICTURES = [Image.effect_noise((60 + n, 90 - n), 20 + n).convert("RGB") for n in range(11)]
TEXTS = [
    "a red fox in the snow",
    "fox",
    "ein roter Fuchs",
    "一只狐狸",
    "🦊",
    "a dog",
    "two dogs on a beach",
    "sunset",
    "boat",
    "x" * 50,
    "cat",
]


def code_of(error):
    assert "\n" not in error.value.text
    assert error.value.exit_code == 2
    return error.value.code


@pytest.fixture(scope="module")
def model(checkpoint):
    return load(str(checkpoint), device="cpu", batch_size=4)


def test_embeddings_have_length_one_and_are_those_of_openais_code(model, checkpoint):
    image_BD, text_BD = model.encode_images(PICTURES), model.encode_texts(TEXTS)
    assert image_BD.dtype == text_BD.dtype == np.float32
    assert image_BD.shape == text_BD.shape == (11, 32)
    assert np.allclose(np.linalg.norm(image_BD, axis=1), 1, atol=1e-6)
    network, preprocess = clip_model.clip.load(str(checkpoint), device="cpu")  # the reference rounds weights to float16
    with torch.no_grad():
        reference = network.encode_image(torch.stack([preprocess(picture) for picture in PICTURES])).numpy()
        reference_text = network.encode_text(clip_model.clip.tokenize(TEXTS)).numpy()
    assert np.allclose(image_BD, reference / np.linalg.norm(reference, axis=1, keepdims=True), atol=2e-3)
    assert np.allclose(text_BD, reference_text / np.linalg.norm(reference_text, axis=1, keepdims=True), atol=2e-3)


def test_weights_are_not_rounded_to_half_precision(model, checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.network.state_dict().items())


@pytest.mark.parametrize("encode", ["encode_images", "encode_texts"])
def test_bits_do_not_depend_on_the_company_of_a_row(model, encode):
    """L6"""
    items = PICTURES if encode == "encode_images" else TEXTS
    embed = getattr(model, encode)
    together = embed(items)
    order = np.random.default_rng(0).permutation(len(items))
    assert np.array_equal(embed([items[n] for n in order]), together[order])
    assert np.array_equal(np.concatenate([embed([item]) for item in items]), together)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            assert np.array_equal(embed(items), together)
    finally:
        torch.set_num_threads(threads)


def test_another_batch_size_moves_a_score_by_less_than_the_tolerance(model, checkpoint):
    """L6"""
    other = load(str(checkpoint), device="cpu", batch_size=256)
    for embed, items in (("encode_images", PICTURES), ("encode_texts", TEXTS)):
        assert np.abs(getattr(other, embed)(items) - getattr(model, embed)(items)).max() < 0.002
    assert other.digest == model.digest


def test_no_items_are_no_rows(model):
    assert model.encode_images([]).shape == model.encode_texts([]).shape == (0, 32)


@pytest.mark.parametrize("text", ["a very long caption about a fox " * 50, "🦊" * 1000])
def test_a_long_text_is_cut_with_its_end_token_in_place(model, text):
    """L7"""
    tokens = clip_model.clip.tokenize([text], model.context_length, truncate=True)[0]
    assert len(tokens) == 77
    assert tokens[-1] == 49407
    assert np.isfinite(model.encode_texts([text])).all()
    assert model.is_cut(text)
    assert not model.is_cut("a red fox")


def test_the_last_text_that_fits_is_not_cut(model):
    """L7"""
    fits = " ".join(["fox"] * 75)
    assert not model.is_cut(fits)
    assert model.is_cut(fits + " fox")


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_torchscript_archive_is_the_same_model(tmp_path, model, checkpoint, random_network):
    network = random_network(seed=0)
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    with torch.no_grad():
        traced = torch.jit.trace(
            network, (torch.zeros(2, 3, 32, 32), torch.ones(2, 77, dtype=torch.long)), check_trace=False
        )
    torch.jit.save(traced, tmp_path / "traced.pt")
    scripted = load(str(tmp_path / "traced.pt"), device="cpu", batch_size=4)
    assert scripted.digest == model.digest
    assert np.array_equal(scripted.encode_texts(TEXTS), model.encode_texts(TEXTS))


def test_a_state_dict_inside_a_training_checkpoint_is_found(tmp_path, model, checkpoint):
    torch.save({"step": 7, "state_dict": torch.load(checkpoint, weights_only=True)}, tmp_path / "training.pt")
    assert load(str(tmp_path / "training.pt"), device="cpu").digest == model.digest


def test_other_weights_have_another_digest(tmp_path, model, write_random_checkpoint):
    assert load(str(write_random_checkpoint(tmp_path / "other.pt", seed=1)), device="cpu").digest != model.digest


def test_a_missing_model_stops_with_the_way_out(tmp_path):
    """L1"""
    with pytest.raises(InputError, match="path of a checkpoint") as error:
        load(str(tmp_path / "absent.pt"))
    assert code_of(error) == "model_missing"


def test_a_model_of_openais_is_never_downloaded(tmp_path, monkeypatch):
    """L1"""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        clip_model.openai_clip.urllib.request, "urlopen", lambda *_: pytest.fail("nothing may be asked"), raising=False
    )
    with pytest.raises(InputError, match="nothing is downloaded unasked") as error:
        load("ViT-B/32")
    assert code_of(error) == "model_missing"


def test_a_cached_model_of_openais_with_other_bytes_is_refused(tmp_path, monkeypatch, checkpoint):
    """L1"""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    (tmp_path / ".cache" / "clip" / "ViT-B-32.pt").write_bytes(checkpoint.read_bytes())
    with pytest.raises(InputError) as error:
        load("ViT-B/32")
    assert code_of(error) == "model_hash_mismatch"


def test_the_configured_digest_of_the_file_is_checked(checkpoint):
    """L1"""
    load(str(checkpoint), device="cpu", sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest().upper())
    with pytest.raises(InputError) as error:
        load(str(checkpoint), device="cpu", sha256="0" * 64)
    assert code_of(error) == "model_hash_mismatch"


@pytest.mark.parametrize("part", [0, 10, 1000, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_refused(tmp_path, checkpoint, part):
    """L1"""
    data = checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: part if isinstance(part, int) else int(part * len(data))])
    with pytest.raises(InputError) as error:
        load(str(tmp_path / "cut.pt"))
    assert code_of(error) in {"model_missing", "unsafe_checkpoint"}


class Payload:
    def __init__(self, planted):
        self.planted = planted

    def __reduce__(self):
        return os.mkdir, (str(self.planted),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "hidden beside weights"])
def test_a_planted_payload_does_not_run(tmp_path, checkpoint, kind):
    """L2"""
    planted, path = tmp_path / "planted", tmp_path / "model.pt"
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(Payload(planted)))
    else:
        state = torch.load(checkpoint, weights_only=True) if kind == "hidden beside weights" else {}
        torch.save(
            {"state_dict": state, "extra": Payload(planted)}, path, _use_new_zipfile_serialization=kind != "legacy"
        )
    with pytest.raises(InputError) as error:
        load(str(path))
    assert code_of(error) == "unsafe_checkpoint"
    assert not planted.exists()


def test_a_whole_pickled_network_is_refused(tmp_path, random_network):
    """L2"""
    torch.save(random_network(seed=0), tmp_path / "pickled.pt")
    with pytest.raises(InputError) as error:
        load(str(tmp_path / "pickled.pt"))
    assert code_of(error) == "unsafe_checkpoint"


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "no tensors", "empty"])
def test_weights_that_do_not_fit_are_refused(tmp_path, checkpoint, change):
    """L8"""
    state = dict(torch.load(checkpoint, weights_only=True))
    if change == "missing":
        del state["visual.ln_post.weight"]
    if change == "extra":
        state["visual.surprise"] = torch.zeros(1)
    if change == "shape":
        state["visual.ln_post.weight"] = torch.zeros(3)
    if change in ("no tensors", "empty"):
        state = {"visual.proj": 1} if change == "no tensors" else {}
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(InputError) as error:
        load(str(tmp_path / "odd.pt"))
    assert code_of(error) == "model_config_mismatch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_cpu_is_taken_with_one_warning(checkpoint, recwarn):
    """L5"""
    assert load(str(checkpoint), device="auto").device.type == "cpu"
    assert not [one for one in recwarn if one.category is not ResourceWarning]  # garbage of earlier tests may go now
    with pytest.warns(UserWarning, match="no GPU: using the CPU"):
        assert load(str(checkpoint), device="cuda").device_and_precision == "cpu float32"


def test_torchvision_can_be_imported_after_us_and_no_spark_is():
    code = "import pipeline.vision.clip_model, torchvision, sys; assert 'pyspark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
