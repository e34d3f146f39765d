"""Networks run under autocast; what they are judged by is float32."""

import pytest
import torch

from models.config import tiny
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.dataset import collate
from w2v2cli.recognition.devices import DTYPES, dtype_named
from w2v2cli.training.tasks.finetuning import ctc_losses


@pytest.mark.parametrize("precision", DTYPES)
def test_the_ctc_loss_is_that_of_the_same_logits_in_float32(precision):
    dtype = dtype_named(precision)
    labels = [torch.tensor([1, 2, 3]), torch.tensor([4])]
    batch = collate([torch.randn(8000), torch.randn(6000)], labels, ["a", "b"])
    network = Wav2Vec2ForCTC(tiny(), 6)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits, frames = network(batch.waveforms, batch.lengths)
        loss = ctc_losses(logits, frames, batch, blank=0).sum()
    assert logits.dtype == dtype and loss.dtype == torch.float32
    assert torch.equal(loss, ctc_losses(logits.float(), frames, batch, blank=0).sum())
    loss.backward()
    weights = [weight for weight in network.parameters() if weight.grad is not None]
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert {weight.grad.dtype for weight in weights} == {torch.float32}
