"""Our own checkpoints: written and read back, and every way in which a header can be wrong."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from typer.testing import CliRunner

from models.checkpoint import (
    FORMAT_VERSION,
    HEADER,
    Checkpoint,
    CheckpointError,
    average,
    build_ctc,
    build_network,
    is_own_format,
    load_checkpoint,
    save_checkpoint,
)
from models.config import tiny
from models.importers.labels import quick_outputs
from models.wav2vec2 import Wav2Vec2, Wav2Vec2ForCTC
from storage.tensors import save_tensors
from w2v2cli.app import app

LABELS = ("<pad>", "|", "a", "ä")


@pytest.fixture
def checkpoint():
    torch.manual_seed(0)
    weights = Wav2Vec2ForCTC(tiny(), len(LABELS)).state_dict()
    return Checkpoint(tiny(), weights, LABELS, {"licence": "MIT", "seeds": [1, 2]})


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_comes_back(tmp_path, checkpoint, half):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint, half=half)
    again = load_checkpoint(path)
    assert (again.config, again.labels, again.metadata) == (
        checkpoint.config,
        checkpoint.labels,
        checkpoint.metadata,
    )
    for name, tensor in checkpoint.weights.items():
        assert again.weights[name].dtype == torch.float32
        tolerance = {"atol": 1e-3, "rtol": 1e-3} if half else {"atol": 0, "rtol": 0}
        torch.testing.assert_close(again.weights[name], tensor, **tolerance)
    build_ctc(again)
    assert is_own_format(path) and quick_outputs(path) == (LABELS, checkpoint.metadata)


def test_a_pretrained_checkpoint_has_no_labels_and_says_what_to_do(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "a.safetensors", replace(checkpoint, labels=None))
    again = load_checkpoint(tmp_path / "a.safetensors")
    assert again.labels is None
    with pytest.raises(CheckpointError, match="only pretrained .* fine-tune it first"):
        build_ctc(again)


@torch.inference_mode()
def test_an_adapter_behind_the_blocks_changes_none_of_their_states():
    torch.manual_seed(0)
    config = replace(tiny(), adapter=True)
    whole, plain = Wav2Vec2(config).eval(), Wav2Vec2(tiny()).eval()
    plain.load_state_dict(whole.state_dict(), strict=False)
    weights = {f"wav2vec2.{name}": tensor for name, tensor in whole.state_dict().items()}
    built = build_network(Checkpoint(config, weights, None))
    assert built.config.frame_lengths(8000) == tiny().frame_lengths(8000)
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 5000])
    wanted, counts = plain(waveforms, lengths)
    for network in (whole, built):
        states, frames = network.hidden(waveforms, lengths, config.num_layers)
        assert frames.tolist() == counts.tolist()
        torch.testing.assert_close(states, wanted)


def header(**changes):
    whole = {
        "format_version": FORMAT_VERSION,
        "config": asdict(tiny()),
        "labels": list(LABELS),
        "metadata": {},
    }
    return {key: value for key, value in {**whole, **changes}.items() if value != "gone"}


WRONG = [
    (header(format_version=FORMAT_VERSION + 1), f"reads up to {FORMAT_VERSION}: update w2v2"),
    (header(config={**asdict(tiny()), "adapters": 3}), "configures adapters, which this w2v2"),
    (header(config={**asdict(tiny()), "num_heads": 5}), "cannot be divided by num_heads 5"),
    (header(config={**asdict(tiny()), "width": "wide"}), "damaged header"),
    (header(config={**asdict(tiny()), "conv_layers": 3}), "damaged header"),
    (header(config=[]), "damaged header"),
    (header(labels=3), "damaged header"),
    *[(header(**{key: "gone"}), f"damaged header .*{key}") for key in header()],
    ([], "damaged header"),
    (None, "does not say which model"),
]


@pytest.mark.parametrize(("value", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_header_is_one_sentence(tmp_path, checkpoint, value, message):
    path = tmp_path / "a.safetensors"
    save_tensors(path, checkpoint.weights, {HEADER: value})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_header_that_is_not_json_is_one_sentence(tmp_path, checkpoint):
    path = tmp_path / "a.safetensors"
    save_tensors(path, checkpoint.weights, {HEADER: "{"})
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint of w2v2"):
        load_checkpoint(path)
    assert quick_outputs(path) is None
    with pytest.raises(CheckpointError, match="cannot be read: No such file or directory"):
        load_checkpoint(tmp_path / "gone.safetensors")


def test_the_metadata_is_json_in_the_file(tmp_path, checkpoint):
    """What other programs find under our key."""
    import safetensors

    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        found = json.loads(file.metadata()[HEADER])
    assert found == header(
        metadata=checkpoint.metadata, config=json.loads(json.dumps(asdict(tiny())))
    )


def test_building_a_network_does_not_import_torchs_compiler():
    """It took two seconds of each call, to draw weights that were then replaced."""
    script = """
import sys, torch
from models.checkpoint import Checkpoint, build_ctc, build_network
from models.config import tiny
from models.wav2vec2 import Wav2Vec2ForCTC
config = tiny()
whole = Checkpoint(config, Wav2Vec2ForCTC(config, 5).state_dict(), tuple("abcde"))
build_ctc(whole), build_network(whole)
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_mean_of_checkpoints_is_of_each_weight(checkpoint):
    before = {name: weights.clone() for name, weights in checkpoint.weights.items()}
    others = [
        replace(checkpoint, weights={k: v + shift for k, v in checkpoint.weights.items()})
        for shift in (0.5, 1.0)
    ]
    mean = average([checkpoint, *others])
    assert mean.labels == LABELS and mean.metadata == checkpoint.metadata
    for name, weights in checkpoint.weights.items():
        assert torch.allclose(mean.weights[name], weights + 0.5, atol=1e-6), name
    for name, weights in before.items():
        assert torch.equal(checkpoint.weights[name], weights), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (*LABELS[:-1], "b")}, "Checkpoint 2 has other labels than the first."),
        ({"config": replace(tiny(), num_layers=1)}, "another architecture"),
        ({"weights": {}}, "Checkpoint 2 has other weights. "),
    ],
)
def test_what_differs_has_no_mean(checkpoint, change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        average([checkpoint, replace(checkpoint, **change)])
    with pytest.raises(CheckpointError, match="no checkpoint"):
        average([])


def test_model_average_writes_what_a_search_can_use(tmp_path, checkpoint):
    for name, shift in (("a", 0.0), ("b", 1.0)):
        weights = {k: v + shift for k, v in checkpoint.weights.items()}
        save_checkpoint(tmp_path / f"{name}.safetensors", replace(checkpoint, weights=weights))
    output = tmp_path / "new" / "mean.safetensors"
    files = [str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]
    done = CliRunner().invoke(app, ["model", "average", *files, "-o", str(output)])
    assert done.exit_code == 0, done.output
    read = load_checkpoint(output)
    for name, weights in checkpoint.weights.items():
        assert torch.allclose(read.weights[name], weights + 0.5, atol=1e-6), name
    build_ctc(read)


def test_a_mean_does_not_take_the_place_of_what_it_is_of(tmp_path, checkpoint):
    best = tmp_path / "best.safetensors"  # of a run, which is named by its folder
    save_checkpoint(best, checkpoint)
    (tmp_path / "run.json").write_text("{}")
    before = best.read_bytes()
    for source in (best, tmp_path):
        done = CliRunner().invoke(app, ["model", "average", str(source), "demo", "-o", str(best)])
        assert done.exit_code == 2 and f"--output {best} would overwrite {best}" in done.stderr
    assert best.read_bytes() == before
