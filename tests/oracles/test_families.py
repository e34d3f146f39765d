"""Networks of the hub's families, at a few thousand weights: read alike, or refused by name."""

import json

import pytest
import torch
from oracles.peers import save_ctc, shaken

from models.checkpoint import CheckpointError, build_ctc
from models.importers.families import RELATIVES
from models.importers.huggingface import read_huggingface
from models.pretraining import Wav2Vec2ForPretraining
from models.wav2vec2 import Wav2Vec2

CONVOLUTIONS = {
    "conv_dim": (24,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
}
SMALL = {
    **CONVOLUTIONS,
    "vocab_size": 32,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
FAMILIES = ["Hubert", "UniSpeech", "UniSpeechSat"]  # other names for the same network
SHAPES = {  # the proportions of the published models
    "XLS-R 300M": {**STABLE, "hidden_size": 64, "num_attention_heads": 16},
    "XLS-R 1B": {
        **STABLE, "hidden_size": 80, "num_attention_heads": 16, "intermediate_size": 320,
        "num_hidden_layers": 4,
    },
    "XLS-R 2B": {**STABLE, "hidden_size": 120, "num_attention_heads": 8, "num_hidden_layers": 5},
    "base": {},
    "large": {"hidden_size": 64, "num_attention_heads": 16},
    "never masked": {"mask_time_prob": 0.0, "mask_feature_prob": 0.0},
    "odd": {
        "feat_extract_norm": "layer", "num_attention_heads": 3, "num_conv_pos_embeddings": 19,
        "conv_dim": (16, 24, 20), "conv_kernel": (12, 5, 4), "conv_stride": (6, 4, 2),
    },
}  # fmt: skip


def random_ctc(family, **settings):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SMALL, **settings})
    return shaken(getattr(transformers, f"{family}ForCTC")(config).eval())


ADAPTED = {  # of attention (MMS), of convolutions after the Transformer, and of both
    "attention": {**STABLE, "adapter_attn_dim": 16},
    "attention, without its blocks": {"adapter_attn_dim": 16},
    "convolutions": {"add_adapter": True},
    "narrower": {**STABLE, "add_adapter": True, "output_hidden_size": 20},
    "one": {"add_adapter": True, "num_adapter_layers": 1, "adapter_stride": 3},
    "wide kernel": {"add_adapter": True, "adapter_kernel_size": 5, "num_adapter_layers": 2},
    "both": {**STABLE, "adapter_attn_dim": 8, "add_adapter": True, "output_hidden_size": 64},
}


ALL = [("Wav2Vec2", name) for name in SHAPES]
ALL += [(name, shape) for name in FAMILIES for shape in ("base", "XLS-R 300M", "never masked")]


@pytest.mark.parametrize(("family", "shape"), ALL)
@torch.inference_mode()
def test_logits_equal_those_of_transformers(family, shape, tmp_path):
    theirs = random_ctc(family, **SHAPES[shape])
    save_ctc(theirs, tmp_path)
    ours = build_ctc(read_huggingface(tmp_path))
    for samples in (8000, 15_999):
        waveform = torch.randn(2, samples)
        found = ours(waveform, torch.tensor([samples] * 2))[0]
        torch.testing.assert_close(found, theirs(waveform).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", ADAPTED.values(), ids=ADAPTED)
@torch.inference_mode()
def test_adapters_give_the_logits_of_transformers(settings, tmp_path):
    """And as many frames as the configuration counts, for an utterance in a padded batch too."""
    theirs = random_ctc("Wav2Vec2", **settings)
    save_ctc(theirs, tmp_path)
    ours = build_ctc(read_huggingface(tmp_path))
    batch, lengths = torch.randn(3, 15_999), torch.tensor([15_999, 8000, 4100])
    found, frames = ours(batch, lengths)
    rows = zip(batch, found, frames.tolist(), lengths.tolist(), strict=True)
    for waveform, row, count, samples in rows:
        expected = theirs(waveform[None, :samples]).logits[0]
        assert count == len(expected) == ours.config.frame_lengths(samples)
        torch.testing.assert_close(row[:count], expected, atol=1e-4, rtol=0)
    needed = ours.config.samples_for(count)
    assert ours.config.frame_lengths(needed) == count > ours.config.frame_lengths(needed - 1)


@pytest.mark.parametrize("family", ["Hubert", "UniSpeechSat"])
@torch.inference_mode()
def test_relatives_have_attention_adapters_too(family, tmp_path):
    theirs = random_ctc(family, **STABLE, adapter_attn_dim=16)
    save_ctc(theirs, tmp_path)
    found, _ = build_ctc(read_huggingface(tmp_path))(torch.ones(1, 8000), torch.tensor([8000]))
    torch.testing.assert_close(found, theirs(torch.ones(1, 8000)).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["Wav2Vec2", *FAMILIES])
def test_a_network_without_its_head_is_pretrained(family, tmp_path):
    theirs = random_ctc(family)
    getattr(theirs, theirs.base_model_prefix).save_pretrained(tmp_path)
    with_head = tmp_path / "head"
    save_ctc(theirs, with_head)
    bare, whole = read_huggingface(tmp_path), read_huggingface(with_head)
    assert bare.labels is None and bare.weights.keys() < whole.weights.keys()
    assert all(torch.equal(whole.weights[name], bare.weights[name]) for name in bare.weights)


@pytest.mark.parametrize("family", ["UniSpeech", "UniSpeechSat"])
@torch.inference_mode()
def test_models_pretrained_by_another_objective_are_read_without_it(family, tmp_path):
    """As published: the network to start from, without heads that wav2vec 2.0 does not have."""
    import transformers

    config = getattr(transformers, f"{family}Config")(**SMALL)
    theirs = shaken(getattr(transformers, f"{family}ForPreTraining")(config).eval())
    theirs.save_pretrained(tmp_path)
    checkpoint = read_huggingface(tmp_path)
    assert checkpoint.labels is None
    ours = Wav2Vec2(checkpoint.config).eval()
    weights = {n.removeprefix("wav2vec2."): w for n, w in checkpoint.weights.items()}
    ours.load_state_dict(weights)  # every weight, and no other
    waveform = torch.randn(1, 8000)
    found, _ = ours(waveform, torch.tensor([8000]))
    network = getattr(theirs, theirs.base_model_prefix)
    expected = network(normalized(waveform)).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def normalized(waveform):
    return (waveform - waveform.mean()) / (waveform.var(unbiased=False) + 1e-5).sqrt()


@pytest.mark.parametrize("shape", [SHAPES["base"], SHAPES["XLS-R 1B"]], ids=["base", "XLS-R"])
def test_pretraining_folders_are_read_with_their_quantizer(shape, tmp_path):
    from transformers import Wav2Vec2Config
    from transformers import Wav2Vec2ForPreTraining as Theirs

    settings = {**SMALL, **shape}
    codes = {"num_codevectors_per_group": 12, "codevector_dim": 40, "proj_codevector_dim": 36}
    Theirs(Wav2Vec2Config(**settings, **codes)).save_pretrained(tmp_path)
    checkpoint = read_huggingface(tmp_path)
    network = Wav2Vec2ForPretraining(checkpoint.config)
    network.load_state_dict(checkpoint.weights)
    assert checkpoint.weights["quantizer.codebook"].shape == (24, 20)
    assert checkpoint.labels is None


@pytest.mark.parametrize("extractor", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("normalize", [True, False, None])
def test_waveforms_are_scaled_as_the_extractor_says(extractor, normalize, tmp_path):
    """transformers 5 writes a section of the one file, transformers 4 the other file."""
    save_ctc(random_ctc("Wav2Vec2"), tmp_path, normalize=not normalize)
    settings = {} if normalize is None else {"do_normalize": normalize}
    section = settings if extractor.startswith("pre") else {"feature_extractor": settings}
    (tmp_path / extractor).write_text(json.dumps(section))
    assert read_huggingface(tmp_path).config.normalize_waveform == (normalize is not False)


def test_without_the_extractors_settings_waveforms_are_scaled_as_in_transformers(tmp_path):
    random_ctc("Wav2Vec2").wav2vec2.save_pretrained(tmp_path)
    assert read_huggingface(tmp_path).config.normalize_waveform


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("Wav2Vec2", {"hidden_act": "relu"}, "hidden_act to 'relu'"),
        ("Wav2Vec2", {"feat_extract_activation": "gelu_new"}, "feat_extract_activation to"),
        ("Wav2Vec2", {"layer_norm_eps": 1e-3}, "layer_norm_eps to 0.001"),
        ("Hubert", {"add_adapter": True, "output_hidden_size": 48}, "sets add_adapter, which 'hub"),
        ("Hubert", {"feat_proj_layer_norm": False}, "feat_proj_layer_norm to False"),
        ("Hubert", {"conv_pos_batch_norm": True}, "conv_pos_batch_norm to True"),
    ],
)
def test_settings_without_a_place_here_are_refused_by_name(family, settings, message, tmp_path):
    save_ctc(random_ctc(family, **settings), tmp_path)
    with pytest.raises(CheckpointError, match=message):
        read_huggingface(tmp_path)


def test_another_sampling_rate_is_refused(tmp_path):
    save_ctc(random_ctc("Wav2Vec2"), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(CheckpointError, match="sampling_rate to 8000, and w2v2 reads .* 16000 Hz"):
        read_huggingface(tmp_path)


@pytest.mark.parametrize(
    "family",
    ["WavLM", "Wav2Vec2Conformer", "Wav2Vec2Bert", "SEW", "SEWD", "Data2VecAudio"],
)
def test_relatives_with_another_architecture_are_refused_with_the_reason(family, tmp_path):
    import transformers

    config = getattr(transformers, f"{family}Config")()
    config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not the network of wav2vec 2.0: it") as caught:
        read_huggingface(tmp_path)
    assert RELATIVES[config.model_type] in str(caught.value)


@pytest.mark.parametrize(
    ("family", "head", "reason"),
    [
        ("Wav2Vec2", "ForSequenceClassification", "sorts whole recordings into classes"),
        ("Hubert", "ForSequenceClassification", "sorts whole recordings into classes"),
        ("Wav2Vec2", "ForAudioFrameClassification", "sorts frames into classes"),
        ("Wav2Vec2", "ForXVector", "compares speakers"),
    ],
)
def test_heads_that_write_no_text_are_refused_with_the_reason(family, head, reason, tmp_path):
    import transformers

    config = getattr(transformers, f"{family}Config")(**SMALL)
    getattr(transformers, f"{family}{head}")(config).save_pretrained(tmp_path)
    said = f"holds a {family}{head}, which writes no text: it {reason}"
    with pytest.raises(CheckpointError, match=said):
        read_huggingface(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_weights_in_half_precision_and_those_of_pretraining_beside_them(dtype, tmp_path):
    """Older fine-tuned models are pickled, with torch's older names and their quantizer left in."""
    theirs = random_ctc("Wav2Vec2").to(dtype)
    save_ctc(theirs, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): weight
        for name, weight in theirs.state_dict().items()
    }
    older |= {"quantizer.codevectors": torch.ones(1, 640, 128), "project_q.bias": torch.ones(256)}
    torch.save(older, tmp_path / "pytorch_model.bin")
    waveform = torch.randn(1, 8000)
    found, _ = build_ctc(read_huggingface(tmp_path))(waveform, torch.tensor([8000]))
    expected = theirs.float()(waveform).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
