"""The Transformer LM against torch's own layers and transformers' positions."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lm.transformer.adaptive import AdaptiveInput, AdaptiveSoftmax, initialize
from lm.transformer.config import tiny
from lm.transformer.network import FIRST_POSITION, TransformerNetwork

WORDS = 1300


@pytest.fixture
def config():
    torch.manual_seed(4)
    return replace(tiny(WORDS), tie_words=False, tie_projections=False)


@pytest.mark.parametrize("cutoffs", [(100,), (100, 400, 1000)])
def test_adaptive_softmax_equals_that_of_torch(config, cutoffs):
    """torch has the same numbers of classes and widths of tails; its projections are transposed."""
    config = replace(config, cutoffs=cutoffs)
    ours = AdaptiveSoftmax(config)
    initialize(AdaptiveInput(config), ours)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(
        config.width, WORDS, list(cutoffs), div_value=config.factor
    )
    with torch.no_grad():
        theirs.head.weight.copy_(torch.cat([ours.words, ours.classes]))
        for band, (projection, output) in enumerate(theirs.tail):
            projection.weight.copy_(ours.projections[band].T)
            output.weight.copy_(ours.tails[band])
    hidden, targets = torch.randn(50, config.width), torch.randint(0, WORDS, (50,))
    # Rounding grows with a log-probability, and some are below -20 here.
    close = {"atol": 1e-5, "rtol": 2e-6}
    torch.testing.assert_close(ours.log_probs(hidden), theirs.log_prob(hidden), **close)
    expected, loss = theirs(hidden, targets)
    torch.testing.assert_close(ours.target_log_probs(hidden, targets), expected, **close)
    assert ours.loss(hidden, targets).item() / 50 == pytest.approx(loss.item(), abs=1e-5)
    for word in (0, 99, 100, 399, 1299):
        pairs = _pairs(ours, hidden, word)
        torch.testing.assert_close(pairs, theirs.log_prob(hidden)[:, word], **close)


def _pairs(softmax, hidden, word):
    """log p of one word after each row, from the parts that the incremental model puts together."""
    band = sum(word >= end for end in softmax.ends)
    rows = torch.arange(len(hidden))
    logits = softmax.pair_logits(
        hidden, rows, torch.full((len(hidden),), word), band
    ) - softmax.normalizer(hidden, 0)
    if band:
        logits = logits + softmax.class_logits(hidden, band) - softmax.normalizer(hidden, band)
    return logits


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_blocks_equal_those_of_torch(config, activation):
    """nn.TransformerEncoderLayer, normalisation first and a causal mask, has the same equations."""
    network = TransformerNetwork(replace(config, activation=activation)).initialize().eval()
    for weight in network.parameters():  # biases and gains that matter
        nn.init.normal_(weight, std=0.2) if weight.dim() == 1 else None
    tokens = torch.randint(4, WORDS, (3, 11))
    places = torch.arange(11)
    x = network.embed(tokens, places)
    for block in network.blocks:
        theirs = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            config.inner,
            dropout=0.0,
            activation=activation,
            batch_first=True,
            norm_first=True,
        ).eval()
        theirs.load_state_dict(
            {
                name: value
                for own, their in (
                    ("attention_in", "self_attn.in_proj_"),
                    ("attention_out", "self_attn.out_proj."),
                    ("attention_norm", "norm1."),
                    ("inner_norm", "norm2."),
                    ("up", "linear1."),
                    ("down", "linear2."),
                )
                for kind in ("weight", "bias")
                for name, value in [(f"{their}{kind}", getattr(getattr(block, own), kind))]
            }
        )
        mask = nn.Transformer.generate_square_subsequent_mask(11)
        x = theirs(x, src_mask=mask, is_causal=True)
    torch.testing.assert_close(network(tokens), network.final_norm(x), atol=1e-5, rtol=0)


def test_positions_equal_those_of_transformers(config):
    """M2M-100 has fairseq's sinusoidal positions.

    They begin after the number of the padding, and frequencies are divided by D/2 - 1.
    """
    modeling = pytest.importorskip("transformers.models.m2m_100.modeling_m2m_100")
    theirs = modeling.M2M100SinusoidalPositionalEmbedding(40, config.width, padding_idx=1)
    tokens = torch.randint(4, WORDS, (2, 13))
    network = TransformerNetwork(config).initialize().eval()
    words = network.embedding(tokens) * math.sqrt(config.width)
    torch.testing.assert_close(
        network.embed(tokens, torch.arange(13)) - words,
        theirs(tokens).expand(2, -1, -1),
        atol=1e-4,
        rtol=0,
    )
    assert FIRST_POSITION == 2


def test_adaptive_input_equals_an_embedding_and_a_projection_for_each_band(config):
    embedding = AdaptiveInput(config)
    initialize(embedding, AdaptiveSoftmax(config))
    tokens = torch.tensor([[0, 99, 100], [999, 1000, 1299]])
    widths = [table.weight.shape[1] for table in embedding.tables]
    assert widths == [64, 16, 4]
    for row in range(2):
        for column in range(3):
            token = int(tokens[row, column])
            band, start = (0, 0) if token < 100 else (1, 100) if token < 1000 else (2, 1000)
            expected = embedding.projections[band] @ embedding.tables[band].weight[token - start]
            torch.testing.assert_close(embedding(tokens)[row, column], expected)
