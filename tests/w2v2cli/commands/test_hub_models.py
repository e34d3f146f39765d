"""`--model org/name` as a shell runs it: a model that transformers wrote, from a local hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import HubServer

SHIPPED = Path(__file__).parents[3] / "w2v2cli" / "shipped"
CLIP = SHIPPED / "recordings" / "LJ002-0050.flac"
SYMBOLS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of a small random CTC model and its processor, as transformers writes them."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    folder = tmp_path_factory.mktemp("written")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(SYMBOLS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({symbol: i for i, symbol in enumerate(SYMBOLS)}))
    Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(written):
    hub = HubServer()
    hub.start()
    files = {path.name: path.read_bytes() for path in written.iterdir() if path.is_file()}
    hub.publish("org/name", files, "main", "v1")
    yield hub
    hub.stop()


@pytest.fixture
def run(hub, tmp_path):
    """Run the program with an empty cache of the hub; returns exit code, stdout, stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env = {**clean, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url}

    def run(*args, **more):
        command = [sys.executable, "-m", "w2v2cli", *map(str, args)]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env={**env, **more}, cwd=tmp_path
        )
        return result.returncode, result.stdout, result.stderr

    return run


def test_transcribing_with_a_repository(hub, run, written, tmp_path):
    expected = run("transcribe", CLIP, "--model", written)
    assert expected[0] == 0 and len(expected[1]) > 10
    code, stdout, stderr = run("transcribe", CLIP, "--model", "org/name")
    assert (code, stdout) == expected[:2]
    assert "Fetching model.safetensors" in stderr

    asked = len(hub.asked)
    code, stdout, stderr = run("transcribe", CLIP, "--model", "org/name", W2V2_OFFLINE="1")
    assert (code, stdout, stderr) == expected
    assert len(hub.asked) == asked

    commit = hub.refs["org/name"]["main"]
    assert f"commit:        {commit}" in run("model", "info", "org/name")[1].splitlines()
    assert "org/name               on this machine" in run("model", "list")[1].splitlines()
    code, stdout, stderr = run("model", "verify", "org/name")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[0].startswith(f"ok  org/name/{commit[:8]}/config.json: Git's SHA-1")
    weights = next((tmp_path / "hf" / "hub").glob("models--*/snapshots/*/model.safetensors"))
    with weights.resolve().open("r+b") as file:
        file.write(b"\0")
    code, stdout, stderr = run("model", "verify")
    assert (code, stdout.count("NO  org/name")) == (1, 1)
    weights.unlink()  # as the message says
    assert run("transcribe", CLIP, "--model", "org/name@v1")[:2] == expected[:2]


def test_transformers_reads_what_was_fetched_without_a_network(hub, run, tmp_path):
    load = (
        "from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor as P; "
        "Wav2Vec2ForCTC.from_pretrained('org/name'); P.from_pretrained('org/name')"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url}
    assert run("fetch", "org/name")[0] == 0
    asked = [line for line in hub.asked if "GET" in line]
    offline = {**env, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", load], check=True, timeout=300, env=offline)
    assert [line for line in hub.asked if "GET" in line] == asked


def test_a_wrong_name_is_one_sentence(run):
    code, stdout, stderr = run("transcribe", CLIP, "--model", "org/none")
    assert (code, stdout) == (2, "")
    assert stderr.startswith("Error: There is no model org/none: neither a file or folder here")
    assert stderr.count("\n") == 1


def test_info_describes_a_model_without_its_weights_and_fetch_fetches_it(hub, run, written):
    code, stdout, stderr = run("model", "info", "org/name")
    size = (written / "model.safetensors").stat().st_size / 1e6
    assert code == 0 and f"not on this machine, {size:.1f} MB: w2v2 fetch org/name" in stdout
    assert not any("GET" in line and "safetensors" in line for line in hub.asked)
    code, fetched, stderr = run("fetch", "org/name")
    assert code == 0 and "Fetching model.safetensors" in stderr
    folder, _, told = fetched.strip().rpartition(": ")
    assert (Path(folder) / "model.safetensors").is_file() and told.endswith(" MB")
    known = dict(line.split(":", 1) for line in run("model", "info", "org/name")[1].splitlines())
    before = dict(line.split(":", 1) for line in stdout.splitlines())
    differing = {key for key in known if known[key] != before.get(key)}
    assert differing == {"path", "parameters", "source"}
    asked = len(hub.asked)
    assert run("fetch", "org/name", W2V2_OFFLINE="1")[:2] == (0, fetched)
    assert len(hub.asked) == asked


def test_fetch_knows_the_language_models_that_are_shipped_and_the_short_names(run):
    code, stdout, _ = run("fetch", "demo-4gram")
    assert code == 0 and "demo-4gram.arpa.gz: " in stdout
    code, _, stderr = run("fetch", "4gram")
    assert code == 2 and "name librispeech-4gram or demo-4gram" in stderr


def test_fetch_says_what_there_is_none_of(run):
    code, stdout, stderr = run("fetch", "org/absent")
    assert (code, stdout) == (2, "") and "There is no model org/absent" in stderr
    code, stdout, stderr = run("fetch", "bsae-960h")
    assert (code, stdout) == (2, "") and "did you mean base-960h" in stderr
