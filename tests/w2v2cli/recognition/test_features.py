"""`w2v2 features`: states of the network, beside transformers."""

import json

import numpy as np
import pytest
import soundfile
import torch
from calls import called
from oracles.peers import VARIANTS, save_ctc, transformers_ctc
from safetensors.numpy import load_file

from models.checkpoint import build_network
from models.importers.huggingface import read_huggingface
from w2v2cli.data.audio import read_audio
from w2v2cli.data.locations import DEMO_MODEL, SHIPPED

CLIP = SHIPPED / "recordings" / "LJ002-0050.flac"


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_the_states_are_the_hidden_states_of_transformers(name, tmp_path):
    theirs = transformers_ctc(VARIANTS[name])
    save_ctc(theirs, tmp_path)
    ours = build_network(read_huggingface(tmp_path))
    waveform = torch.randn(2, 8000)
    whole = theirs.wav2vec2(waveform, output_hidden_states=True)
    # Its releases differ on whether the last of the list is normalised.
    wanted = [*whole.hidden_states[:-1], whole.last_hidden_state]
    for layer, states in enumerate(wanted):
        found, frames = ours.hidden(waveform, torch.tensor([8000] * 2), layer)
        torch.testing.assert_close(found, states, atol=1e-4, rtol=0)
        assert frames.tolist() == [states.shape[1]] * 2
    with pytest.raises(ValueError, match=f"layers 0 to {len(wanted) - 1}, got {len(wanted)}"):
        ours.hidden(waveform, torch.tensor([8000] * 2), len(wanted))


def test_files_by_frame_and_mean_of_any_layer(tmp_path):
    assert called("features", CLIP, "-o", tmp_path / "f").returncode == 0
    states = np.load(tmp_path / "f" / f"{CLIP.stem}.npy")
    frames = len(read_audio(CLIP)) // 320
    assert states.dtype == np.float32 and abs(len(states) - frames) <= 1
    result = called(
        *("features", CLIP, "-o", tmp_path / "m", "--mean", "--format", "safetensors"),
        *("--model", DEMO_MODEL, "--layer", 1),
    )
    assert result.returncode == 0
    mean = load_file(tmp_path / "m" / f"{CLIP.stem}.safetensors")["features"]
    assert called("features", CLIP, "-o", tmp_path / "g", "--layer", 1).returncode == 0
    first = np.load(tmp_path / "g" / f"{CLIP.stem}.npy")
    np.testing.assert_allclose(mean, first.mean(0), atol=1e-4)
    assert np.abs(first.mean(0) - states.mean(0)).max() > 0.01


def test_a_long_recording_has_the_frames_of_the_whole(tmp_path):
    clip = read_audio(CLIP)
    whole = np.tile(clip, int(75 * 16_000 / len(clip)))
    soundfile.write(tmp_path / "long.wav", whole, 16_000)
    assert called("features", tmp_path / "long.wav", "-o", tmp_path, "--layer", 2).returncode == 0
    frames = len(np.load(tmp_path / "long.npy"))
    assert abs(frames - len(whole) / 320) <= 1


def test_what_cannot_be_and_what_is_done_already(tmp_path):
    result = called("features", CLIP, "-o", tmp_path / "f", "--layer", 99)
    assert result.returncode == 2 and "--layer is 0 to" in result.stderr
    assert called("features", CLIP, "-o", tmp_path / "f").returncode == 0
    (tmp_path / "bad.wav").write_text("no sound")
    again = called("features", CLIP, tmp_path / "bad.wav", "-o", tmp_path / "f", "--skip-existing")
    assert again.returncode == 1 and "bad.wav is not audio" in again.stderr
    assert sorted(p.name for p in (tmp_path / "f").glob("*.npy")) == [f"{CLIP.stem}.npy"]
    assert json.dumps(again.stdout) == '""'


def test_a_recording_cut_short_has_the_states_of_what_is_there(tmp_path):
    samples = read_audio(CLIP)
    soundfile.write(tmp_path / "whole.wav", samples, 16_000)
    content = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "half.wav").write_bytes(content[: len(content) // 2])
    result = called("features", tmp_path / "half.wav", "-o", tmp_path / "f")
    assert result.returncode == 0
    assert result.stderr.startswith(f"Warning: {tmp_path / 'half.wav'}")
    assert result.stderr.endswith(" The states end there.\n")
    frames = len(np.load(tmp_path / "f" / "half.npy"))
    assert abs(frames - len(samples) / 2 / 320) <= 1
