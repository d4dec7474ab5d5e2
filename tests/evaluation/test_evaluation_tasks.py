"""Retrieval and zero-shot against brute force; broken pictures, bad labels and wrong models are told."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from checkout import ROOT
from scipy.sparse import csr_array

from pipeline.core.errors import InputError, StageError
from pipeline.evaluation.predict import predict, probabilities
from pipeline.evaluation.result import evaluate_retrieval, evaluate_zero_shot
from pipeline.evaluation.retrieval import CUTS, recalls, retrieval
from pipeline.evaluation.zero_shot import class_embeddings, zero_shot
from pipeline.vision.clip_model import clip, load

CAPTIONS = [
    "a red fox",
    "two dogs",
    "one cat",
    "ein Haus",
    "the sea",
    "a boat",
    "snow",
    "some bread",
    "a lamp",
    "grass",
]


def figures(found):
    return [(one.k, round(one.recall.value, 9), round(one.chance, 9)) for one in found]


def test_recall_on_a_thousand_pairs_is_that_of_brute_force():
    """V8"""
    rng = np.random.default_rng(0)
    query, candidate = rng.normal(size=(1000, 16)), rng.normal(size=(1000, 16))
    right = (rng.random((1000, 1000)) < 0.002) | np.eye(1000, dtype=bool)
    ranked = [sorted(range(1000), key=lambda c, q=q: -float(query[q] @ candidate[c])) for q in range(1000)]
    found = recalls(query, candidate, csr_array(right), queries=1000)
    for one in found:
        brute = np.mean([any(right[q, c] for c in ranked[q][: one.k]) for q in range(1000)])
        assert one.recall.value == pytest.approx(brute)
        assert one.recall.low < brute < one.recall.high
    assert [one.k for one in found] == list(CUTS)


def test_any_right_caption_and_any_right_picture_is_a_hit(model, make_pictures):
    """V8"""
    pictures = make_pictures(4)
    shared = [["a red fox", "two dogs"], ["two dogs"], ["one cat", "the sea"], ["the sea"]]
    found = retrieval(model, pictures, shared)
    assert (found.images, found.texts, found.unreadable) == (4, 4, 0)
    scores = (
        model.encode_images(pictures).astype(float)
        @ model.encode_texts(["a red fox", "two dogs", "one cat", "the sea"]).T
    )
    right = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    assert found.image_to_text[0].recall.value == right[np.arange(4), scores.argmax(1)].mean()
    assert found.text_to_image[0].recall.value == right[scores.argmax(0), np.arange(4)].mean()
    assert found.image_to_text[0].chance == pytest.approx((2 + 1 + 2 + 1) / 16)
    assert found.image_to_text[1].recall.value == found.image_to_text[1].chance == 1


def test_equal_pictures_are_at_chance(model, make_pictures):
    """V7"""
    found = retrieval(model, make_pictures(1) * 10, [[caption] for caption in CAPTIONS])
    assert [one.recall.value for one in found.text_to_image] == pytest.approx([0.1, 0.5, 1.0])
    assert [one.chance for one in found.text_to_image] == pytest.approx([0.1, 0.5, 1.0])


def test_batches_and_runs_change_no_score(checkpoint, model, make_pictures):
    """V9"""
    pictures, captions = make_pictures(10), [[caption] for caption in CAPTIONS]
    reference = retrieval(model, pictures, captions)
    assert retrieval(model, pictures, captions) == reference
    for batch_size in (1, 256):
        other = retrieval(load(str(checkpoint), device="cpu", batch_size=batch_size), pictures, captions)
        assert figures(other.image_to_text) == figures(reference.image_to_text)
        assert figures(other.text_to_image) == figures(reference.text_to_image)


def test_unreadable_pictures_count_as_wrong_and_are_told(model, make_pictures):
    """V4"""
    pictures = make_pictures(150)
    captions = [[f"caption {n}"] for n in range(150)]
    labels = [n % 3 for n in range(150)]
    whole, classes = retrieval(model, pictures, captions), zero_shot(model, pictures, labels, CAPTIONS[:3])
    pictures[7] = None
    found, found_classes = retrieval(model, pictures, captions), zero_shot(model, pictures, labels, CAPTIONS[:3])
    assert (found.images, found.unreadable, found_classes.pictures, found_classes.unreadable) == (150, 1, 150, 1)
    assert found.text_to_image[2].recall.value <= whole.text_to_image[2].recall.value + 3 / 150
    assert 0 <= classes.top1.value - found_classes.top1.value <= 1 / 150
    assert found_classes.top5.value == pytest.approx(149 / 150)
    pictures[8] = None
    with pytest.raises(StageError, match="too_many_errors: 2 of 150 images"):
        retrieval(model, pictures, captions)
    with pytest.raises(StageError, match="too_many_errors: 2 of 150 images"):
        zero_shot(model, pictures, labels, CAPTIONS[:3])


def test_zero_shot_is_the_nearest_mean_of_the_templates(model, make_pictures):
    pictures, labels, names = make_pictures(30), [n % 5 for n in range(30)], CAPTIONS[:5]
    templates = ["a picture of {}", "{}.", "no {} here"]
    texts = np.stack([model.encode_texts([template.format(name) for template in templates]).mean(0) for name in names])
    assert class_embeddings(model, names, templates) == pytest.approx(
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    )
    scores = model.encode_images(pictures) @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
    found = zero_shot(model, pictures, labels, names, templates)
    right = scores.argmax(1) == labels
    assert found.top1.value == pytest.approx(right.mean())
    assert found.mean_per_class == pytest.approx(np.mean([right[np.array(labels) == c].mean() for c in range(5)]))
    assert (found.chance1, found.chance5, found.top5.value) == pytest.approx((0.2, 1.0, 1.0))


@pytest.mark.parametrize(
    ("labels", "names", "code"),
    [
        ([0, 1, 2], ["a", "b"], "labels_invalid"),
        ([0, -1], ["a", "b"], "labels_invalid"),
        ([0, 1, 1], ["a", "a"], "labels_invalid"),
        ([0, 0], ["a"], "dataset_too_small"),
        ([], ["a", "b"], "dataset_too_small"),
    ],
)
def test_labels_that_fit_no_names_have_no_score(model, make_pictures, labels, names, code):
    """V3, V6"""
    with pytest.raises(InputError, match=f"{code}: "):
        zero_shot(model, make_pictures(len(labels)), labels, names)


def test_a_template_without_a_place_for_the_name_is_refused(model, make_pictures):
    with pytest.raises(InputError, match="labels_invalid: a template needs"):
        zero_shot(model, make_pictures(2), [0, 1], ["a", "b"], ["a photo"])


@pytest.mark.parametrize("captions", [[], [["one"]], [["one"], ["one"]]])
def test_one_picture_or_one_text_has_no_recall(model, make_pictures, captions):
    """V6"""
    with pytest.raises(InputError, match="dataset_too_small"):
        retrieval(model, make_pictures(len(captions)), captions)


# -- from files, and to a file


def test_samples_of_one_picture_are_one_picture_with_all_captions(model, make_pictures, as_png, write_pairs, tmp_path):
    data = [as_png(picture) for picture in make_pictures(4)]
    pairs = [(data[n % 4], caption) for n, caption in enumerate(CAPTIONS)]
    found = evaluate_retrieval(model, [str(write_pairs(tmp_path / "a.tar", pairs))]).figures
    expected = retrieval(model, make_pictures(4), [CAPTIONS[n::4] for n in range(4)])
    assert found == expected


def test_pictures_of_the_training_data_are_counted_and_refused_on_request(
    model, make_pictures, as_png, write_pairs, tmp_path
):
    """V10"""
    pairs = [(as_png(picture), caption) for picture, caption in zip(make_pictures(10), CAPTIONS, strict=True)]
    test, seen = write_pairs(tmp_path / "a.tar", pairs), write_pairs(tmp_path / "b.tar", pairs[6:], first=100)
    unseen = write_pairs(tmp_path / "c.tar", [(as_png(picture), "x") for picture in make_pictures(3, seed=1)])
    assert evaluate_retrieval(model, [str(test)]).overlap is None
    assert evaluate_retrieval(model, [str(test)], training_data=[str(seen)]).overlap == 4
    assert evaluate_retrieval(model, [str(test)], training_data=[str(unseen)], require_clean=True).overlap == 0
    with pytest.raises(StageError, match="eval_overlap: 4 of 10 test images"):
        evaluate_retrieval(model, [str(test)], training_data=[str(seen)], require_clean=True)


def folder_of_classes(folder, pictures, as_png):
    for number, picture in enumerate(pictures):
        place = folder / f"class{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03}.png").write_bytes(as_png(picture))
    return folder


def test_a_folder_of_classes_is_labelled_by_its_folders_or_a_file_of_names(model, make_pictures, as_png, tmp_path):
    """V3"""
    folder = folder_of_classes(tmp_path / "set", make_pictures(12), as_png)
    names = tmp_path / "names.txt"
    names.write_text("fox\ndog\ncat\n")
    found = evaluate_zero_shot(model, folder, names, ["{}"])
    pictures = [picture for label in range(3) for picture in make_pictures(12)[label::3]]
    assert found.figures == zero_shot(model, pictures, [0] * 4 + [1] * 4 + [2] * 4, ["fox", "dog", "cat"], ["{}"])
    assert found.data != evaluate_zero_shot(model, folder, None, ["{}"]).data
    assert found.data != evaluate_zero_shot(model, folder, names, ["a {}"]).data
    names.write_text("fox\ndog\n")
    with pytest.raises(InputError, match="labels_invalid: 2 class names for 3 folders"):
        evaluate_zero_shot(model, folder, names)


def test_a_result_names_model_and_data_and_replaces_an_old_one_whole(
    model, write_random_checkpoint, make_pictures, as_png, write_pairs, tmp_path
):
    """V11"""
    pairs = [(as_png(picture), caption) for picture, caption in zip(make_pictures(10), CAPTIONS, strict=True)]
    data, out = [str(write_pairs(tmp_path / "a.tar", pairs))], tmp_path / "result.json"
    evaluate_retrieval(model, data).write(out)
    first = json.loads(out.read_text())
    assert first["model"] == model.digest
    assert first["figures"]["image_to_text"][1]["k"] == 5
    other = load(str(write_random_checkpoint(tmp_path / "other.pt", 1)), device="cpu")
    evaluate_retrieval(other, data).write(out)
    second = json.loads(out.read_text())
    assert second["model"] == other.digest != first["model"]
    assert second["data"] == first["data"]
    assert [path.name for path in tmp_path.iterdir() if "result" in path.name] == ["result.json"]


def test_a_kill_while_a_result_is_written_leaves_the_old_or_the_new_one(tmp_path):
    """V11"""
    program = (
        "import sys, pathlib\n"
        "from pipeline.core.storage import Storage\n"
        "from pipeline.evaluation.result import Result\n"
        "from pipeline.evaluation.retrieval import Retrieval\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    Result('retrieval', str(n) * 20000, 'data', 'cpu', Retrieval(n, n, n, [], [])).write(pathlib.Path(sys.argv[1]))\n"
    )
    out = tmp_path / "result.json"
    running = subprocess.Popen([sys.executable, "-c", program, str(out)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while not out.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        running.kill()
        running.wait()
    result = json.loads(out.read_text())
    assert result["model"] == str(result["figures"]["images"]) * 20000


def test_a_checkpoint_of_another_network_is_refused_by_name(checkpoint, tmp_path):
    """V1"""
    state = torch.load(checkpoint, weights_only=True)
    state["visual.extra"] = torch.zeros(3)
    del state["ln_final.bias"]
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"model_config_mismatch: .*ln_final\.bias.*visual\.extra"):
        load(str(tmp_path / "other.pt"), device="cpu")


def test_image_size_and_context_length_come_from_the_checkpoint(tmp_path, make_pictures):
    """V2"""
    network = clip.model.CLIP(16, 48, 1, 64, 16, 9, 49408, 64, 1, 1)
    torch.save(network.state_dict(), tmp_path / "other.pt")
    model = load(str(tmp_path / "other.pt"), device="cpu")
    assert (model.image_size, model.context_length) == (48, 9)
    assert model.preprocess(make_pictures(1)[0]).shape == (3, 48, 48)
    assert retrieval(model, make_pictures(2), [["a " * 30], ["b"]]).images == 2


# -- predict


def test_predictions_are_those_of_clips_readme(checkpoint, model, make_pictures, as_png, tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path, picture in zip(paths, make_pictures(3), strict=True):
        path.write_bytes(as_png(picture))
    network, preprocess = clip.load(str(checkpoint), device="cpu")
    with torch.no_grad():
        logits, _ = network(
            torch.stack([preprocess(picture) for picture in make_pictures(3)]),
            clip.tokenize([f"a {text}" for text in CAPTIONS], truncate=True),
        )
    found = predict(model, paths, CAPTIONS, "a {}")
    assert [one["image"] for one in found] == [str(path) for path in paths]
    for one, row in zip(found, logits.softmax(dim=1).tolist(), strict=True):
        assert list(one["probabilities"]) == CAPTIONS
        assert list(one["probabilities"].values()) == pytest.approx(row, abs=0.01)
    assert probabilities(model, make_pictures(3), CAPTIONS).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(("content", "code"), [(None, "input_missing"), (b"no picture", "input_unreadable")])
def test_what_is_no_picture_is_told_by_name(model, tmp_path, content, code):
    if content:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"{code}: \S*a\.png"):
        predict(model, [tmp_path / "a.png"], ["x", "y"])
