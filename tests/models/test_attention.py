"""Attention by parts, as training on a CPU in bfloat16 takes it, is PyTorch's fused attention."""

import pytest
import torch
import torch.nn.functional as F

from models import context_network
from models.context_network import Attention, attention_by_parts


def tensors(seed=1):
    torch.manual_seed(seed)
    return [torch.randn(3, 2, 50, 16, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_those_of_the_fused_kernel(masked):
    attend = None
    if masked:
        attend = (
            torch.arange(50)[None, None, None, :] < torch.tensor([50, 31, 1])[:, None, None, None]
        )
    ours, theirs = tensors(), tensors()
    found = attention_by_parts(*ours, attend)
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=attend)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_training_in_bfloat16_takes_it_and_nothing_else_does(monkeypatch):
    taken = []
    monkeypatch.setattr(
        context_network,
        "attention_by_parts",
        lambda *a: taken.append(a[0].dtype) or attention_by_parts(*a),
    )
    layer, x = Attention(32, 2, 0.0), torch.randn(2, 20, 32)
    layer.eval()(x, None)
    layer.train()(x, None)
    assert taken == []
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, None)
        assert taken == [torch.bfloat16]
        expected = layer.eval()(x, None)
        Attention(32, 2, 0.1).train()(x, None)
    assert taken == [torch.bfloat16]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
