"""fairseq's checkpoints, built here with its key names and shapes, and files that are none."""

import argparse
import math
import os
import pickle
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from lm.language_model import LanguageModelError
from lm.transformer.checkpoint import build_transformer
from lm.transformer.dictionary import SPECIALS, read_fairseq_dictionary
from lm.transformer.fairseq import (
    config_from_fairseq,
    read_fairseq_lm,
    read_transformer,
    weights_from_fairseq,
)
from lm.transformer.model import TransformerLM

WORDS, WIDTH, INNER, HEADS, BLOCKS = 60, 16, 24, 2, 2
CUTOFFS, ENDS = "20,40", (20, 40, 60)
PUBLISHED = {  # as wav2letter trained the published model, sizes apart
    "arch": "transformer_lm_gbw",
    "adaptive_input": True,
    "adaptive_input_cutoff": CUTOFFS,
    "adaptive_input_factor": 4,
    "adaptive_softmax_cutoff": CUTOFFS,
    "adaptive_softmax_factor": 4,
    "adaptive_softmax_dropout": 0,
    "tie_adaptive_weights": True,
    "tie_adaptive_proj": False,
    "decoder_layers": BLOCKS,
    "decoder_attention_heads": HEADS,
    "decoder_ffn_embed_dim": INNER,
    "decoder_input_dim": WIDTH,
    "decoder_embed_dim": WIDTH,
    "decoder_output_dim": WIDTH,
    "no_decoder_final_norm": True,
    "decoder_normalize_before": True,
    "activation_fn": "relu",
    "attention_dropout": 0.1,
    "dropout": 0.1,
    "tokens_per_sample": 256,
    "max_target_positions": None,
    "character_embeddings": False,
    "decoder_learned_pos": False,
}


def fairseq_weights(
    *, tied=True, tied_projections=False, final_norm=False, fused=False, adaptive=True
):
    """A state dict with the names that fairseq's modules give their tensors."""
    torch.manual_seed(0)
    made = {
        "decoder.version": torch.tensor([3.0]),
        "decoder.embed_positions._float_tensor": torch.zeros(1),
    }
    for layer in range(BLOCKS):
        name = f"decoder.layers.{layer}"
        if fused:
            made[f"{name}.self_attn.in_proj_weight"] = torch.randn(3 * WIDTH, WIDTH) / 4
            made[f"{name}.self_attn.in_proj_bias"] = torch.randn(3 * WIDTH)
        shapes = {} if fused else {f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in "kvq"}
        shapes |= {
            "self_attn.out_proj": (WIDTH, WIDTH),
            "fc1": (INNER, WIDTH),
            "fc2": (WIDTH, INNER),
        }
        for part, shape in shapes.items():
            made[f"{name}.{part}.weight"], made[f"{name}.{part}.bias"] = (
                torch.randn(shape) / 4,
                torch.randn(shape[0]),
            )
        norms = ["self_attn_layer_norm", "final_layer_norm"]
        for norm in norms:
            made[f"{name}.{norm}.weight"], made[f"{name}.{norm}.bias"] = (
                torch.rand(WIDTH) + 1,
                torch.randn(WIDTH),
            )
    if final_norm:
        made["decoder.layer_norm.weight"], made["decoder.layer_norm.bias"] = (
            torch.rand(WIDTH) + 1,
            torch.randn(WIDTH),
        )
    if not adaptive:
        return made
    sizes = [end - start for start, end in zip((0, *ENDS), ENDS, strict=False)]
    for band, size in enumerate(sizes):
        made[f"decoder.embed_tokens.embeddings.{band}.0.weight"] = (
            torch.randn(size, WIDTH // 4**band) / 2
        )
        made[f"decoder.embed_tokens.embeddings.{band}.1.weight"] = (
            torch.randn(WIDTH, WIDTH // 4**band) / 4
        )
    made["decoder.embed_tokens._float_tensor"] = torch.zeros(1)
    made["decoder.adaptive_softmax.version"] = torch.tensor([1])
    if tied:
        made["decoder.adaptive_softmax.head.word_proj.weight"] = made[
            "decoder.embed_tokens.embeddings.0.0.weight"
        ]
        made["decoder.adaptive_softmax.head.class_proj.weight"] = torch.randn(2, WIDTH)
        made["decoder.adaptive_softmax.head._float_tensor"] = torch.zeros(1)
    else:
        made["decoder.adaptive_softmax.head.weight"] = torch.randn(ENDS[0] + 2, WIDTH)
    for band in range(2):
        tail, width = f"decoder.adaptive_softmax.tail.{band}", WIDTH // 4 ** (band + 1)
        embedding = f"decoder.embed_tokens.embeddings.{band + 1}"
        # TiedLinear(transpose=True) keeps the tensor of the input as it is; a projection of the
        # softmax alone is transposed.
        made[f"{tail}.0.weight"] = (
            made[f"{embedding}.1.weight"] if tied_projections else torch.randn(width, WIDTH)
        )
        made[f"{tail}.2.weight"] = (
            made[f"{embedding}.0.weight"] if tied else torch.randn(sizes[band + 1], width)
        )
    return made


def reference(weights, tokens, *, transposed=False, final_norm=False):
    """fairseq's equations in plain tensor operations: (T,) words -> (T, V) log-probabilities."""
    w = {name.removeprefix("decoder."): tensor for name, tensor in weights.items()}
    rows = []
    for token in tokens.tolist():
        band = sum(token >= end for end in ENDS)
        row = w[f"embed_tokens.embeddings.{band}.0.weight"][token - (0, *ENDS)[band]]
        rows.append(w[f"embed_tokens.embeddings.{band}.1.weight"] @ row)
    half = WIDTH // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
    angles = torch.arange(2, 2 + len(rows))[:, None] * frequencies
    x = math.sqrt(WIDTH) * torch.stack(rows) + torch.cat([angles.sin(), angles.cos()], 1)
    for layer in range(BLOCKS):
        x = reference_block(w, f"layers.{layer}", x)
    if final_norm:
        x = F.layer_norm(x, (WIDTH,), w["layer_norm.weight"], w["layer_norm.bias"])
    name = "adaptive_softmax.head"
    if f"{name}.weight" in w:
        head = x @ w[f"{name}.weight"].T
    else:
        head = torch.cat(
            [x @ w[f"{name}.word_proj.weight"].T, x @ w[f"{name}.class_proj.weight"].T], 1
        )
    head = head.log_softmax(1)
    parts = [head[:, : ENDS[0]]]
    for band in range(2):
        projection = w[f"adaptive_softmax.tail.{band}.0.weight"]
        tail = (
            x
            @ (projection if transposed else projection.T)
            @ w[f"adaptive_softmax.tail.{band}.2.weight"].T
        )
        parts.append(tail.log_softmax(1) + head[:, ENDS[0] + band, None])
    return torch.cat(parts, 1)


def reference_block(w, name, x):
    h = F.layer_norm(
        x,
        (WIDTH,),
        w[f"{name}.self_attn_layer_norm.weight"],
        w[f"{name}.self_attn_layer_norm.bias"],
    )
    if f"{name}.self_attn.in_proj_weight" in w:
        parts = (
            h @ w[f"{name}.self_attn.in_proj_weight"].T + w[f"{name}.self_attn.in_proj_bias"]
        ).chunk(3, 1)
    else:
        parts = [
            h @ w[f"{name}.self_attn.{part}_proj.weight"].T
            + w[f"{name}.self_attn.{part}_proj.bias"]
            for part in "qkv"
        ]
    seen = []
    for q, k, v in zip(*(part.chunk(HEADS, 1) for part in parts), strict=True):
        scores = (q * (WIDTH // HEADS) ** -0.5) @ k.T
        seen.append(
            scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(1) @ v
        )
    x = (
        x
        + torch.cat(seen, 1) @ w[f"{name}.self_attn.out_proj.weight"].T
        + w[f"{name}.self_attn.out_proj.bias"]
    )
    h = F.layer_norm(
        x, (WIDTH,), w[f"{name}.final_layer_norm.weight"], w[f"{name}.final_layer_norm.bias"]
    )
    h = F.relu(h @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
    return x + h @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dict.txt").write_text("".join(f"word{i} {1000 - i}\n" for i in range(WORDS - 4)))
    return tmp_path


def write(folder, weights, settings=PUBLISHED, **extra):
    path = folder / "lm_librispeech_word_transformer.pt"
    content = {
        "args": argparse.Namespace(**settings),
        "model": weights,
        "epoch": 3,
        "extra_state": {"best": 1.0},
    }
    torch.save({**content, **extra}, path)
    return path


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        ({}, {}),
        ({"fused": True}, {}),
        ({"tied": False}, {"tie_adaptive_weights": False}),
        ({"tied_projections": True}, {"tie_adaptive_proj": True}),
        (
            {"tied_projections": True},
            {"no_tie_adaptive_proj": False, "no_decoder_final_norm": False},
        ),
        ({"final_norm": True}, {"no_decoder_final_norm": False}),
    ],
    ids=["published", "fused-attention", "untied", "tied-projections", "older", "final-norm"],
)
def test_a_fairseq_checkpoint_computes_what_fairseq_does(folder, layout, settings):
    weights = fairseq_weights(**layout)
    read = read_transformer(write(folder, weights, {**PUBLISHED, **settings}))
    network = build_transformer(read)
    assert (read.config.positions, read.config.bands) == (256, ENDS)
    assert read.dictionary.symbols == (*SPECIALS, *(f"WORD{i}" for i in range(WORDS - 4)))
    tokens = torch.tensor([2, 4, 30, 59, 21, 3, 19, 45])
    expected = reference(
        weights,
        tokens,
        transposed=layout.get("tied_projections", False),
        final_norm=layout.get("final_norm", False),
    )
    torch.testing.assert_close(
        network.softmax.log_probs(network(tokens[None])[0]), expected, atol=1e-4, rtol=1e-4
    )


def test_the_three_verbs_on_a_fairseq_checkpoint(folder):
    weights = fairseq_weights()
    checkpoint = read_transformer(write(folder, weights))
    network, words = build_transformer(checkpoint), ["WORD0", "WORD50", "word0"]
    model = TransformerLM(network, checkpoint.dictionary, words, cache_gb=1.0)
    scores, states = model.score(model.start(3), [0, 1, 2])
    begin = reference(weights, torch.tensor([2]))[0]
    assert scores == pytest.approx(
        begin[[4, 54, 3]].tolist(), abs=1e-4
    )  # in small letters it is unknown
    after = reference(weights, torch.tensor([2, 54]))[1]
    assert model.finish(states[1:2]) == pytest.approx([float(after[2])], abs=1e-4)


def test_newer_checkpoints_keep_their_options_in_cfg(folder):
    settings = {
        **PUBLISHED,
        "max_target_positions": "${task.max_target_positions}",
        "tokens_per_sample": 99,
    }
    configuration = {
        "model": settings,
        "task": {"max_target_positions": 128, "tokens_per_sample": 99},
    }
    path = write(folder, fairseq_weights(), args=None, cfg=configuration)
    assert read_fairseq_lm(path).config.positions == 128


def test_omegaconf_objects_are_read_without_omegaconf(folder, monkeypatch):
    """The containers that hydra leaves behind, made here by stand-ins of the same name."""
    for name in ("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def container(module, name):
        made = type(name, (), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, made, raising=False)
        return made

    config, node = (
        container("omegaconf.dictconfig", "DictConfig"),
        container("omegaconf.nodes", "AnyNode"),
    )

    def wrap(value):
        made = config() if isinstance(value, dict) else node()
        if isinstance(value, dict):
            made.__dict__.update(
                _metadata=None, _content={key: wrap(item) for key, item in value.items()}
            )
        else:
            made.__dict__.update(_metadata=None, _val=value)
        return made

    path = write(folder, fairseq_weights(), args=None, cfg=wrap({"model": PUBLISHED, "task": {}}))
    assert read_fairseq_lm(path).config.cutoffs == (20, 40)


def test_a_plain_embedding_and_softmax(folder):
    plain = {
        **PUBLISHED,
        "adaptive_input": False,
        "adaptive_softmax_cutoff": None,
        "tie_adaptive_weights": False,
    }
    torch.manual_seed(0)
    table, output = torch.randn(WORDS, WIDTH), torch.randn(WORDS, WIDTH)
    weights = fairseq_weights(adaptive=False) | {"decoder.embed_tokens.weight": table}
    apart = build_transformer(
        read_fairseq_lm(write(folder, weights | {"decoder.embed_out": output}, plain))
    )
    assert torch.equal(apart.softmax.words, output)
    shared = {**plain, "share_decoder_input_output_embed": True}
    weights |= {"decoder.output_projection.weight": table}
    together = build_transformer(read_fairseq_lm(write(folder, weights, shared)))
    assert together.softmax.words is together.embedding.tables[0].weight


def test_capitals_and_words_that_become_equal(folder):
    lines = ["the 90", "The 80", "dog 70 #fairseq:overwrite", "DOG 60", "new york 5"]
    (folder / "dict.txt").write_text("\n".join(lines) + "\n")
    dictionary, told = read_fairseq_dictionary(folder / "dict.txt")
    assert dictionary.words == ("THE", "THE", "DOG", "DOG", "NEW YORK")
    assert (dictionary.index["THE"], dictionary.index["DOG"]) == (4, 6)
    assert told == [
        "dict.txt lists 2 words twice (in capitals), such as THE, DOG: "
        "the first entry of each is used."
    ]
    dictionary, told = read_fairseq_dictionary(folder / "dict.txt", upper=False)
    assert (dictionary.words[:2], told) == (("the", "The"), [])


def test_the_dictionary_may_be_named_like_the_model(folder):
    path = write(folder, fairseq_weights())
    (folder / "dict.txt").rename(path.with_suffix(".dict"))
    assert len(read_fairseq_lm(path, upper=False).dictionary) == WORDS
    path.with_suffix(".dict").unlink()
    with pytest.raises(
        LanguageModelError,
        match=r"needs its dictionary beside it: lm_librispeech_word_transformer.dict",
    ):
        read_fairseq_lm(path)


def test_a_dictionary_that_does_not_belong(folder):
    path = write(folder, fairseq_weights())
    (folder / "dict.txt").write_text("".join(f"w{i} 1\n" for i in range(WORDS - 5)))
    with pytest.raises(
        LanguageModelError,
        match="has 59 entries with its specials, but the language model has 60 words",
    ):
        read_fairseq_lm(path)
    (folder / "dict.txt").write_text("one 1\ntwo\n")
    with pytest.raises(LanguageModelError, match="line 2 is not a word and a count: 'two'"):
        read_fairseq_lm(path)
    (folder / "dict.txt").write_bytes(b"\xff 1\n")
    with pytest.raises(LanguageModelError, match=r"dict.txt is not UTF-8 text"):
        read_fairseq_lm(path)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"character_embeddings": True}, "character_embeddings=True"),
        ({"decoder_learned_pos": True}, "decoder_learned_pos=True"),
        ({"decoder_output_dim": 99}, "decoder_output_dim=99"),
        ({"adaptive_input": False, "decoder_input_dim": 8}, "decoder_input_dim=8"),
    ],
)
def test_other_architectures_are_refused_by_name(settings, named):
    with pytest.raises(LanguageModelError, match=f"in a way w2v2 does not read: {named}"):
        config_from_fairseq({**PUBLISHED, **settings}, WORDS)


def test_weights_with_other_names_are_named(folder):
    weights = fairseq_weights()
    weights["decoder.layers.0.encoder_attn.k_proj.weight"] = weights.pop(
        "decoder.layers.0.fc1.weight"
    )
    config = config_from_fairseq(PUBLISHED, WORDS)
    assert "decoder.layers.0.encoder_attn.k_proj.weight" in weights_from_fairseq(weights, config)
    with pytest.raises(
        LanguageModelError,
        match=r"1 missing: blocks.0.up.weight; 1 unknown: decoder.layers.0.encoder_",
    ):
        build_transformer(read_fairseq_lm(write(folder, weights)))


class Runs:
    def __reduce__(self):
        return (os.system, ("exit 1",))


def test_a_file_that_would_run_code_is_not_opened(folder):
    path = write(folder, fairseq_weights(), extra_state=Runs())
    with pytest.raises(
        LanguageModelError, match=r"asks to run \w+\.system: it was not opened any further"
    ):
        read_fairseq_lm(path)
    path.write_bytes(pickle.dumps({"model": {}}, protocol=2))
    with pytest.raises(LanguageModelError):
        read_fairseq_lm(path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(LanguageModelError, match="is damaged or not a PyTorch file"):
        read_fairseq_lm(path)
    with pytest.raises(LanguageModelError, match="There is no language model at"):
        read_transformer(folder / "nothing.pt")


def test_files_of_something_else(folder):
    path = write(folder, fairseq_weights(), args=None)
    with pytest.raises(LanguageModelError, match="does not describe its language model"):
        read_fairseq_lm(path)
    torch.save({"weights": 3}, path)
    with pytest.raises(LanguageModelError, match="holds no weights of a fairseq language model"):
        read_fairseq_lm(path)
