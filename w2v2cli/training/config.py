"""What a fine-tuning run does: one frozen dataclass and its named recipes."""

from __future__ import annotations

from dataclasses import dataclass

from models.masking import SpanMask
from w2v2cli.training.schedule import TriStage


@dataclass(frozen=True)
class FinetuneConfig:
    """One CTC training run. R is fairseq's reference configuration, P the paper."""

    schedule: TriStage
    """Learning rate by update."""
    batch_seconds: float = 200.0
    """Padded audio in a batch; R: 3.2 M samples."""
    accumulate: int = 1
    """Batches whose gradients make one update."""
    mask: SpanMask = SpanMask(time_probability=0.065, channel_probability=0.004)
    """Input hidden in training (P App. B, the 10 h row)."""
    freeze_feature_encoder: bool = True
    """Whether the feature encoder keeps its weights (P §4.3: throughout)."""
    head_only_updates: int = 0
    """First updates in which only the output layer learns (P §4.3: 10 k)."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of Adam (R)."""
    eps: float = 1e-8
    """Of Adam (R)."""
    weight_decay: float = 0.0
    """Decoupled, on matrices only (R: none in fine-tuning)."""
    clip_norm: float = 0.0
    """Largest gradient norm; 0 leaves it alone (R)."""
    dropout: float = 0.0
    """Transformer, input and output dropout in this run (R: 0)."""
    activation_dropout: float = 0.1
    """Inside the feed-forward parts in this run (R)."""
    layer_drop: float = 0.1
    """Probability that a block is skipped in this run (R)."""
    speeds: tuple[float, ...] = (1.0,)
    """Each time an utterance is read it is played at one of these speeds (pitch follows); not in P."""
    precision: str = "fp32"
    """`fp32`, or `bf16` for autocast; losses and norms stay in float32."""
    validate_every: int = 1000
    """Updates between two validations."""
    seed: int = 1
    """Of weights, order of data, masks and dropout."""


def demo() -> FinetuneConfig:
    """A model like the shipped one: random weights, one reader and synthetic speech, two CPU cores, about two hours.

    So small a network, so briefly trained, underfits: dropout and long masks only slow it down.
    """
    return FinetuneConfig(
        schedule=TriStage(peak=1e-3, updates=6_000, warmup=0.05, constant=0.45, final_scale=0.01),
        batch_seconds=40.0,
        mask=SpanMask(time_probability=0.02, time_span=8),
        freeze_feature_encoder=False,
        weight_decay=0.01,
        clip_norm=1.0,
        activation_dropout=0.0,
        layer_drop=0.0,
        speeds=(0.9, 0.95, 1.0, 1.05, 1.1),
        precision="bf16",
        validate_every=250,
    )


RECIPES = {"demo": demo}
