"""A training learns, ends with a model that others read, and whatever stops it on the way costs time only."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import ROOT
from PIL import Image

from pipeline.core.errors import InputError, StageError
from pipeline.core.lock import run_lock
from pipeline.core.progress import Reporter
from pipeline.core.storage import open_storage
from pipeline.training import checkpoint
from pipeline.training.batches import samples_of_step
from pipeline.training.config import TrainConfig
from pipeline.training.loop import learning_rate, optimizer, train
from pipeline.training.model import PRESETS, Clip
from pipeline.training.signals import Stopped
from pipeline.vision.clip_model import clip, load

PIXELS = np.random.default_rng(0).integers(0, 255, (4, 80, 70, 3), np.uint8)
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]
TEXTS = ["a red stripe on blue paper", "nothing", "ein roter Streifen", "a " * 50]


class At(Reporter):
    """Says nothing; at a step of the training it does something."""

    def __init__(self, step, action):
        super().__init__(quiet=True)
        self.step, self.action, self.lines = step, action, []

    def line(self, text, **facts):
        self.lines.append(text)
        if facts.get("event") == "step" and facts["step"] == self.step:
            self.action()


def send(number):
    return lambda: os.kill(os.getpid(), number)


def stop_at(step, config):
    with pytest.raises(Stopped):
        train(config, At(step, send(signal.SIGTERM)))


def written(folder):
    return {name: (Path(folder) / name).read_bytes() for name in ("model.pt", "train.json", "metrics.jsonl")}


@contextlib.contextmanager
def process(config, *more):
    """`pairmill train` with the settings of ``config``."""
    sets = [f"--set={name}={json.dumps(value)}" for name, value in config.model_dump().items()]
    command = [sys.executable, "-m", "jobs.cli", "train", *sets, *more]
    started = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_for(condition, running, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- what comes out


def test_a_trained_model_gives_the_same_cosines_in_clip_load(trained):
    model = load(str(trained.model), device="cpu")
    network, preprocess = clip.load(str(trained.model), device="cpu")  # it rounds the weights to float16
    with torch.no_grad():
        image_BD = network.encode_image(torch.stack([preprocess(picture) for picture in PICTURES])).numpy()
        text_BD = network.encode_text(clip.tokenize(TEXTS, 24, truncate=True)).numpy()
    image_BD, text_BD = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image_BD, text_BD))
    assert np.abs(model.encode_images(PICTURES) @ model.encode_texts(TEXTS).T - image_BD @ text_BD.T).max() < 1e-3


def test_a_training_leaves_its_account(trained, settings):
    account = json.loads((trained.model.parent / "train.json").read_text())
    assert account["steps"] == len(account["losses"]) == trained.steps == 8
    assert account["settings"]["learning_rate"] == 1e-3
    assert "output" not in account["settings"]
    metrics = [json.loads(line) for line in (trained.model.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in metrics] == trained.losses
    assert [line["learning_rate"] for line in metrics] == [learning_rate(step, settings("x")) for step in range(8)]
    assert trained.losses[0] == pytest.approx(np.log(8), abs=0.6)


def test_sixty_steps_learn_what_the_words_mean(settings, tmp_path):
    result = train(settings(tmp_path / "out", steps=60, warmup_steps=15), Reporter(quiet=True))
    assert np.mean(result.losses[-10:]) < 0.7 * np.log(8)


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine():
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(step, config) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert rates[10] == max(rates) == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.001


def test_only_matrices_decay(settings):
    network = Clip(PRESETS["nano"])
    decayed, kept = optimizer(network, settings("x")).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kept_names = {names[id(parameter)] for parameter in kept["params"]}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(
        "bias" in name or "ln_" in name or name in ("logit_scale", "visual.class_embedding") for name in kept_names
    )
    assert {"logit_scale", "ln_final.weight", "visual.ln_pre.bias"} <= kept_names
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


# -- again, and further


def test_a_finished_training_is_up_to_date(trained, settings):
    before = written(trained.model.parent)
    started = time.monotonic()
    again = train(settings(trained.model.parent), Reporter(quiet=True))
    assert again == dataclasses.replace(trained, up_to_date=True)
    assert time.monotonic() - started < 5
    assert written(trained.model.parent) == before


def test_the_same_training_elsewhere_and_with_other_threads_is_the_same_to_the_byte(trained, settings, tmp_path):
    """N19"""
    train(settings(tmp_path / "out", workers=5, cache_mb=0, checkpoint_steps=3), Reporter(quiet=True))
    assert written(tmp_path / "out") == written(trained.model.parent)


def test_another_seed_is_another_model(trained, settings, tmp_path):
    other = train(settings(tmp_path / "out", seed=4, steps=3), Reporter(quiet=True))
    assert other.losses[0] != trained.losses[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")])
def test_a_signal_ends_the_step_saves_and_the_rest_is_as_without(trained, settings, tmp_path, number, code):
    """N1, N5"""
    config = settings(tmp_path / "out")
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"{code}: stopped and saved at step 3") as stopped:
        train(config, At(3, send(number)))
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before
    assert not (tmp_path / "out" / "model.pt").exists()
    resumed = At(0, None)
    result = train(config, resumed)
    assert any("resuming from step 3" in line for line in resumed.lines)
    assert result.losses == pytest.approx(trained.losses, abs=1e-6)
    assert written(tmp_path / "out") == written(trained.model.parent)


def test_a_terminated_command_says_one_line_and_exits_with_143(settings, tmp_path):
    """N1"""
    with process(settings(tmp_path / "out", steps=2000), "--log", "json") as running:
        metrics = tmp_path / "out" / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2, running)
        running.terminate()
        running.terminate()
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("pairmill: error: terminated: stopped and saved at step")
    assert checkpoint.entries(open_storage(str(tmp_path / "out")))[0].step >= 2


def test_a_kill_while_a_checkpoint_is_written_costs_the_steps_since_the_one_before(trained, settings, tmp_path):
    """N2, N5"""
    config, folder = settings(tmp_path / "out", checkpoint_steps=1), tmp_path / "out" / "checkpoints"
    with process(config) as running:
        wait_for(lambda: (folder / "latest.json").exists(), running)
        wait_for(lambda: any(name.startswith(".step") for name in os.listdir(folder)), running)
        running.kill()
        running.wait()
    assert checkpoint.load_newest(open_storage(str(tmp_path / "out")), pytest.fail)["step"] >= 1
    result = train(config, Reporter(quiet=True))
    assert result.losses == pytest.approx(trained.losses, abs=1e-6)
    assert written(tmp_path / "out") == written(trained.model.parent)


def test_a_training_goes_on_from_the_checkpoint_before_a_damaged_one(trained, settings, tmp_path):
    """N3"""
    config = settings(tmp_path / "out", checkpoint_steps=2)
    stop_at(5, config)
    (tmp_path / "out" / "checkpoints" / "step-000005.pt").write_bytes(b"cut off")
    reporter = At(0, None)
    train(config, reporter)
    assert any("step-000005.pt is cut off" in line for line in reporter.lines)
    assert written(tmp_path / "out") == written(trained.model.parent)


def test_a_checkpoint_is_one_dict_of_the_same_keys_in_every_version(begun, settings):
    saved = checkpoint.load_newest(open_storage(str(begun)), pytest.fail)
    assert list(saved) == [
        "key",
        "settings",
        "data",
        "network",
        "optimizer",
        "scaler",
        "step",
        "skipped",
        "losses",
        "unreadable",
    ]
    assert (saved["step"], saved["skipped"], len(saved["losses"]), saved["unreadable"]) == (2, 0, 2, [])
    assert saved["settings"]["seed"] == settings(begun).seed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 10}, r"batch_size 8 → 10"),
        ({"model": "ViT-B/32"}, "model nano → ViT-B/32"),
        ({"seed": 9}, "seed 3 → 9"),
    ],
)
def test_a_begun_training_does_not_go_on_with_other_settings(settings, begun, change, words):
    """N6"""
    with pytest.raises(InputError, match=f"resume_mismatch: .*{words}"):
        train(settings(begun, **change), Reporter(quiet=True))


def test_a_begun_training_does_not_go_on_with_other_data(settings, begun, make_samples, write_tar, tmp_path):
    """N6"""
    data = [str(write_tar(tmp_path / "other.tar", make_samples(40, seed=1)))]
    with pytest.raises(InputError, match=r"resume_mismatch: .*data \w{32} → \w{32}"):
        train(settings(begun, data=data), Reporter(quiet=True))


@pytest.fixture(scope="module")
def begun(settings, tmp_path_factory):
    """The folder of a training that was stopped at step 2."""
    folder = tmp_path_factory.mktemp("begun") / "out"
    stop_at(2, settings(folder))
    return folder


# -- what must not be


def test_a_loss_that_is_no_number_stops_and_names_the_batch(settings, tmp_path):
    """N7"""
    config = settings(tmp_path / "out", learning_rate=1e30, checkpoint_steps=1, warmup_steps=0)
    with pytest.raises(StageError, match=r"loss_nonfinite: .* at step (\d+)") as error:
        train(config, Reporter(quiet=True))
    assert len([word for word in error.value.text.split() if word.startswith("0000")]) == 8
    step = int(error.value.text.partition("at step ")[2].split(";")[0].split(",")[0])
    assert [entry.step for entry in checkpoint.entries(open_storage(str(tmp_path / "out")))] == list(
        range(step - 1, 0, -1)
    )
    assert not (tmp_path / "out" / "train.json").exists()


def test_unreadable_samples_are_listed_and_the_same_again(settings, make_samples, write_tar, tmp_path):
    """N9"""
    some, met = make_samples(1000), int(samples_of_step(1, 1000, 8, seed=3)[1][5])
    some[met]["jpg"] = some[met]["jpg"][:400]
    config = {"data": [str(write_tar(tmp_path / "a.tar", some))], "steps": 3}
    first, second = (train(settings(tmp_path / out, **config), Reporter(quiet=True)) for out in "ab")
    assert first.unreadable == second.unreadable == [some[met]["__key__"]]
    assert first.losses == second.losses
    assert json.loads((tmp_path / "a" / "train.json").read_text())["unreadable"] == first.unreadable


@pytest.mark.parametrize("damage", ["picture", "caption"])
def test_too_many_unreadable_samples_stop_the_training(settings, make_samples, write_tar, tmp_path, damage):
    """N9"""
    some = make_samples(60)
    some[0] |= {"jpg": b"no picture"} if damage == "picture" else {"txt": ""}
    data = [str(write_tar(tmp_path / "a.tar", some))]
    with pytest.raises(StageError, match=r"too_many_errors: 1 of \d+ samples cannot be read .* 000000"):
        train(settings(tmp_path / "out", data=data, steps=9), Reporter(quiet=True))


def test_a_shard_that_ends_early_in_mid_training_stops_with_its_name(settings, make_samples, write_tar, tmp_path):
    """N10"""
    path = write_tar(tmp_path / "a.tar", make_samples(60))
    config = settings(tmp_path / "out", data=[str(path)], steps=60, cache_mb=0)
    with pytest.raises(StageError, match=r"shard_unreadable: \S*a\.tar ends before byte"):
        train(config, At(6, lambda: os.truncate(path, 9000)))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"batch_size": 41}, "dataset_too_small", "40 samples do not fill a batch of 41"),
        ({"precision": "bf16", "device": "cpu"}, "device_unavailable", "needs a GPU"),
        ({"output": ""}, "output_unwritable", "give a local folder"),
        ({"output": "s3://bucket/x"}, "output_unwritable", "give a local folder"),
        ({"data": []}, "config_invalid", "nothing to read"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(settings, tmp_path, change, code, words):
    """N12, N15"""
    with pytest.raises(InputError, match=f"{code}: .*{words}"):
        train(settings(**({"output": tmp_path / "out"} | change)), Reporter(quiet=True))
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_batch_of_one_pair_is_no_setting():
    """N12"""
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        TrainConfig(batch_size=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error_and_auto_takes_the_cpu(settings, tmp_path, trained):
    """N15"""
    with pytest.raises(InputError, match="device_unavailable: device is cuda and there is no GPU"):
        train(settings(tmp_path / "out", device="cuda"), Reporter(quiet=True))
    assert trained.steps == 8


def test_two_trainers_do_not_share_an_output(settings, tmp_path):
    """N18"""
    (tmp_path / "out").mkdir()
    with (
        run_lock(open_storage(str(tmp_path / "out")), pytest.fail),
        pytest.raises(InputError, match=r"output_locked: .* is in use by process \d+"),
    ):
        train(settings(tmp_path / "out"), Reporter(quiet=True))


def test_an_output_that_holds_another_training_is_left_alone_unless_told(trained, settings, tmp_path):
    """N18"""
    config = settings(tmp_path / "out", steps=3)
    train(config, Reporter(quiet=True))
    with pytest.raises(InputError, match=r"output_exists: .*steps 3 → 8"):
        train(settings(tmp_path / "out"), Reporter(quiet=True))
    train(settings(tmp_path / "out", overwrite=True), Reporter(quiet=True))
    assert written(tmp_path / "out") == written(trained.model.parent)


def test_overwrite_does_not_begin_the_same_training_anew(trained, settings, tmp_path):
    config = settings(tmp_path / "out", overwrite=True)
    stop_at(4, config)
    reporter = At(0, None)
    train(config, reporter)
    assert any("resuming from step 4" in line for line in reporter.lines)
    assert train(config, Reporter(quiet=True)).up_to_date


def test_a_model_that_was_lost_is_made_again_from_the_last_checkpoint(trained, settings, tmp_path):
    config = settings(tmp_path / "out", steps=3)
    train(config, Reporter(quiet=True))
    before = written(tmp_path / "out")
    (tmp_path / "out" / "model.pt").unlink()
    assert not train(config, Reporter(quiet=True)).up_to_date
    assert written(tmp_path / "out") == before
