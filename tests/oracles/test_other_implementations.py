"""The same weights in transformers, torchaudio and here give the same logits."""

import pytest
import torch
from oracles.peers import VARIANTS, save_ctc, torchaudio_model, transformers_ctc

from models.checkpoint import build_ctc
from models.config import base
from models.importers.huggingface import read_huggingface
from models.importers.reader import read_model


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def config(request):
    return request.param


def ours_from_transformers(theirs, folder):
    save_ctc(theirs, folder)
    return build_ctc(read_huggingface(folder))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_logits_equal_those_of_transformers(config, tmp_path):
    theirs = transformers_ctc(config)
    ours = ours_from_transformers(theirs, tmp_path)
    for samples in (400, 8000, 15_999):
        waveform = torch.randn(2, samples)
        close(ours(waveform, torch.tensor([samples] * 2))[0], theirs(waveform).logits)


@torch.inference_mode()
def test_logits_equal_those_of_transformers_at_full_base_size(tmp_path):
    theirs = transformers_ctc(base())
    waveform = torch.randn(1, 16_000)
    expected = theirs(waveform).logits
    close(ours_from_transformers(theirs, tmp_path)(waveform, torch.tensor([16_000]))[0], expected)


@torch.inference_mode()
def test_logits_equal_those_of_torchaudio(config, tmp_path):
    theirs = torchaudio_model(config)
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    checkpoint = read_model(tmp_path / "model.pt")
    waveform = torch.randn(2, 9000)
    if config.normalize_waveform:
        waveform = torch.nn.functional.layer_norm(
            waveform, waveform.shape[-1:]
        )  # its users do this by hand
    close(build_ctc(checkpoint)(waveform, torch.tensor([9000] * 2))[0], theirs(waveform)[0])


@torch.inference_mode()
def test_padding_changes_the_results_of_transformers_but_not_ours(tmp_path):
    """In other implementations the group norm of BASE takes its statistics over the padding too."""
    theirs = transformers_ctc(VARIANTS["base"])
    ours = ours_from_transformers(theirs, tmp_path)
    short = torch.randn(8000) * 0.1
    padded = torch.zeros(2, 32_000)
    padded[0, :8000], padded[1] = short, torch.randn(32_000) * 0.1
    mask = (torch.arange(32_000) < torch.tensor([[8000], [32_000]])).long()
    alone = theirs(short[None]).logits[0]
    in_batch = theirs(padded, attention_mask=mask).logits[0, : len(alone)]
    assert (in_batch - alone).abs().max() > 0.01
    close(ours(padded, torch.tensor([8000, 32_000]))[0][0, : len(alone)], alone)
