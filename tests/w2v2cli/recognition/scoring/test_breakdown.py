"""Where errors lie: groups whose sums are the evaluation's own figures."""

import pytest

from lm.text.normalizers import Normalizer
from w2v2cli.recognition.scoring.breakdown import (
    by_frequency,
    by_length,
    by_speaker,
    confusions,
    whole,
)
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, align, bootstrap_interval, total
from w2v2cli.recognition.scoring.results import Evaluation, Scored

BASIC = Normalizer.named("basic")
TEXTS = [  # speaker, seconds, said, heard
    ("s1", 1.0, "the cat sat", "the cat sat"),
    ("s1", 2.0, "the dog sat on the mat", "a dog sat on a mat"),
    ("s2", 5.0, "the far end", "far end of it"),
    (None, 30.0, "a cat", ""),
]


@pytest.fixture
def result():
    scored = tuple(
        Scored(f"u{number}", speaker, align(said, heard, BASIC), seconds)
        for number, (speaker, seconds, said, heard) in enumerate(TEXTS)
    )
    return Evaluation("x", None, scored, (), 38.0, normalizer="basic")


def test_the_whole_is_the_rate_and_interval_of_the_evaluation(result):
    group = whole(result, seed=3)
    counts = [scored.alignment.words for scored in result.utterances]
    assert (group.utterances, group.counts) == (4, result.words)
    assert group.interval == bootstrap_interval(counts, seed=3)


def test_speakers_are_those_of_the_evaluation_and_one_utterance_has_no_interval(result):
    groups = by_speaker(result, 0)
    assert {group.name: group.counts for group in groups} == result.by_speaker()
    assert [(g.name, g.utterances, g.interval is None) for g in groups] == [
        ("s2", 1, True),
        ("s1", 2, False),
    ]


def test_lengths_hold_every_utterance_once(result):
    groups = by_length(result, 0)
    assert [(g.name, g.utterances) for g in groups] == [
        ("0 to 2 s", 1),
        ("2 to 5 s", 1),
        ("5 to 10 s", 1),
        ("20 s and more", 1),
    ]
    assert total(group.counts for group in groups) == result.words


def test_words_by_frequency_are_counted_by_hand(result):
    groups = {group.name: group.counts for group in by_frequency(result, 0)}
    # the 4 times (1 right, 2 substituted, 1 deleted); cat, sat twice; the others once
    assert groups == {
        "once": ErrorCounts(hits=5, deletions=1),
        "2 to 3 times": ErrorCounts(hits=3, deletions=1),
        "4 to 9 times": ErrorCounts(hits=1, substitutions=2, deletions=1),
    }
    assert sum(counts.reference for counts in groups.values()) == result.words.reference


def test_confusions_come_commonest_first_and_then_by_alphabet(result):
    found = confusions(result, 2)
    assert found.substitutions == [(("the", "a"), 2)]
    assert found.deletions == [("a", 1), ("cat", 1)]
    assert found.insertions == [("it", 1), ("of", 1)]
