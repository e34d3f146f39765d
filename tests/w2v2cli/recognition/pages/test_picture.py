"""The emissions as a picture, read back by another program's decoder."""

import base64
import io
import re

import numpy as np
import pytest

from lm.hypothesis import Word
from w2v2cli.recognition.pages.heard import HeardUtterance
from w2v2cli.recognition.pages.picture import LEVELS, SHADE, picture, png, rows_of, shades
from w2v2cli.recognition.pages.sound import sound_uri

SYMBOLS = ("<pad>", "B", "|", "A", "Z")


@pytest.fixture
def heard():
    probabilities = np.full((7, 5), 1e-6)
    for frame, symbol in enumerate([0, 3, 3, 1, 0, 2, 0]):
        probabilities[frame, symbol] = 1.0 - 4e-6
    probabilities[4] = [0.75, 1e-6, 1e-6, 0.25, 1e-6]
    words = (Word("<AB>", 1, 4, 0.5),)
    path = ((1, 3), (3, 1), (5, 2))
    emission = np.log(probabilities).astype(np.float32)
    return HeardUtterance(np.zeros(2240, np.float32), emission, SYMBOLS, 0, 2, path, words, 0.02)


def test_rows_are_blank_and_boundary_then_the_alphabet_without_what_is_never_heard(heard):
    assert [SYMBOLS[row] for row in rows_of(heard)] == ["<pad>", "|", "A", "B"]


def test_the_picture_has_the_square_root_of_each_probability(heard):
    image = pytest.importorskip("PIL.Image")
    rows = rows_of(heard)
    pixels = np.asarray(image.open(io.BytesIO(png(shades(heard, rows)))).convert("RGBA"))
    assert pixels.shape == (4, 7, 4)
    assert (pixels[..., :3] == SHADE).all()
    expected = np.sqrt(np.exp(heard.emission[:, rows].T))
    np.testing.assert_allclose(pixels[..., 3] / 255, expected, atol=0.5 / LEVELS + 1 / 255)


def test_words_and_the_path_stand_where_they_were_found(heard):
    drawn = picture(heard, 'u"1')
    assert 'data-frames="7" data-frame="0.02"' in drawn
    assert "Emissions of u&quot;1." in drawn
    assert "<title>&lt;AB&gt;, 0.02 to 0.08 s, confidence 0.50</title>" in drawn
    assert '<rect x="4" width="12"' in drawn
    line = re.search(r'class="line" d="M([^"]+)"', drawn)[1].split("L")
    places = [tuple(map(int, place.split())) for place in line]
    assert [(x // 4, (y - 32) // 13) for x, y in places] == [(1, 2), (3, 3), (5, 1)]


def test_nothing_heard_is_an_empty_picture(heard):
    empty = HeardUtterance(np.zeros(0, np.float32), heard.emission[:0], SYMBOLS, 0, 2, (), (), 0.02)
    assert "<image" not in picture(empty, "u")


def test_sound_is_what_was_heard_to_16_bits_and_louder_sound_is_scaled():
    soundfile = pytest.importorskip("soundfile")
    samples = np.random.default_rng(0).uniform(-1, 1, 1600).astype(np.float32)
    for factor in (0.5, 1.5):
        head, _, held = sound_uri(samples * factor).partition(",")
        assert head == "data:audio/flac;base64"
        read, rate = soundfile.read(io.BytesIO(base64.b64decode(held)))
        assert rate == 16_000
        expected = samples * factor / max(np.abs(samples * factor).max(), 1.0)
        np.testing.assert_allclose(read, expected, atol=1 / 32767)
