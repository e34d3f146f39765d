"""Options are refused by the name of their flag."""

import math

import pytest

from lm.decoding import BeamOptions, DecodingWeights


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "--beam must be at least 1, got 0."),
        ({"width": -5}, "--beam must be at least 1, got -5."),
        ({"nbest": 0}, "--nbest must be at least 1, got 0."),
        ({"tokens": 0}, "--beam-tokens must be at least 1, got 0."),
        ({"threshold": 0}, "--beam-threshold must be above 0, got 0."),
        ({"threshold": math.nan}, "--beam-threshold must be above 0, got nan."),
        ({"width": 5, "nbest": 6}, "--nbest 6 asks for more than --beam 5 keeps."),
    ],
)
def test_beams_that_make_no_sense(options, sentence):
    with pytest.raises(ValueError) as refused:
        BeamOptions(**options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"lm_weight": -0.5}, "--lm-weight must be 0 or more, got -0.5."),
        ({"lm_weight": math.nan}, "--lm-weight must be a finite number, got nan."),
        ({"word_score": math.inf}, "--word-score must be a finite number, got inf."),
        ({"sil_score": -math.inf}, "--sil-score must be a finite number, got -inf."),
        (
            {"unk_score": math.inf},
            "--unk-score must be a number, or -inf to forbid unknown words; got inf.",
        ),
    ],
)
def test_weights_that_make_no_sense(weights, sentence):
    with pytest.raises(ValueError) as refused:
        DecodingWeights(**weights)
    assert str(refused.value) == sentence


def test_defaults_are_the_papers():
    assert DecodingWeights() == DecodingWeights(
        lm_weight=2.0, word_score=-1.0, unk_score=-math.inf, sil_score=0.0
    )
