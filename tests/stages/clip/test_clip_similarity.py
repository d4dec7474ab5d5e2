"""Similarity of pairs: one broken picture shifts and costs no other."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from pipeline.stages.clip.config import Config
from pipeline.stages.clip.similarity import embed_images, embed_texts, scores
from pipeline.vision.clip_model import load


def jpeg(n):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 10 + n).convert("RGB").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def model(checkpoint):
    return load(str(checkpoint), device="cpu", batch_size=4)


def test_one_broken_picture_leaves_every_other_row_in_its_place(model):
    """L3"""
    stored = [jpeg(n) for n in range(9)]
    whole = embed_images(stored, model)
    broken = embed_images([*stored[:3], stored[3][:200], b"", None, *stored[6:]], model)
    assert np.isnan(broken[3:6]).all()
    assert np.array_equal(np.delete(broken, (3, 4, 5), 0), np.delete(whole, (3, 4, 5), 0))


def test_a_distinct_caption_is_embedded_once(model, monkeypatch):
    asked = []
    encode = model.encode_texts
    monkeypatch.setattr(model, "encode_texts", lambda texts: asked.extend(texts) or encode(texts))
    text_BD = embed_texts(["fox", None, "fox", "", "hare"], model)
    assert asked == ["fox", "hare"]
    assert np.array_equal(text_BD[0], text_BD[2])
    assert np.isnan(text_BD[[1, 3]]).all()


def test_the_score_is_the_cosine_and_nothing_that_is_not_finite_has_one():
    """L4"""
    image_BD = np.array([[1, 0], [0.6, 0.8], [np.nan, np.nan], [np.inf, 0]], np.float32)
    text_BD = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], np.float32)
    assert scores(image_BD, text_BD) == [1.0, pytest.approx(0.6), None, None]


def test_no_rows_are_no_scores(model):
    assert scores(embed_images([], model), embed_texts([], model)) == []


@pytest.mark.parametrize(
    "settings", [{"min_score": 1.5}, {"batch_size": 0}, {"device": "tpu"}, {"model_sha256": "abc"}]
)
def test_a_bad_setting_is_refused(settings):
    with pytest.raises(ValidationError):
        Config(**settings)
