"""What we write is read by transformers without a missing or an unexpected weight, and the same."""

from dataclasses import replace

import pytest
import torch
from oracles.peers import REDUCED, VARIANTS, shaken
from oracles.test_languages import ALPHABETS
from oracles.test_vocabularies import RUSSIAN, TURKISH, UPPER

from models.checkpoint import Checkpoint, CheckpointError
from models.config import large_lv60k
from models.importers.huggingface import read_huggingface
from models.importers.huggingface_writing import write_huggingface
from models.pretraining import Wav2Vec2ForPretraining
from models.wav2vec2 import Wav2Vec2, Wav2Vec2ForCTC

STABLE = replace(large_lv60k(), **REDUCED)
CONFIGS = {
    **VARIANTS,
    "attention adapters": replace(STABLE, attention_adapter=24),
    "convolutional adapter": replace(VARIANTS["base"], adapter=True),
    "a narrower one": replace(STABLE, adapter=True, adapter_width=48, adapter_layers=2),
    "both": replace(STABLE, attention_adapter=8, adapter=True, adapter_stride=3),
}
SMALL_CODES = {"codebook_entries": 12, "codebook_width": 40, "target_width": 36}


def loaded(theirs, folder):
    """The network of transformers in a folder, with nothing missing or left over."""
    model, loading = theirs.from_pretrained(folder, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_networks_with_an_output_layer(config, tmp_path):
    import transformers

    torch.manual_seed(0)
    ours = shaken(Wav2Vec2ForCTC(config, len(UPPER)).eval())
    checkpoint = Checkpoint(config, ours.state_dict(), tuple(UPPER))
    write_huggingface(checkpoint, tmp_path)
    theirs = loaded(transformers.Wav2Vec2ForCTC, tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    waveform = torch.randn(16_000)
    inputs = extractor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    found, _ = ours(waveform[None], torch.tensor([16_000]))
    torch.testing.assert_close(theirs(inputs).logits, found, atol=1e-3, rtol=0)
    same(read_huggingface(tmp_path).weights, checkpoint.weights)


@pytest.mark.parametrize("labels", [TURKISH, RUSSIAN, ALPHABETS["rus"]], ids=["tr", "ru", "mms"])
def test_alphabets_with_and_without_special_symbols(labels, tmp_path):
    import transformers

    config = VARIANTS["base"]
    metadata = {"blank": labels.index("[PAD]") if "[PAD]" in labels else 0}
    metadata["word_boundary"] = labels.index("|" if "|" in labels else " ")
    ours = Wav2Vec2ForCTC(config, len(labels))
    write_huggingface(Checkpoint(config, ours.state_dict(), tuple(labels), metadata), tmp_path)
    loaded(transformers.Wav2Vec2ForCTC, tmp_path)
    processor = transformers.Wav2Vec2Processor.from_pretrained(tmp_path)
    assert len(processor.tokenizer) == len(labels)  # none is added, which no output would have
    word = "".join(label for label in labels if len(label) == 1 and label.isalpha())[:9]
    assert processor.decode(processor.tokenizer(f"{word} {word}").input_ids) == f"{word} {word}"


@pytest.mark.parametrize("name", VARIANTS)
def test_pretrained_networks_with_their_quantizer(name, tmp_path):
    import transformers

    config = replace(VARIANTS[name], **SMALL_CODES)
    torch.manual_seed(0)
    ours = shaken(Wav2Vec2ForPretraining(config).eval())
    write_huggingface(Checkpoint(config, ours.state_dict(), None), tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    theirs = loaded(transformers.Wav2Vec2ForPreTraining, tmp_path)
    with torch.inference_mode():
        normed = torch.randn(1, 5, config.conv_layers[-1][0])
        expected = theirs.project_q(theirs.quantizer(normed)[0])
        found = ours.target_projection(ours.quantizer(normed.flatten(0, 1), None, None).vectors)
        torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=0)
    same(read_huggingface(tmp_path).weights, ours.state_dict())
    encoder = loaded(transformers.Wav2Vec2Model, _only_the_network(ours, config, tmp_path / "bare"))
    assert encoder.config.codevector_dim == 40


def _only_the_network(ours, config, folder):
    bare = {f"wav2vec2.{name}": weight for name, weight in ours.wav2vec2.state_dict().items()}
    assert bare.keys() == {f"wav2vec2.{name}" for name in Wav2Vec2(config).state_dict()}
    write_huggingface(Checkpoint(config, bare, None), folder)
    same(read_huggingface(folder).weights, bare)
    return folder


def test_what_transformers_has_no_place_for(tmp_path):
    config = replace(VARIANTS["base"], quantized_targets=False)
    weights = Wav2Vec2ForPretraining(config).state_dict()
    with pytest.raises(CheckpointError, match="whose targets are not quantized"):
        write_huggingface(Checkpoint(config, weights, None), tmp_path / "new")
    assert not (tmp_path / "new").exists()
