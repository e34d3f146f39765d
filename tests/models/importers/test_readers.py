"""Files as other programs write them: every layout, and every way in which they can be wrong."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from oracles.peers import (
    VARIANTS,
    fairseq_file,
    save_ctc,
    torchaudio_model,
    transformers_config,
    transformers_ctc,
)

from models.checkpoint import Checkpoint, CheckpointError, build_ctc
from models.config import base
from models.importers import huggingface_writing
from models.importers.fairseq import parse_conv_layers
from models.importers.huggingface import read_huggingface
from models.importers.huggingface_writing import write_huggingface
from models.importers.labels import STANDARD, quick_labels
from models.importers.reader import read_model
from models.wav2vec2 import Wav2Vec2ForCTC


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def config(request):
    return replace(request.param, codebook_width=64, target_width=48, codebook_entries=10)


def architecture(config):
    """A configuration without the dropouts, which files of others keep elsewhere."""
    names = [item.name for item in fields(config) if item.name.endswith("dropout")]
    return replace(config, **dict.fromkeys(names, 0.0), layer_drop=0.0)


@pytest.mark.parametrize("finetuned", [True, False], ids=["finetuned", "pretrained"])
@pytest.mark.parametrize("layout", ["argparse", "hydra"])
def test_fairseq(config, layout, finetuned, tmp_path):
    content, expected = fairseq_file(config, layout, finetuned)
    torch.save(content, tmp_path / "model.pt")
    checkpoint = read_model(tmp_path / "model.pt")
    assert architecture(checkpoint.config) == architecture(config)
    assert checkpoint.weights.keys() == expected.keys()
    assert all(torch.equal(checkpoint.weights[name], expected[name]) for name in expected)
    assert checkpoint.labels == (STANDARD if finetuned else None)
    if finetuned:
        build_ctc(checkpoint)


def test_fairseq_files_of_the_old_torch_format(tmp_path):
    content, expected = fairseq_file(VARIANTS["base"], "argparse", True)
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    assert read_model(tmp_path / "model.pt").weights.keys() == expected.keys()


def test_fairseqs_dictionary_beside_the_file_names_the_labels(tmp_path):
    content, _ = fairseq_file(VARIANTS["base"], "argparse", True)
    torch.save(content, tmp_path / "model.pt")
    symbols = [f"s{i}" for i in range(28)]
    (tmp_path / "dict.ltr.txt").write_text("".join(f"{symbol} 1\n" for symbol in symbols))
    assert read_model(tmp_path / "model.pt").labels == ("<pad>", "<s>", "</s>", "<unk>", *symbols)
    (tmp_path / "dict.ltr.txt").write_text("a 1\n")
    with pytest.raises(CheckpointError, match="has 32 outputs, but"):
        read_model(tmp_path / "model.pt")


def test_the_configuration_of_a_hydra_file_may_be_omegaconfs(tmp_path):
    """Objects of classes that are not installed here, as omegaconf would leave them in a file."""
    content, expected = fairseq_file(VARIANTS["lv60k"], "hydra", True)

    def wrapped(value):
        if isinstance(value, dict):
            node = DictConfig.__new__(DictConfig)
            node.__dict__.update(_content={key: wrapped(item) for key, item in value.items()})
            return node
        node = AnyNode.__new__(AnyNode)
        node.__dict__.update(_val=value)
        return node

    class DictConfig:
        pass

    class AnyNode:
        pass

    modules = {"omegaconf": None, "omegaconf.dictconfig": DictConfig, "omegaconf.nodes": AnyNode}
    import types

    for name, cls in modules.items():
        sys.modules[name] = types.ModuleType(name)
        if cls is not None:
            cls.__module__, cls.__qualname__ = name, cls.__name__
            setattr(sys.modules[name], cls.__name__, cls)
    try:
        torch.save({**content, "cfg": wrapped(content["cfg"])}, tmp_path / "model.pt")
    finally:
        for name in modules:
            del sys.modules[name]
    checkpoint = read_model(tmp_path / "model.pt")
    assert architecture(checkpoint.config) == architecture(VARIANTS["lv60k"])
    assert checkpoint.weights.keys() == expected.keys()


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2", base().conv_layers),
        ("[(512, 10, 5), (512, 3, 2)]", ((512, 10, 5), (512, 3, 2))),
        (None, ()),
    ],
)
def test_conv_feature_layers_are_read(text, layers):
    assert parse_conv_layers(text) == layers


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('true')", "[(1, 2)] * 2", "[1] * 10**9", "(", "[" * 10_000],
)
def test_conv_feature_layers_are_never_evaluated(text):
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        parse_conv_layers(text)


class Malicious:
    def __reduce__(self):
        return os.system, (f"touch {Malicious.mark}",)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    Malicious.mark = tmp_path / "it ran".replace(" ", "_")
    content, _ = fairseq_file(VARIANTS["base"], "argparse", True)
    torch.save({**content, "extra": Malicious()}, tmp_path / "zip.pt")
    torch.save(
        {**content, "extra": Malicious()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False
    )
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malicious()))
    folder = tmp_path / "hf"
    transformers_ctc(VARIANTS["base"]).save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"a": Malicious()}, folder / "pytorch_model.bin")
    for path in (tmp_path / "zip.pt", tmp_path / "old.pt", tmp_path / "bare.pt", folder):
        with pytest.raises(CheckpointError, match=r"system|safely"):
            read_model(path)
    assert not Malicious.mark.exists()
    pickle.loads((tmp_path / "bare.pt").read_bytes())  # what others do with such a file
    assert Malicious.mark.exists()


@pytest.mark.parametrize("weights", ["safetensors", "bin", "old weight norm", "sharded"])
def test_hugging_face_folders(config, weights, tmp_path):
    theirs = transformers_ctc(config)
    shard = "200KB" if weights == "sharded" else "5GB"
    save_ctc(theirs, tmp_path, config.normalize_waveform, max_shard_size=shard)
    if weights in ("bin", "old weight norm"):
        (tmp_path / "model.safetensors").unlink()
        state = theirs.state_dict()
        if weights == "old weight norm":
            renamed = {
                "parametrizations.weight.original0": "weight_g",
                "parametrizations.weight.original1": "weight_v",
            }
            for new, old in renamed.items():
                state = {name.replace(new, old): tensor for name, tensor in state.items()}
        torch.save(state, tmp_path / "pytorch_model.bin")
    checkpoint = read_model(tmp_path)
    assert architecture(checkpoint.config) == architecture(config)
    assert checkpoint.labels == STANDARD
    build_ctc(checkpoint)


def test_pretrained_hugging_face_folders(config, tmp_path):
    from transformers import Wav2Vec2ForPreTraining, Wav2Vec2Model

    for theirs, extra in ((Wav2Vec2ForPreTraining, {"quantizer.codebook"}), (Wav2Vec2Model, set())):
        model = theirs(transformers_config(config))
        model.save_pretrained(tmp_path / theirs.__name__)
        checkpoint = read_model(tmp_path / theirs.__name__)
        expected = set(Wav2Vec2ForCTC(config, 1).state_dict()) - {"output.weight", "output.bias"}
        assert expected | extra <= set(checkpoint.weights)
        assert checkpoint.labels is None
        with pytest.raises(CheckpointError, match="only pretrained"):
            build_ctc(checkpoint)


def test_transformers_reads_what_we_write_with_nothing_missing_or_left_over(config, tmp_path):
    from transformers import Wav2Vec2ForCTC as Theirs
    from transformers import Wav2Vec2Processor

    torch.manual_seed(1)
    ours = Wav2Vec2ForCTC(config, 32).eval()
    write_huggingface(Checkpoint(config, ours.state_dict(), STANDARD), tmp_path)
    theirs, loading = Theirs.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    processor = Wav2Vec2Processor.from_pretrained(tmp_path)
    waveform = torch.randn(8000)
    inputs = processor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(waveform[None], torch.tensor([8000]))[0],
            theirs.eval()(inputs).logits,
            atol=1e-3,
            rtol=0,
        )
    assert processor.decode([5, 5, 0, 6, 4, 7]) == "ET A"
    again = read_huggingface(tmp_path)
    assert architecture(again.config) == architecture(config) and again.labels == STANDARD
    assert quick_labels(tmp_path) == STANDARD


def wrong(kind: str, folder: Path) -> Path:
    """A checkpoint with something the matter."""
    content, _ = fairseq_file(VARIANTS["base"], "argparse", True)
    path = folder / "model.pt"
    if kind == "unknown":
        content["model"]["w2v_encoder.w2v_model.encoder.adapter.weight"] = torch.zeros(2)
    if kind == "no settings":
        del content["args"]
    torch.save(content, path)
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:5000])
    if kind == "text":
        path.write_text("hello")
    if kind == "another model":
        torch.save({"weight": torch.zeros(3)}, path)
    if kind == "zip of something":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.txt", "a")
    if kind == "folder":
        path = folder / "empty"
        path.mkdir()
    if kind == "bert":
        path = folder / "bert"
        path.mkdir()
        (path / "config.json").write_text('{"model_type": "bert"}')
    if kind == "gone":
        path = folder / "gone.pt"
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unknown", "1 unknown weights: encoder.adapter.weight"),
        ("no settings", "does not say how its network is built"),
        ("cut short", "damaged or not a PyTorch file"),
        ("text", "model.pt"),
        ("another model", "not a checkpoint that w2v2 knows"),
        ("zip of something", "damaged or not a PyTorch file"),
        ("folder", "has no config.json"),
        ("bert", "'bert' model, not wav2vec2"),
        ("gone", "There is no checkpoint at"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(kind, message, tmp_path):
    path = wrong(kind, tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_model(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("wav2vec2.mask_vector"), "1 missing: wav2vec2.mask_vector"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 unknown: extra"),
        (
            lambda w: w.update({"output.bias": torch.zeros(7)}),
            r"1 misshapen: output.bias \(7,\) instead of \(32,\)",
        ),
        (lambda w: w.clear(), r"\d\d missing: .* and \d\d more"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message):
    weights = dict(Wav2Vec2ForCTC(VARIANTS["base"], 32).state_dict())
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        build_ctc(Checkpoint(VARIANTS["base"], weights, STANDARD))


FOLDER_DAMAGE = {
    "model.safetensors": [b"", b"text", bytes(100)],
    "pytorch_model.bin": [b"", b"text", bytes(100)],
    "model.safetensors.index.json": [b"{", b"[]", b"{}", b'{"weight_map": {"a": 3}}'],
    "pytorch_model.bin.index.json": [b'{"weight_map": {"a": "../../gone.bin"}}'],
    "config.json": [
        b"{", b"\xff", b"[]", b"{}", b'{"model_type": "wav2vec2", "hidden_size": "wide"}',
        b'{"model_type": "wav2vec2", "conv_dim": [1]}',
        b'{"model_type": "wav2vec2", "conv_kernel": 3}',
        b'{"model_type": "wav2vec2", "num_attention_heads": 7}',
        b'{"model_type": "wav2vec2", "add_adapter": true, "num_adapter_layers": 1000000000}',
        b'{"model_type": "wav2vec2", "num_hidden_layers": 1000000000}',
        b'{"model_type": "wav2vec2", "num_conv_pos_embeddings": 1e300}',
    ],
    "vocab.json": [
        b"{", b"\xff", b"[]", b'{"a": "b"}', b'{"a": -1}', b'{"a": 10000000000}', b"{}",
    ],
    "preprocessor_config.json": [b"{", b"[]"],
}  # fmt: skip
DAMAGES = [(name, damage) for name, damages in FOLDER_DAMAGE.items() for damage in damages]


@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=[f"{n}-{d!r}" for n, d in DAMAGES])
def test_a_damaged_folder_is_refused_in_a_sentence(name, damage, tmp_path):
    save_ctc(transformers_ctc(VARIANTS["base"]), tmp_path)
    if name.startswith(("model", "pytorch")):
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(CheckpointError) as caught:
        build_ctc(read_model(tmp_path))
    assert "\n" not in str(caught.value)
    assert quick_labels(tmp_path) is None or name != "vocab.json"


@pytest.mark.parametrize("write", ["fairseq", "torchaudio"])
def test_a_file_that_lacks_a_weight_is_refused_in_a_sentence(write, tmp_path):
    path = tmp_path / "model.pt"
    if write == "fairseq":
        content, _ = fairseq_file(VARIANTS["lv60k"], "hydra", True)
        weights = content["model"]
    else:
        content = weights = torchaudio_model(VARIANTS["lv60k"]).state_dict()
    for name in list(weights)[::9]:
        for other in (None, torch.zeros(0), torch.zeros(2, 3)):
            tensor = weights.pop(name)
            if other is not None:
                weights[name] = other
            torch.save(content, path)
            with pytest.raises(CheckpointError) as caught:
                build_ctc(read_model(path))
            assert "\n" not in str(caught.value)
            weights[name] = tensor


def test_fairseq_settings_that_cannot_be_are_refused_in_a_sentence(tmp_path):
    for change in ({"encoder_attention_heads": 7}, {"encoder_embed_dim": "wide"}):
        content, _ = fairseq_file(VARIANTS["base"], "hydra", True)
        content["cfg"]["model"]["w2v_args"]["model"].update(change)
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(CheckpointError, match=r"model\.pt configures a network that cannot be"):
            read_model(tmp_path / "model.pt")


def test_a_model_that_transformers_has_no_place_for_is_refused_before_anything_is_written(tmp_path):
    config = replace(VARIANTS["base"], quantized_inputs=True)
    checkpoint = Checkpoint(config, Wav2Vec2ForCTC(config, 32).state_dict(), STANDARD)
    with pytest.raises(CheckpointError, match="no place for 3 weights: .*input_quantizer"):
        write_huggingface(checkpoint, tmp_path / "new")
    assert not (tmp_path / "new").exists()


KILLED = """
import os, signal, sys, torch
from dataclasses import replace
from pathlib import Path
from models.checkpoint import Checkpoint
from models.config import tiny
from models.importers import huggingface_writing
from models.importers.labels import STANDARD
from models.wav2vec2 import Wav2Vec2ForCTC

def kill(path, *rest):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

huggingface_writing.save_tensors = kill
checkpoint = Checkpoint(tiny(), Wav2Vec2ForCTC(tiny(), 32).state_dict(), STANDARD)
huggingface_writing.write_huggingface(checkpoint, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("old", [False, True])
def test_a_writer_that_is_killed_leaves_the_old_model_or_none(tmp_path, old):
    if old:
        weights = Wav2Vec2ForCTC(VARIANTS["base"], 32).state_dict()
        write_huggingface(Checkpoint(VARIANTS["base"], weights, STANDARD), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    assert result.returncode == -signal.SIGKILL
    found = {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.endswith(".part")}
    assert found == before
    if old:
        build_ctc(read_model(tmp_path))


def test_an_error_while_writing_leaves_the_old_model(tmp_path, monkeypatch):
    config = VARIANTS["base"]
    write_huggingface(
        Checkpoint(config, Wav2Vec2ForCTC(config, 32).state_dict(), STANDARD), tmp_path
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path, *rest):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_writing, "save_tensors", full)
    other = replace(config, ffn_width=64)
    with pytest.raises(OSError) as caught:
        write_huggingface(
            Checkpoint(other, Wav2Vec2ForCTC(other, 9).state_dict(), STANDARD[:9]), tmp_path
        )
    assert caught.value.filename == str(tmp_path / "model.safetensors")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_weights(tmp_path):
    save_ctc(transformers_ctc(VARIANTS["base"]), tmp_path)
    shutil.move(tmp_path / "model.safetensors", tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor pytorch_model.bin"):
        read_model(tmp_path)
