"""Every run that the paper reports, by name. Each says which column of which source its numbers are from.

R: the reference configurations published with fairseq; P: the paper, T: its third revision (arXiv 2006.11477v3). Batches
are samples of one device at a time; `total_batch_hours` is what all devices of the source come to in one update.
"""

from __future__ import annotations

from collections.abc import Callable

from models.config import SAMPLE_RATE
from models.masking import SpanMask
from models.pretraining import Objective
from w2v2cli.training.config import FinetuneConfig, LmConfig, PretrainConfig
from w2v2cli.training.schedule import Annealing, TriStage, warm_up_then_linear


def _hours(samples: float, devices: int, accumulate: int = 1) -> float:
    return samples * devices * accumulate / SAMPLE_RATE / 3600


def base_960() -> PretrainConfig:
    """BASE on LS-960 (P §4.2): 64 GPUs of 1.4 M samples, 1.6 h; rate 5e-4 (R, T; the June 2020 text prints 5e-3)."""
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
    """LARGE on LS-960 (P §4.2): 128 GPUs of 1.2 M samples, 2.7 h; rate 3e-4 (T; the June 2020 text prints 3e-3)."""
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
    """LARGE on LV-60k (P §4.2: 600 k updates, T 3e-4; γ 0.03 as P App. B; R has 1 M updates, 5e-3 and γ 1)."""
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


def ablation() -> PretrainConfig:
    """The setup of the ablations (T §5.4): BASE on LS-960, 250 k updates, mask p=0.075."""
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


def small() -> PretrainConfig:
    """A network of 3 M parameters on an hour or two of speech, two CPU cores, in under an hour. Not in the paper.

    Small batches pull the codebooks together long before the paper's diversity weight holds them apart, so few updates
    cannot wait for its temperature, and so small a network needs spans that it can see across.
    """
    return PretrainConfig(
        model="small",
        schedule=warm_up_then_linear(5e-4, 6_000, warmup=0.06),
        batch_seconds=24.0,
        crop_seconds=6.0,
        shortest_seconds=2.0,
        temperature=Annealing(end=0.5, factor=0.9995),
        objective=Objective(mask=SpanMask(0.08, 5), diversity_weight=1.0),
        centred_codebook=True,
        validate_every=500,
        save_every=250,
    )


PRETRAINING: dict[str, Callable[[], PretrainConfig]] = {
    "base-960": base_960,
    "large-960": large_960,
    "large-lv60k": large_lv60k,
    "ablation": ablation,
    "small": small,
}


def _reference(
    rate: float,
    updates: int,
    head_only: int,
    time: float,
    channel: float,
    batch: tuple[float, int, int],
    layer_drop: float = 0.1,
) -> FinetuneConfig:
    """A row of R's table: time is p·M with M=10, channel p·M with spans of 64, batch is samples × GPUs × accumulation."""
    samples, devices, accumulate = batch
    return FinetuneConfig(
        schedule=TriStage(rate, updates),
        head_only_updates=head_only,
        mask=SpanMask(time / 10, 10, channel / 64, 64),
        layer_drop=layer_drop,
        batch_seconds=samples / SAMPLE_RATE,
        total_batch_hours=_hours(samples, devices, accumulate),
        loader_workers=4,
    )


BASE_LOW = (3.2e6, 2, 4)  # samples × GPUs × accumulation of R up to 100 h, BASE
VOX_LOW = (1.28e6, 4, 5)  # the same, LARGE on LV-60k


def _paper(
    rate: float,
    updates: int,
    time: float,
    channel: float,
    batch: tuple[float, int, int],
    layer_drop: float = 0.05,
) -> FinetuneConfig:
    """A row of T's table in Appendix B: probabilities of span starts, output layer alone for 10 k updates; R's batch."""
    row = _reference(rate, updates, 10_000, time * 10, channel * 64, batch, layer_drop)
    return row


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
        validate_every=250,
        save_every=250,
    )


def scratch() -> FinetuneConfig:
    """Without pretraining (P §5.4; T: LARGE on 960 h): everything learns, nothing is masked over channels."""
    return FinetuneConfig(
        schedule=TriStage(5e-4, 320_000),
        batch_seconds=1.28e6 / SAMPLE_RATE,
        total_batch_hours=_hours(1.28e6, 24),
        mask=SpanMask(0.05),
        freeze_feature_encoder=False,
        dropout=0.1,
        attention_dropout=0.1,
        loader_workers=4,
    )


def timit() -> FinetuneConfig:
    """TIMIT phones: the 10 h recipe (P §4.3) with T's own masks and 40 k updates."""
    row = _paper(5e-5, 40_000, 0.065, 0.012, BASE_LOW)
    return FinetuneConfig(**{**vars(row), "units": "phones"})


FINETUNING: dict[str, Callable[[], FinetuneConfig]] = {
    "base-10m": lambda: _reference(5e-5, 13_000, 10_000, 0.65, 0.25, BASE_LOW),
    "base-1h": lambda: _reference(5e-5, 13_000, 10_000, 0.65, 0.25, BASE_LOW),
    "base-10h": lambda: _reference(5e-5, 20_000, 10_000, 0.65, 0.5, BASE_LOW, layer_drop=0.05),
    "base-100h": lambda: _reference(3e-5, 80_000, 0, 0.65, 0.5, BASE_LOW),
    "base-960h": lambda: _reference(1e-4, 320_000, 0, 0.5, 0.1, (3.2e6, 8, 1)),
    "large-10m": lambda: _reference(1e-4, 13_000, 10_000, 0.65, 0.25, VOX_LOW),
    "large-1h": lambda: _reference(3e-4, 13_000, 10_000, 0.75, 0.25, VOX_LOW),
    "large-10h": lambda: _reference(1e-4, 20_000, 10_000, 0.75, 0.25, VOX_LOW),
    "large-100h": lambda: _reference(3e-5, 80_000, 10_000, 0.5, 0.5, VOX_LOW),
    "large-960h": lambda: _reference(3e-5, 320_000, 10_000, 0.5, 0.25, (1.28e6, 24, 1)),
    "paper-base-10m": lambda: _paper(2e-5, 12_000, 0.075, 0.008, BASE_LOW),
    "paper-base-1h": lambda: _paper(2e-5, 13_000, 0.075, 0.004, BASE_LOW),
    "paper-base-10h": lambda: _paper(2e-5, 20_000, 0.065, 0.004, BASE_LOW),
    "paper-base-100h": lambda: _paper(3e-5, 50_000, 0.05, 0.008, BASE_LOW),
    "paper-base-960h": lambda: _paper(1e-4, 320_000, 0.05, 0.0016, (3.2e6, 8, 1)),
    "paper-large-10m": lambda: _paper(2e-5, 12_000, 0.075, 0.008, VOX_LOW, layer_drop=0.1),
    "paper-large-1h": lambda: _paper(2e-5, 13_000, 0.075, 0.004, VOX_LOW, layer_drop=0.1),
    "paper-large-10h": lambda: _paper(2e-5, 20_000, 0.065, 0.004, VOX_LOW, layer_drop=0.1),
    "paper-large-100h": lambda: _paper(3e-5, 50_000, 0.05, 0.008, VOX_LOW, layer_drop=0.1),
    "paper-large-960h": lambda: _paper(
        3e-5, 320_000, 0.05, 0.0016, (1.28e6, 24, 1), layer_drop=0.1
    ),
    "timit": timit,
    "scratch": scratch,
    "demo": demo,
}


def lm_paper() -> LmConfig:
    """The word Transformer of the paper (P §4.4: 20 blocks, d=1280, 200 k words); AdamW in place of its recipe's NAG."""
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
    """Six blocks, d=512: a text of some millions of words, one GPU or a patient CPU. Not in the paper."""
    return LmConfig(
        model="small", schedule=warm_up_then_linear(1e-3, 20_000, warmup=0.05), vocabulary=60_000
    )


def lm_demo() -> LmConfig:
    """Four blocks, d=256: the Transformer that ships, 1.2 times over 14 million words, mostly of novels. Not in the paper."""
    return LmConfig(
        model="demo",
        schedule=warm_up_then_linear(2e-3, 11_000, warmup=0.03),
        vocabulary=50_000,
        batch_words=2048,
        block=64,
        dropout=0.0,
        precision="bf16",
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
