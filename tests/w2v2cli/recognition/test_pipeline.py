"""The acoustic stage with and without a search, on the demo model."""

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.search.greedy import greedy_search
from lm.text.vocabulary import Vocabulary
from models.checkpoint import Checkpoint
from models.config import tiny
from models.importers.reader import read_model
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.audio import Waveform, read_audio
from w2v2cli.data.locations import DEMO_MODEL, SHIPPED
from w2v2cli.recognition.acoustic_model import AcousticModel
from w2v2cli.recognition.pipeline import AcousticStage, Pipeline
from w2v2cli.recognition.searching.processes import SearchFailed
from w2v2cli.recognition.searching.spec import SearchSpec

CLIPS = sorted((SHIPPED / "recordings").glob("*.flac"))


@pytest.fixture(scope="module")
def model():
    checkpoint = read_model(DEMO_MODEL)
    network = AcousticModel.load(checkpoint, "cpu", "fp32")
    return network, Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)


class Searching:
    """A search in this thread that keeps its results back until they are waited for."""

    workers = 1

    def __init__(self, vocabulary, fails=False):
        self.vocabulary, self.fails = vocabulary, fails
        self.spec = SearchSpec(vocabulary.symbols, "greedy")
        self.asked = 0

    def submit(self, emission, weights=None, context=None):
        self.asked += 1
        future = Future()
        if self.fails:
            future.set_exception(SearchFailed("No search today."))
        else:
            future.set_result(greedy_search(emission[None], [len(emission)], self.vocabulary)[0])
        return future


def test_emissions_are_what_the_model_gives_each_recording_alone(model):
    network, vocabulary = model
    stage = AcousticStage(network, vocabulary, batch_seconds=30.0)
    for clip, emitted in zip(CLIPS, stage.emissions(CLIPS), strict=True):
        samples = read_audio(clip)
        [alone] = network.log_probs([samples])
        joined = np.concatenate([segment.emission for segment in emitted.segments])
        assert emitted.source == clip and emitted.error is None
        assert emitted.seconds == len(samples) / 16_000
        np.testing.assert_allclose(joined, alone, atol=2e-3)


def test_segments_follow_each_other_without_a_gap(model):
    network, vocabulary = model
    stage = AcousticStage(network, vocabulary)
    long = [CLIPS[0]] * 1
    [emitted] = stage.emissions(long)
    ends = np.cumsum([len(segment.emission) for segment in emitted.segments])
    assert [segment.start for segment in emitted.segments] == [0, *ends[:-1].tolist()]


def test_every_segment_is_searched_once_and_outcomes_keep_the_order(model):
    network, vocabulary = model
    pool = Searching(vocabulary)
    pipeline = Pipeline(network, pool)
    sources = [CLIPS[1], Path("missing.flac"), CLIPS[0]]
    found = list(pipeline.transcribe(sources))
    assert [outcome.source for outcome in found] == sources
    assert [outcome.transcript is None for outcome in found] == [False, True, False]
    assert "missing.flac cannot be opened" in found[1].error
    lengths = [len(read_audio(CLIPS[1])) / 16_000, 0.0, len(read_audio(CLIPS[0])) / 16_000]
    assert [outcome.seconds for outcome in found] == lengths
    assert pool.asked == sum(len(outcome.transcript.segments) for outcome in (found[0], found[2]))
    assert pipeline.timings.audio == pytest.approx(
        found[0].transcript.seconds + found[2].transcript.seconds
    )


def test_a_search_that_fails_is_the_outcome_of_its_recording(model):
    network, vocabulary = model
    [outcome] = Pipeline(network, Searching(vocabulary, fails=True)).transcribe(CLIPS[:1])
    assert outcome.transcript is None and outcome.error == "No search today."


def test_no_recordings_give_no_outcomes(model):
    network, vocabulary = model
    assert list(Pipeline(network, Searching(vocabulary)).transcribe([])) == []


def test_seconds_heard_are_told_inside_a_recording_and_to_its_end(model):
    _, vocabulary = model
    torch.manual_seed(0)
    weights = Wav2Vec2ForCTC(tiny(), len(vocabulary.symbols)).state_dict()
    checkpoint = Checkpoint(tiny(), weights, vocabulary.symbols, {})
    network = AcousticModel.load(checkpoint, "cpu", "fp32")
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 100).astype(np.float32)
    long = Waveform(noise, 16_000, "long")
    told = []
    pipeline = Pipeline(network, Searching(vocabulary), batch_seconds=31.0)
    sources = [CLIPS[0], long]
    found = list(pipeline.transcribe(sources, lambda *step: told.append(step)))
    ends = [[end for place, end in told if place == number] for number in (0, 1)]
    assert len(ends[0]) == 1 and len(ends[1]) > 1 and ends[1] == sorted(ends[1])
    for outcome, heard in zip(found, ends, strict=True):
        assert outcome.transcript.seconds - heard[-1] < 0.03  # frames do not cover the last samples

    told.clear()
    list(pipeline.emissions(sources, lambda *step: told.append(step)))
    assert [end for place, end in told if place == 1][-1] == ends[1][-1]
