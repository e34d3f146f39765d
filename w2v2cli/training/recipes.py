"""Every run that the paper reports, by name, each with the source of its numbers.

P is the paper, T its third revision (arXiv 2006.11477v3), R the reference configurations published
with fairseq. `total_batch_hours` is what all devices of the source process in one update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from models.config import SAMPLE_RATE, base
from models.masking import SpanMask
from models.pretraining import Objective
from w2v2cli.training.config import FinetuneConfig, LmConfig, PretrainConfig, changed
from w2v2cli.training.schedule import Annealing, Decay, TriStage, warm_up_then_linear


def _hours(samples: float, devices: int, accumulate: int = 1) -> float:
    return samples * devices * accumulate / SAMPLE_RATE / 3600


def base_960() -> PretrainConfig:
    """BASE on LS-960 (P §4.2): 64 GPUs of 1.4 M samples, 1.6 h.

    Rate 5e-4 (R, T; the June 2020 text prints 5e-3).
    """
    return PretrainConfig(
        model="base",
        schedule=warm_up_then_linear(5e-4, 400_000),
        batch_seconds=1_400_000 / SAMPLE_RATE,
        total_batch_hours=1.6,
        loader_workers=6,
        validate_every=5_000,
        save_every=1_000,
    )


def large_960() -> PretrainConfig:
    """LARGE on LS-960 (P §4.2): 128 GPUs of 1.2 M samples, 2.7 h.

    Rate 3e-4 (T; the June 2020 text prints 3e-3).
    """
    return PretrainConfig(
        model="large",
        schedule=warm_up_then_linear(3e-4, 250_000),
        batch_seconds=1_200_000 / SAMPLE_RATE,
        total_batch_hours=2.7,
        crop_seconds=20.0,
        temperature=Annealing(end=0.1),
        objective=Objective(penalty_weight=0.0),  # R
        loader_workers=6,
        validate_every=5_000,
        save_every=1_000,
    )


def large_lv60k() -> PretrainConfig:
    """LARGE on LV-60k: 600 k updates (P §4.2), rate 3e-4 (T), γ 0.03 (P App. B).

    For R's settings see `large_lv60k_reference`.
    """
    return PretrainConfig(
        model="large-lv60k",
        schedule=warm_up_then_linear(3e-4, 600_000),
        batch_seconds=1_200_000 / SAMPLE_RATE,
        total_batch_hours=2.7,
        crop_seconds=20.0,
        temperature=Annealing(end=0.1),
        objective=Objective(penalty_weight=0.0, encoder_gradient=0.03),
        loader_workers=6,
        validate_every=5_000,
        save_every=1_000,
    )


def large_lv60k_reference() -> PretrainConfig:
    """LARGE on LV-60k as R configures it: 1 M updates, rate 5e-3, 32 k of warm-up, γ 1."""
    return replace(
        large_lv60k(),
        schedule=warm_up_then_linear(5e-3, 1_000_000, warmup=0.032),
        objective=Objective(penalty_weight=0.0, encoder_gradient=1.0),
    )


def base_960_8_heads() -> PretrainConfig:
    """BASE with the 8 attention heads that P §4.2 prints; every released checkpoint has 12 (R)."""
    return replace(base_960(), architecture=(("num_heads", 8),))


def ablation() -> PretrainConfig:
    """BASE as the ablations train it (T §5.4): LS-960, 250 k updates, mask probability 0.075."""
    return PretrainConfig(
        model="base",
        schedule=warm_up_then_linear(5e-4, 250_000),
        batch_seconds=1_400_000 / SAMPLE_RATE,
        total_batch_hours=1.6,
        objective=Objective(mask=SpanMask(time_probability=0.075)),
        loader_workers=6,
        validate_every=5_000,
        save_every=1_000,
    )


@dataclass(frozen=True)
class Ablation:
    """A row of T's tables 4, 5 and 13: what it changes in `ablation`, and the result printed."""

    settings: dict[str, Any]
    """Values by the names that `--set` takes."""
    wer: float
    """Mean WER of three seeds of fine-tuning on dev-clean and dev-other together, in percent."""
    deviation: float
    """Its standard deviation."""


def _without_overlap(span: int, **more: Any) -> dict[str, Any]:
    """Masks of T table 5: starts with p = 0.037, which hides as many frames as the baseline."""
    spans = {"time_probability": 0.037, "time_overlap": False, "time_span": span, **more}
    return {f"objective.mask.{name}": value for name, value in spans.items()}


# The encoder sees 480 samples (30 ms) at the same rate. T does not say which kernel is wider; the
# sixth is the one that gives 480 if it grows by one.
ENCODER_30_MS = tuple(
    (channels, 3 if i == 5 else kernel, stride)
    for i, (channels, kernel, stride) in enumerate(base().conv_layers)
)
CONTINUOUS = {"quantized_targets": False}

ABLATIONS: dict[str, Ablation] = {
    # Table 4
    "quantized-inputs": Ablation({"quantized_inputs": True}, 12.18, 0.41),
    "quantized-inputs-only": Ablation({**CONTINUOUS, "quantized_inputs": True}, 11.18, 0.16),
    "continuous": Ablation(CONTINUOUS, 8.58, 0.08),
    # Table 5
    "span-8": Ablation({"objective.mask.time_span": 8}, 8.33, 0.05),
    "span-12": Ablation({"objective.mask.time_span": 12}, 8.19, 0.08),
    "span-15": Ablation({"objective.mask.time_span": 15}, 8.43, 0.19),
    "p-0.065": Ablation({"objective.mask.time_probability": 0.065}, 7.95, 0.08),
    "p-0.06": Ablation({"objective.mask.time_probability": 0.06}, 8.14, 0.22),
    "uniform-1-31": Ablation(
        _without_overlap(31, time_lengths="uniform", time_spread=1.0), 8.39, 0.02
    ),
    "uniform-10-30": Ablation(
        _without_overlap(30, time_lengths="uniform", time_spread=10.0), 9.17, 0.05
    ),
    "poisson-15": Ablation(_without_overlap(15, time_lengths="poisson"), 8.13, 0.04),
    "normal-15-10": Ablation(
        _without_overlap(15, time_lengths="normal", time_spread=10.0), 8.37, 0.03
    ),
    "no-overlap-10": Ablation(_without_overlap(10), 9.15, 0.02),
    "no-overlap-15": Ablation(_without_overlap(15), 9.43, 0.26),
    # Table 13
    "mlp": Ablation({**CONTINUOUS, "target_glu": True}, 8.51, 0.05),
    "separate-encoders": Ablation({**CONTINUOUS, "separate_encoders": True}, 8.90, 0.01),
    "30ms": Ablation({"conv_layers": ENCODER_30_MS}, 7.99, 0.06),
    "alpha-0": Ablation({"objective.diversity_weight": 0.0}, 8.48, 0.08),
    "alpha-0.05": Ablation({"objective.diversity_weight": 0.05}, 8.34, 0.08),
    "alpha-0.2": Ablation({"objective.diversity_weight": 0.2}, 8.58, 0.45),
    "position-256": Ablation({"position_kernel": 256}, 8.14, 0.05),
    "no-target-gradient": Ablation({"objective.target_gradient": False}, 8.41, 0.08),
    "k-200": Ablation({"objective.distractors": 200}, 8.12, 0.05),
    "k-50-batch-50": Ablation(
        {"objective.distractors": 50, "objective.batch_distractors": 50}, 8.79, 0.06
    ),
    "any-step": Ablation({"objective.distractors_anywhere": True}, 8.07, 0.02),
    "no-noise": Ablation({"objective.gumbel_noise": False}, 8.73, 0.42),
    "g-4-v-18": Ablation({"codebooks": 4, "codebook_entries": 18}, 9.02, 0.38),
    "g-8-v-8": Ablation({"codebooks": 8, "codebook_entries": 8}, 8.13, 0.07),
    "u-1": Ablation({"objective.edge_steps": 1}, 9.53, 0.91),
    "u-5": Ablation({"objective.edge_steps": 5}, 8.19, 0.07),
    "u-10": Ablation({"objective.edge_steps": 10}, 8.07, 0.07),
    "u-15": Ablation({"objective.edge_steps": 15}, 7.89, 0.10),
    "u-20": Ablation({"objective.edge_steps": 20}, 7.90, 0.01),
}


def small() -> PretrainConfig:
    """3 M parameters, an hour or two of speech, two CPU cores, under an hour. Not in the paper.

    With small batches the codebooks collapse before the paper's diversity weight can hold them
    apart, so that weight is 1 here. Few updates need a faster temperature, and a small network
    needs spans that it can see across.
    """
    return PretrainConfig(
        model="small",
        schedule=warm_up_then_linear(5e-4, 6_000, warmup=0.06),
        batch_seconds=24.0,
        crop_seconds=6.0,
        shortest_seconds=2.0,
        temperature=Annealing(end=0.5, factor=0.9995),
        objective=Objective(
            mask=SpanMask(time_probability=0.08, time_span=5), diversity_weight=1.0
        ),
        centred_codebook=True,
        validate_every=500,
        save_every=250,
    )


def _changed_ablation(settings: dict[str, Any]) -> PretrainConfig:
    return changed(ablation(), settings)


PRETRAINING: dict[str, Callable[[], PretrainConfig]] = {
    "base-960": base_960,
    "large-960": large_960,
    "large-lv60k": large_lv60k,
    "large-lv60k-reference": large_lv60k_reference,
    "base-960-8-heads": base_960_8_heads,
    "small": small,
    "ablation": ablation,
    **{
        f"ablation-{name}": partial(_changed_ablation, row.settings)
        for name, row in ABLATIONS.items()
    },
}


# The batch of a source: samples on one device at a time, devices, micro-batches accumulated.
BASE_LOW = (3.2e6, 2, 4)  # R up to 100 h, BASE
BASE_960 = (3.2e6, 8, 1)
LARGE_LOW = (1.28e6, 4, 5)  # R up to 100 h, LARGE on LV-60k
LARGE_960 = (1.28e6, 24, 1)


def _finetuning(
    *,
    rate: float,
    updates: int,
    head_only: int,
    mask: SpanMask,
    batch: tuple[float, int, int],
    layer_drop: float,
    decay: Decay,
) -> FinetuneConfig:
    samples, devices, accumulate = batch
    return FinetuneConfig(
        schedule=TriStage(rate, updates, decay=decay),
        head_only_updates=head_only,
        mask=mask,
        layer_drop=layer_drop,
        batch_seconds=samples / SAMPLE_RATE,
        total_batch_hours=_hours(samples, devices, accumulate),
        loader_workers=4,
    )


def _reference(
    *,
    rate: float,
    updates: int,
    head_only: int,
    time: float,
    channel: float,
    batch: tuple[float, int, int],
    layer_drop: float = 0.1,
) -> FinetuneConfig:
    """A row of R: its mask probabilities are p·M, with spans of 10 frames and of 64 channels.

    The learning rate falls exponentially, as fairseq's `tri_stage` makes it.
    """
    return _finetuning(
        rate=rate,
        updates=updates,
        head_only=head_only,
        mask=SpanMask(time / 10, 10, channel / 64, 64),
        batch=batch,
        layer_drop=layer_drop,
        decay="exponential",
    )


def _paper(
    *,
    rate: float,
    updates: int,
    time: float,
    channel: float,
    batch: tuple[float, int, int],
    layer_drop: float = 0.05,
) -> FinetuneConfig:
    """A row of T's table in Appendix B: probabilities of span starts; the batch is R's.

    The output layer alone learns in the first 10 k updates, and the rate falls linearly (P §4.3).
    """
    return _finetuning(
        rate=rate,
        updates=updates,
        head_only=10_000,
        mask=SpanMask(time, 10, channel, 64),
        batch=batch,
        layer_drop=layer_drop,
        decay="linear",
    )


def demo() -> FinetuneConfig:
    """A model like the shipped one: random weights, one reader and synthetic speech.

    Two hours on two CPU cores. So small a network, so briefly trained, underfits: dropout and long
    masks would only slow it down.
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
        validate_every=250,
        save_every=250,
    )


def scratch() -> FinetuneConfig:
    """Training without pretraining (P §5.4; T: LARGE on 960 h).

    All weights learn, and no channels are masked.
    """
    return FinetuneConfig(
        schedule=TriStage(5e-4, 320_000),
        batch_seconds=1.28e6 / SAMPLE_RATE,
        total_batch_hours=_hours(1.28e6, 24),
        mask=SpanMask(time_probability=0.05),
        freeze_feature_encoder=False,
        dropout=0.1,
        attention_dropout=0.1,
        loader_workers=4,
    )


def timit() -> FinetuneConfig:
    """TIMIT's phones with LARGE, as P reports (§5.3): the 10 h recipe, T's masks, 40 k updates.

    P searched rates of 2e-5 and 3e-5.
    """
    row = _paper(
        rate=2e-5, updates=40_000, time=0.065, channel=0.012, batch=LARGE_LOW, layer_drop=0.1
    )
    return replace(row, units="phones")


def timit_base() -> FinetuneConfig:
    """TIMIT's phones with BASE, which P does not report: R's rate of 10 h, T's masks."""
    row = _paper(rate=5e-5, updates=40_000, time=0.065, channel=0.012, batch=BASE_LOW)
    return replace(row, units="phones")


def ablation_finetuning() -> FinetuneConfig:
    """How the ablations are fine-tuned (T §5.4): 10 h, 60 k updates, one GPU of 640 k samples.

    T gives no further settings: the rest is the paper's 10 h row. It reports mean and deviation of
    three seeds on dev-clean and dev-other together.
    """
    return _paper(rate=2e-5, updates=60_000, time=0.065, channel=0.004, batch=(640_000, 1, 1))


# rate: peak learning rate. head_only: first updates in which only the output layer learns.
# time, channel: probabilities of masks, as the table of each source prints them.
FINETUNING: dict[str, Callable[[], FinetuneConfig]] = {
    "base-10m": lambda: _reference(
        rate=5e-5, updates=13_000, head_only=10_000, time=0.65, channel=0.25, batch=BASE_LOW
    ),
    "base-1h": lambda: _reference(
        rate=5e-5, updates=13_000, head_only=10_000, time=0.65, channel=0.25, batch=BASE_LOW
    ),
    "base-10h": lambda: _reference(
        rate=5e-5,
        updates=20_000,
        head_only=10_000,
        time=0.65,
        channel=0.5,
        batch=BASE_LOW,
        layer_drop=0.05,
    ),
    "base-100h": lambda: _reference(
        rate=3e-5, updates=80_000, head_only=0, time=0.65, channel=0.5, batch=BASE_LOW
    ),
    "base-960h": lambda: _reference(
        rate=1e-4, updates=320_000, head_only=0, time=0.5, channel=0.1, batch=BASE_960
    ),
    "large-10m": lambda: _reference(
        rate=1e-4, updates=13_000, head_only=10_000, time=0.65, channel=0.25, batch=LARGE_LOW
    ),
    "large-1h": lambda: _reference(
        rate=3e-4, updates=13_000, head_only=10_000, time=0.75, channel=0.25, batch=LARGE_LOW
    ),
    "large-10h": lambda: _reference(
        rate=1e-4, updates=20_000, head_only=10_000, time=0.75, channel=0.25, batch=LARGE_LOW
    ),
    "large-100h": lambda: _reference(
        rate=3e-5, updates=80_000, head_only=10_000, time=0.5, channel=0.5, batch=LARGE_LOW
    ),
    "large-960h": lambda: _reference(
        rate=3e-5, updates=320_000, head_only=10_000, time=0.5, channel=0.25, batch=LARGE_960
    ),
    "paper-base-10m": lambda: _paper(
        rate=2e-5, updates=12_000, time=0.075, channel=0.008, batch=BASE_LOW
    ),
    "paper-base-1h": lambda: _paper(
        rate=2e-5, updates=13_000, time=0.075, channel=0.004, batch=BASE_LOW
    ),
    "paper-base-10h": lambda: _paper(
        rate=2e-5, updates=20_000, time=0.065, channel=0.004, batch=BASE_LOW
    ),
    "paper-base-100h": lambda: _paper(
        rate=3e-5, updates=50_000, time=0.05, channel=0.008, batch=BASE_LOW
    ),
    "paper-base-960h": lambda: _paper(
        rate=1e-4, updates=320_000, time=0.05, channel=0.0016, batch=BASE_960
    ),
    "paper-large-10m": lambda: _paper(
        rate=2e-5, updates=12_000, time=0.075, channel=0.008, batch=LARGE_LOW, layer_drop=0.1
    ),
    "paper-large-1h": lambda: _paper(
        rate=2e-5, updates=13_000, time=0.075, channel=0.004, batch=LARGE_LOW, layer_drop=0.1
    ),
    "paper-large-10h": lambda: _paper(
        rate=2e-5, updates=20_000, time=0.065, channel=0.004, batch=LARGE_LOW, layer_drop=0.1
    ),
    "paper-large-100h": lambda: _paper(
        rate=3e-5, updates=50_000, time=0.05, channel=0.008, batch=LARGE_LOW, layer_drop=0.1
    ),
    "paper-large-960h": lambda: _paper(
        rate=3e-5, updates=320_000, time=0.05, channel=0.0016, batch=LARGE_960, layer_drop=0.1
    ),
    "timit": timit,
    "timit-base": timit_base,
    "ablation": ablation_finetuning,
    "scratch": scratch,
    "demo": demo,
}


def lm_paper() -> LmConfig:
    """The paper's word Transformer (P §4.4: 20 blocks, d=1280, 200 k words).

    AdamW in place of its recipe's NAG.
    """
    return LmConfig(
        model="paper",
        schedule=warm_up_then_linear(5e-4, 500_000, warmup=0.03),
        batch_words=8192,
        accumulate=8,
        block=256,
        validate_every=5_000,
        save_every=1_000,
    )


def lm_small() -> LmConfig:
    """Six blocks, d=512: for millions of words, on one GPU or slowly on a CPU. Not in the paper."""
    return LmConfig(
        model="small", schedule=warm_up_then_linear(1e-3, 20_000, warmup=0.05), vocabulary=60_000
    )


def lm_demo() -> LmConfig:
    """Four blocks, d=256: the shipped Transformer (1.2 epochs of 14 million words of novels)."""
    return LmConfig(
        model="demo",
        schedule=warm_up_then_linear(2e-3, 11_000, warmup=0.03),
        vocabulary=50_000,
        batch_words=2048,
        block=64,
        dropout=0.0,
        validate_every=500,
        save_every=500,
    )


def lm_tiny() -> LmConfig:
    """Two blocks, d=64: for tests and first tries. Not in the paper."""
    return LmConfig(
        model="tiny",
        schedule=warm_up_then_linear(3e-3, 2_000, warmup=0.05),
        vocabulary=20_000,
        batch_words=2048,
        block=64,
        dropout=0.0,
        precision="fp32",
        validate_every=250,
        save_every=250,
    )


LANGUAGE_MODELS: dict[str, Callable[[], LmConfig]] = {
    "paper": lm_paper,
    "small": lm_small,
    "demo": lm_demo,
    "tiny": lm_tiny,
}
