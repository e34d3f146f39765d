import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.data.loading import augmentation
from w2v2cli.data.loading.augmentation import (
    Augmentation,
    augmented,
    by_telephone,
    in_room,
    with_noise,
)
from w2v2cli.errors import UsageError
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.stream import reading_of

RATE = 16_000


def tone(hertz, seconds=1.0):
    return torch.sin(2 * np.pi * hertz * torch.arange(int(seconds * RATE)) / RATE)


def power(waveform):
    return float(waveform.square().mean())


def drawn(seed):
    return np.random.default_rng(seed)


def spectrum_at(waveform, hertz):
    return float(torch.fft.rfft(waveform)[round(hertz * len(waveform) / RATE)].abs())


@pytest.mark.parametrize("change", [in_room, with_noise, by_telephone])
def test_a_seed_gives_one_sound_of_the_same_length(change):
    sound = tone(440, 0.5)
    first = change(sound, drawn(1))
    assert first.shape == sound.shape and first.dtype == torch.float32
    assert torch.equal(first, change(sound, drawn(1)))
    assert not torch.allclose(first, change(sound, drawn(2)), atol=1e-3)
    assert torch.isfinite(change(torch.zeros(1000), drawn(1))).all()


def test_a_room_keeps_words_in_place_and_echoes_after_them():
    click = torch.zeros(RATE)
    click[4000] = 1.0
    heard = in_room(click, drawn(3))
    assert int(heard.abs().argmax()) == 4000 and float(heard[:4000].abs().max()) < 1e-5
    assert float(heard[4001:12_000].square().sum()) > 0.05 * float(heard[4000]) ** 2
    assert power(heard) == pytest.approx(power(click), rel=1e-4)


def test_a_room_is_a_convolution(monkeypatch):
    """The response is what a click becomes; another sound is that sound convolved with it."""
    monkeypatch.setattr(augmentation, "_root_mean_square", lambda waveform: torch.tensor(1.0))
    click = torch.zeros(20_000)
    click[0] = 1.0
    sound = torch.from_numpy(drawn(7).standard_normal(20_000).astype(np.float32))
    expected = fftconvolve(sound.numpy(), in_room(click, drawn(3)).numpy())[:20_000]
    np.testing.assert_allclose(in_room(sound, drawn(3)).numpy(), expected, atol=1e-3)


def test_noise_has_its_level_and_its_colour(monkeypatch):
    sound = tone(1000)
    for level in (5.0, 30.0):
        monkeypatch.setattr(augmentation, "NOISE_LEVELS", (level, level))
        added = with_noise(sound, drawn(1)) - sound
        assert 10 * np.log10(power(sound) / power(added)) == pytest.approx(level, abs=0.05)
    for slope in (0.0, 2.0):
        monkeypatch.setattr(augmentation, "NOISE_SLOPES", (slope, slope))
        found = torch.fft.rfft(with_noise(torch.ones(RATE), drawn(1)) - 1).abs().square()
        octaves = found[500:1000].mean() / found[4000:8000].mean()
        assert float(octaves) == pytest.approx(8**slope, rel=0.25)


def test_a_telephone_carries_its_band():
    for hertz, kept in ((1000, True), (2500, True), (60, False), (6000, False)):
        share = spectrum_at(by_telephone(tone(hertz), drawn(1)), hertz) / (RATE / 2)
        assert (share > 0.9) if kept else (share < 0.1)


def test_eight_bits_are_those_of_mu_law(monkeypatch):
    """Torchaudio's mu-law is the oracle, on a sound that lies within the band."""
    sound = tone(1000) * 0.3
    monkeypatch.setattr(augmentation, "TELEPHONE_BAND", (-1e6, 1e6))
    peak = sound.abs().max()
    expected = mu_law_decoding(mu_law_encoding(sound / peak, 256), 256) * peak
    found = by_telephone(sound, drawn(1))
    step = 2 * np.log1p(255) / 255  # of the logarithm: torchaudio rounds up from halves
    assert float((found - expected).abs().max()) <= float(peak) * step
    assert len(found.unique()) <= 256 < len(sound.unique())


def test_one_probability_does_not_change_what_another_gives():
    sound = tone(440)
    noisy = augmented(sound, Augmentation(noise=1.0), drawn(5))
    louder = augmented(sound, Augmentation(noise=1.0, gain=6.0), drawn(5))
    ratio = (louder / noisy)[noisy.abs() > 0.01]
    assert float(ratio.std()) < 1e-4 and 0.5 <= float(ratio.mean()) <= 2.0
    assert torch.equal(augmented(sound, Augmentation(), drawn(5)), sound)
    assert not Augmentation() and Augmentation(gain=1.0)


def test_probabilities_are_shares():
    sound = tone(440, 0.1)
    changed = [
        not torch.equal(augmented(sound, Augmentation(telephone=0.3), drawn(seed)), sound)
        for seed in range(300)
    ]
    assert 0.2 < np.mean(changed) < 0.4


def test_values_out_of_range():
    with pytest.raises(ValueError, match="augment.noise is a probability, 0 to 1, got 2"):
        Augmentation(noise=2)
    with pytest.raises(ValueError, match="augment.gain cannot be negative, got -3"):
        Augmentation(gain=-3)


class Tones:
    """Recordings of one tone each."""

    shards = None
    ids = [f"r{i}" for i in range(6)]
    texts = [None] * 6
    lengths = np.full(6, 4000)

    def read(self, index, start=0, samples=None):
        return tone(200 * (index + 1), 0.25).numpy()[start : start + (samples or 4000)]


def sounds(reading, epoch):
    batches = reading.epoch(TrainingSet(Tones(), np.arange(6)), epoch)
    read = [batches[index] for index in range(len(batches))]
    return {
        name: row for batch in read for name, row in zip(batch.ids, batch.waveforms, strict=True)
    }


def test_each_epoch_hears_each_recording_anew_and_the_same_again_after_a_restart():
    settings = {"augment.noise": 1, "augment.room": "0.5", "speeds": "1", "seed": -4}
    run = changed(FINETUNING["demo"](), settings)
    assert run.augment == Augmentation(room=0.5, noise=1.0)
    first, again, second = (sounds(reading_of(run), epoch) for epoch in (0, 0, 1))
    plain = sounds(Reading(640_000), 0)
    for name in Tones.ids:
        assert torch.equal(first[name], again[name]) and len(first[name]) == 4000
        assert not torch.equal(first[name], second[name])
        assert not torch.equal(first[name], plain[name])
    noise = [first[name] - plain[name] for name in Tones.ids]
    assert not torch.allclose(noise[0], noise[1], atol=1e-3)


def test_settings_that_do_not_exist_or_do_not_fit():
    with pytest.raises(UsageError, match="augment.noise is a probability, 0 to 1, got 1.5"):
        changed(FINETUNING["demo"](), {"augment.noise": 1.5})
    with pytest.raises(UsageError, match="there is no hum; there are gain, noise, room, telephone"):
        changed(FINETUNING["demo"](), {"augment.hum": 1})
