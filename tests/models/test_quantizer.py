import math

import torch

from models.quantizer import GumbelQuantizer, code_perplexities, gumbel_noise, perplexities


def quantizer(channels=6, codebooks=2, entries=5, width=8):
    torch.manual_seed(0)
    return GumbelQuantizer(channels, codebooks, entries, width)


def test_without_temperature_it_takes_the_likeliest_entry_of_each_codebook():
    q = quantizer()
    x = torch.randn(7, 6)
    found = q(x)
    logits = (x @ q.projection.weight.T + q.projection.bias).view(7, 2, 5)
    for n in range(7):
        for g in range(2):
            best = int(logits[n, g].argmax())
            assert int(found.codes[n, g]) == best
            torch.testing.assert_close(
                found.vectors[n, 4 * g : 4 * g + 4], q.codebook[5 * g + best]
            )


def test_the_choice_is_hard_with_noise_and_temperature():
    q = quantizer()
    x = torch.randn(9, 6)
    noise = gumbel_noise((9, 2, 5), torch.Generator().manual_seed(1))
    found = q(x, temperature=2.0, noise=noise)
    assert torch.equal(found.codes, (found.logits + noise).argmax(-1))
    expected = torch.cat([q.codebook[found.codes[:, g] + 5 * g] for g in range(2)], 1)
    torch.testing.assert_close(found.vectors, expected)


def test_straight_through_gradient_is_that_of_the_soft_choice():
    """Backward is d/dlogits of softmax((logits + noise) / τ) · codebook (paper §2)."""
    q = quantizer()
    x = torch.randn(4, 6, dtype=torch.float32, requires_grad=True)
    noise = gumbel_noise((4, 2, 5), torch.Generator().manual_seed(2))
    weights = torch.randn(4, 8)
    (q(x, temperature=0.7, noise=noise).vectors * weights).sum().backward()
    found = x.grad.clone()

    leaf = x.detach().clone().requires_grad_()
    soft = ((q.projection(leaf).view(4, 2, 5) + noise) / 0.7).softmax(-1)
    vectors = torch.cat([soft[:, g] @ q.codebook[5 * g : 5 * g + 5].detach() for g in range(2)], 1)
    (vectors * weights).sum().backward()
    torch.testing.assert_close(found, leaf.grad)


def test_the_codebook_learns_only_where_it_was_chosen():
    q = quantizer()
    found = q(torch.randn(3, 6), temperature=1.0)
    found.vectors.sum().backward()
    used = {int(code) + 5 * g for g in range(2) for code in found.codes[:, g]}
    assert {int(i) for i in q.codebook.grad.abs().sum(1).nonzero()} == used


def test_gumbel_noise_has_the_distribution_of_the_name():
    noise = gumbel_noise((200_000,), torch.Generator().manual_seed(0))
    assert abs(noise.mean() - 0.5772) < 0.01  # Euler's constant
    assert abs(noise.var() - math.pi**2 / 6) < 0.02


def test_perplexity_is_one_for_a_single_entry_and_v_for_all_alike():
    one = torch.zeros(10, 2, 8)
    one[..., 3] = 1
    torch.testing.assert_close(perplexities(one), torch.ones(2))
    torch.testing.assert_close(perplexities(torch.full((10, 2, 8), 1 / 8)), torch.full((2,), 8.0))
    codes = torch.stack([torch.zeros(8, dtype=torch.long), torch.arange(8)], 1)
    torch.testing.assert_close(code_perplexities(codes, 8), torch.tensor([1.0, 8.0]))
