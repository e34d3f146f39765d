"""The network of the Transformer LM, its objective, its configuration and its own file."""

import json
import math
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from lm.language_model import LanguageModelError
from lm.transformer.checkpoint import (
    TransformerCheckpoint,
    build_transformer,
    load_transformer,
    network_weights,
    save_transformer,
)
from lm.transformer.config import PRESETS, TransformerLMConfig, paper, tiny
from lm.transformer.dictionary import END, PAD, SPECIALS, Dictionary
from lm.transformer.network import TransformerNetwork, lm_objective, sinusoids

WORDS = 1300


def made(config):
    torch.manual_seed(3)
    return TransformerNetwork(config).initialize().eval()


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads would wait for each other longer than such small tensors take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    return made(tiny(WORDS))


def test_no_word_sees_those_after_it(network):
    tokens = torch.randint(4, WORDS, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 7:] = 9
    before, after = network(tokens), network(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7], atol=1e-5, rtol=0)
    assert ((before - after)[:, 7:].abs().amax(2) > 0.1).all()


def test_padding_at_the_end_changes_nothing(network):
    tokens = torch.randint(4, WORDS, (3, 10), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([tokens, torch.full((3, 6), PAD)], 1)
    torch.testing.assert_close(network(padded)[:, :10], network(tokens), atol=1e-5, rtol=0)
    blocks = torch.cat([torch.full((3, 1), END), padded], 1)
    summed, count = lm_objective(network, blocks)
    expected, fewer = lm_objective(network, blocks[:, :11])
    assert (count, fewer) == (30, 30)
    assert summed.item() == pytest.approx(expected.item(), abs=1e-3)


def test_positions_are_sines_then_cosines_from_two_on(network):
    """fairseq: frequency k is 10000^(-k / (D/2 - 1)); the first word has position padding + 1."""
    table = sinusoids(torch.arange(5), 8)
    assert table[0].tolist() == [0] * 4 + [1] * 4
    assert table[3, 1].item() == pytest.approx(math.sin(3 * 10_000 ** (-1 / 3)), abs=1e-6)
    assert table[3, 7].item() == pytest.approx(math.cos(3 / 10_000), abs=1e-6)
    bare = network.embed(torch.tensor([[END, 20]]), torch.tensor([0, 1]))
    scaled = network.embedding(torch.tensor([[END, 20]])) * 8  # the root of 64
    torch.testing.assert_close(bare, scaled + sinusoids(torch.tensor([2, 3]), 64))


@pytest.mark.parametrize("cutoffs", [(), (100,), (100, 1000)])
@pytest.mark.parametrize("tied", [False, True])
def test_the_objective_is_minus_the_log_probability_of_every_word(cutoffs, tied):
    network = made(
        replace(
            tiny(WORDS),
            cutoffs=cutoffs,
            input_cutoffs=cutoffs or None,
            tie_words=tied,
            tie_projections=tied,
        )
    )
    tokens = torch.randint(0, WORDS, (2, 9), generator=torch.Generator().manual_seed(0))
    tokens[tokens == PAD] = END
    summed, count = lm_objective(network, tokens)
    log_probs = network.softmax.log_probs(network(tokens[:, :-1]).flatten(0, 1))
    assert torch.logsumexp(log_probs, 1).abs().max() < 1e-5
    assert summed.item() == pytest.approx(
        -log_probs.gather(1, tokens[:, 1:].reshape(-1, 1)).sum().item(), abs=1e-3
    )
    assert count == 16


@pytest.mark.parametrize("half", [False, True])
def test_every_weight_has_a_gradient_even_without_rare_words(half):
    trained = made(replace(tiny(WORDS), dropout=0.1, attention_dropout=0.1)).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        summed, _ = lm_objective(trained, torch.full((2, 6), 20))
    assert summed.dtype == torch.float32
    summed.backward()
    assert [name for name, weight in trained.named_parameters() if weight.grad is None] == []
    assert trained.softmax.tails[1].grad is not None


def test_a_network_learns(network):
    trained = made(tiny(WORDS)).train()
    tokens = torch.randint(4, WORDS, (4, 12), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(trained.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        summed, count = lm_objective(trained, tokens)
        optimizer.zero_grad()
        (summed / count).backward()
        optimizer.step()
        losses.append(summed.item() / count)
    assert losses[-1] < losses[0] / 3


def test_presets():
    """Of the published model, and of any vocabulary."""
    config = paper(220_000)
    assert (config.blocks, config.width, config.inner, config.heads) == (20, 1280, 6144, 16)
    assert (config.cutoffs, config.input_cutoffs, config.factor) == (
        (60_000, 160_000),
        (60_000, 160_000),
        4,
    )
    with torch.device("meta"):
        big = TransformerNetwork(config)
    # wav2letter's table (recipes/sota/2019/lm) gives 562 M parameters.
    assert sum(weight.numel() for weight in big.parameters()) == pytest.approx(562e6, abs=0.5e6)
    for preset in PRESETS.values():
        assert preset(50).cutoffs == ()
        assert preset(50).bands == (50,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 5}, "Width 64 must be even and divide into 5 heads"),
        ({"activation": "swish"}, "must be one of relu, gelu, got 'swish'"),
        (
            {"cutoffs": (1000, 100)},
            r"Cutoffs of the softmax must rise within the vocabulary of 1300, got \(1000, 100\)",
        ),
        ({"input_cutoffs": (2000,)}, r"Cutoffs of the input must rise"),
        ({"input_cutoffs": (100,)}, "Tied words need equal bands"),
        ({"input_width": 32}, "Tied words need equal widths, got 32 and 64"),
        ({"tie_words": False}, "Projections can only be tied where the words' vectors are tied"),
        ({"positions": 2}, "room for 4 words or more, got positions=2"),
    ],
)
def test_impossible_configurations_are_refused(wrong, message):
    with pytest.raises(LanguageModelError, match=message):
        replace(tiny(WORDS), **wrong)


@pytest.fixture
def checkpoint(network):
    dictionary = Dictionary((*SPECIALS, *(f"WÖRD'{i}" for i in range(WORDS - 4))))
    return TransformerCheckpoint(
        network.config, dictionary, network_weights(network), {"licence": "MIT"}
    )


def test_a_file_gives_the_same_network_again(network, checkpoint, tmp_path):
    path = tmp_path / "lm.safetensors"
    save_transformer(path, checkpoint)
    read = load_transformer(path)
    assert read.dictionary.symbols == checkpoint.dictionary.symbols
    assert (read.config, read.metadata) == (checkpoint.config, {"licence": "MIT"})
    again = build_transformer(read)
    tokens = torch.randint(4, WORDS, (2, 9), generator=torch.Generator().manual_seed(0))
    # Some processors take another kernel where gradients are wanted: equal only to rounding.
    torch.testing.assert_close(again(tokens), network(tokens))
    assert (
        again.softmax.words is again.embedding.tables[0].weight
    )  # tied weights stay tied, and are stored once
    assert sum(weight.numel() for weight in again.parameters()) == read.parameters
    save_transformer(path, checkpoint, half=True)
    torch.testing.assert_close(
        build_transformer(load_transformer(path))(tokens), network(tokens), atol=0.02, rtol=0.02
    )
    assert [item.name for item in tmp_path.iterdir()] == ["lm.safetensors"]


def test_damaged_files_are_refused_in_a_sentence(checkpoint, tmp_path):
    path = tmp_path / "lm.safetensors"
    save_transformer(path, checkpoint)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        LanguageModelError, match=r"lm.safetensors is damaged or not a language model of w2v2"
    ):
        load_transformer(path)
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(
        LanguageModelError, match="holds tensors but is not a language model of w2v2"
    ):
        load_transformer(path)
    for wrong in ({}, {"format_version": 1}, {"format_version": 1, "config": {"width": "wide"}}):
        words = torch.tensor(list(b"a"), dtype=torch.uint8)
        safetensors.torch.save_file(
            {"dictionary": words}, path, metadata={"w2v2_lm": json.dumps(wrong)}
        )
        with pytest.raises(LanguageModelError, match="has a damaged header"):
            load_transformer(path)
    header = {"w2v2_lm": json.dumps({"format_version": 9, "config": {}})}
    safetensors.torch.save_file({"a": torch.ones(2)}, path, metadata=header)
    with pytest.raises(
        LanguageModelError, match="has format 9, this w2v2 reads up to 1: update w2v2"
    ):
        load_transformer(path)


def test_weights_and_words_that_do_not_fit_are_named(checkpoint):
    weights = {
        name: tensor for name, tensor in checkpoint.weights.items() if name != "blocks.1.up.bias"
    }
    weights["blocks.0.up.bias"] = torch.ones(3)
    weights["stranger"] = torch.ones(1)
    wrong = (
        r"1 missing: blocks.1.up.bias; 1 unknown: stranger; "
        r"1 misshapen: blocks.0.up.bias \(3,\) instead of \(128,\)"
    )
    with pytest.raises(LanguageModelError, match=wrong):
        build_transformer(replace(checkpoint, weights=weights))
    short = Dictionary(checkpoint.dictionary.symbols[:-1])
    with pytest.raises(
        LanguageModelError, match="has 1299 entries with its specials, the network 1300"
    ):
        build_transformer(replace(checkpoint, dictionary=short))


def test_a_plain_configuration_is_possible():
    network = made(
        TransformerLMConfig(
            40, blocks=1, width=16, inner=32, heads=2, activation="gelu", final_norm=False
        )
    )
    summed, count = lm_objective(network, torch.randint(4, 40, (1, 5)))
    assert count == 4
    assert summed.item() > 0
