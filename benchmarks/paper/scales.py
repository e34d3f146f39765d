"""How large each scale is: its network, its updates, its data, and what they cost.

A name of a corpus is one that `w2v2 data` knows, or a manifest that the cell `data` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM, DEMO_TRANSFORMER
from w2v2cli.errors import UsageError
from w2v2cli.recognition.tuning.published import FOUND
from w2v2cli.training.config import AudioRunConfig
from w2v2cli.training.recipes import ABLATIONS, FINETUNING, PRETRAINING, Ablation

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Training:
    """A kind of run: its recipe, and what is changed in it."""

    recipe: str
    updates: int
    batch_seconds: float
    """Seconds of audio in an update, on all devices."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    """Whether the recipe stays as it is: its own updates, batches and validations."""

    @property
    def seconds(self) -> float:
        """Seconds of audio that the run reads."""
        return self.updates * self.batch_seconds

    def changes(self, validations: int = 1) -> dict[str, Any]:
        """The settings to be changed; validations: how many the run has, evenly spread."""
        if self.whole:
            return dict(self.settings)
        return {
            "schedule.updates": self.updates,
            "batch_seconds": self.batch_seconds,
            "validate_every": -(-self.updates // validations),
            "save_every": max(self.updates // 10, 1),
            **self.settings,
        }


@dataclass(frozen=True)
class Amount:
    """An amount of speech with transcripts."""

    name: str
    """As tables print it: `10 min`."""
    corpus: str
    minutes: float
    training: Training
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of language models by name, in place of those before tuning."""


@dataclass(frozen=True)
class LanguageModel:
    """A language model of the table, with the beam and the weights that it is searched with."""

    name: str
    lm: str
    """As `--lm` takes it."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row of the paper's table 4 or 5: one change in pretraining."""

    name: str
    label: str
    recipe: str | None = None
    """None: the scale's own for ablations."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: Ablation | None = None
    """The paper's figures, where it has this row."""


@dataclass(frozen=True)
class Rates:
    """What a scale's work costs, in seconds of audio that a second of one process handles."""

    pretraining: float
    finetuning: float
    search: Mapping[str, float]
    """By the name of the language model; the longest beam has a tenth of the 4-gram's."""
    start: float = 6.0
    """Seconds until a process has begun."""
    source: str = ""
    """Where these figures come from."""


@dataclass(frozen=True)
class Scale:
    """One size of the whole experiment."""

    name: str
    network: Mapping[str, Any]
    """Fields of the architecture, in place of the recipe's preset."""
    random: str
    """The preset with random weights: `small-config`."""
    unlabelled: tuple[str, ...]
    dev: str
    tests: Mapping[str, str]
    """Corpora by what tables call them."""
    pretraining: Training
    ablation: Training
    """Pretraining for tables 4 and 5."""
    baseline: Row
    """Continuous inputs, quantized targets, the masks of the recipe."""
    masks: str
    """These masks, as table 5 has them."""
    spans: tuple[Row, ...]
    """Of table 5: M, beside the baseline."""
    probabilities: tuple[Row, ...]
    """Of table 5: p, beside the baseline."""
    targets: tuple[Row, ...]
    """Of table 4, beside the baseline."""
    amounts: tuple[Amount, ...]
    ablation_amount: Amount
    phones: Amount
    phone_dev: str
    phone_tests: Mapping[str, str]
    models: tuple[LanguageModel, ...]
    from_random: Mapping[str, Any]
    """Settings of fine-tuning from random weights."""
    beams: tuple[int, ...]
    trials: int
    rates: Rates
    jobs: int
    """Processes at once, by default; 0: one for each core."""
    test_minutes: float = 320.0
    """Minutes of each test corpus that are evaluated; `paper` takes all."""
    seeds: tuple[int, ...] = SEEDS
    own_data: bool = True
    """Whether the cell `data` writes the manifests; otherwise corpora are LibriSpeech's."""
    valid_lm: str = "none"
    """Language model of the validations of fine-tuning."""

    @property
    def ngram(self) -> LanguageModel:
        """The 4-gram, with which weights and beams are compared."""
        return next(model for model in self.models if model.name == "4-gram")


def _network(channels: tuple[int, ...], width: int, layers: int, heads: int) -> dict[str, Any]:
    """The layout of BASE in other sizes; channels: of the seven convolutions."""
    kernels = (10, 3, 3, 3, 3, 2, 2)
    strides = (5, 2, 2, 2, 2, 2, 2)
    convolutions = zip(channels, kernels, strides, strict=True)
    return {
        "conv_layers": ",".join(f"({c},{k},{s})" for c, k, s in convolutions),
        "width": width,
        "ffn_width": 4 * width,
        "num_layers": layers,
        "num_heads": heads,
        "position_groups": 8,
    }


def _pretraining(updates: int, batch: float, peak: float, **more: Any) -> Training:
    """Pretraining as `small`, in few updates: the temperature falls to its end within 70%."""
    settings = {"schedule.peak": peak, "temperature.factor": 0.25 ** (1 / (0.7 * updates)), **more}
    return Training("small", updates, batch, settings)


def _finetuning(updates: int, batch: float, peak: float, **more: Any) -> Training:
    """Fine-tuning in few updates.

    The network is validated once, after the last update, so that nothing is chosen by the dev part;
    the feature encoder learns from both starts, so that these differ in their weights alone.
    """
    return Training("demo", updates, batch, {"schedule.peak": peak, "speeds": "1.0", **more})


def _shipped(transformer_beam: int, beam: int) -> tuple[LanguageModel, ...]:
    """The language models that ship, with the weights of the paper before tuning."""
    lexicon = {"lexicon": DEMO_LEXICON, "word_score": -1.0}
    return (
        LanguageModel("none", "none"),
        LanguageModel("4-gram", str(DEMO_LM), {**lexicon, "lm_weight": 2.0, "beam": beam}),
        LanguageModel(
            "Transformer",
            str(DEMO_TRANSFORMER),
            {**lexicon, "lm_weight": 0.87, "beam": transformer_beam},
        ),
    )


TARGETS = {
    "continuous": "continuous inputs, continuous targets",
    "quantized-inputs": "quantized inputs, quantized targets",
    "quantized-inputs-only": "quantized inputs, continuous targets",
}
BASELINE = Ablation({}, 7.97, 0.02)  # T, table 4


def _targets(recipe: bool) -> tuple[Row, ...]:
    """The rows of table 4 beside the baseline; recipe: whether they are recipes of their own."""
    return tuple(
        Row(
            name,
            label,
            f"ablation-{name}" if recipe else None,
            {} if recipe else ABLATIONS[name].settings,
            ABLATIONS[name],
        )
        for name, label in TARGETS.items()
    )


def _masks(setting: str, symbol: str, values: tuple[float, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(f"{symbol}-{v:g}", f"{symbol} = {v:g}", None, {f"objective.mask.{setting}": v})
        for v in values
    )


TRAIN = ("kathleen-train", "ljspeech-train", "own-train", "strangers-train")


def _minutes(
    updates: Mapping[int, int], batch: float, peak: float, **more: Any
) -> tuple[Amount, ...]:
    return tuple(
        Amount(
            f"{minutes} min",
            f"labelled-{minutes}",
            minutes,
            _finetuning(count, batch, peak, **more),
        )
        for minutes, count in updates.items()
    )


def tiny() -> Scale:
    """About two hours of two cores: 1.2 M parameters."""
    # At first CTC writes hardly a letter, and what gets a network beyond that is the number of
    # updates more than their size: a loss of 2.81 took 2 340 s of speech in batches of 17 s, and
    # 1 000 s in batches of 4 s. Up to 30 minutes all recordings are short, of one reader; among
    # those of 120 minutes all but one have at most 17 seconds.
    few = _minutes({1: 1_000, 5: 1_000, 10: 1_400, 30: 1_400}, 8.0, 1e-3)
    amounts = (*few, *_minutes({120: 900}, 17.0, 2e-3))
    ten = amounts[2]
    return Scale(
        name="tiny",
        network=_network((32, 32, 48, 64, 96, 128, 128), 128, 4, 4),
        random="small-config",
        unlabelled=TRAIN,
        dev="dev",
        tests={"clean": "test-clean", "other": "test-other"},
        pretraining=_pretraining(5_000, 24.0, 1e-3),
        ablation=_pretraining(1_500, 24.0, 1e-3),
        baseline=Row("baseline", "continuous inputs, quantized targets", published=BASELINE),
        # A small network sees across short spans alone: its recipe has others than the paper.
        masks="M = 5, p = 0.08",
        spans=_masks("time_span", "M", (3, 10)),
        probabilities=_masks("time_probability", "p", (0.04, 0.16)),
        targets=_targets(recipe=False),
        amounts=amounts,
        ablation_amount=replace(ten, training=replace(ten.training, updates=1_000)),
        phones=Amount("30 min", "phones-30", 30, _finetuning(1_000, 8.0, 1e-3, units="phones")),
        phone_dev="phones-dev",
        phone_tests={"clean": "phones-test-clean"},
        models=_shipped(transformer_beam=20, beam=250),
        from_random={},
        beams=(50, 500, 1500),
        trials=24,
        rates=Rates(
            pretraining=87.0,
            finetuning=68.0,
            search={"none": 200.0, "4-gram": 60.0, "Transformer": 20.0},
            source="one core of an AMD EPYC with AVX512-BF16, its seconds of the processor",
        ),
        jobs=0,
        test_minutes=3.0,
    )


def small() -> Scale:
    """Half an hour of a GPU, as planned: the network and the amounts of the shipped model."""
    amounts = _minutes({1: 600, 5: 1_000, 10: 1_500, 30: 2_000, 120: 3_000}, 80.0, 1e-3)
    ten = amounts[2]
    return replace(
        tiny(),
        name="small",
        network={},
        pretraining=_pretraining(12_000, 96.0, 5e-4),
        ablation=_pretraining(3_000, 96.0, 5e-4),
        amounts=amounts,
        ablation_amount=replace(ten, training=replace(ten.training, updates=1_000)),
        phones=Amount("30 min", "phones-30", 30, _finetuning(1_500, 80.0, 1e-3, units="phones")),
        models=_shipped(transformer_beam=50, beam=1500),
        trials=128,
        rates=Rates(
            pretraining=3_000.0,
            finetuning=3_000.0,
            search={"none": 500.0, "4-gram": 60.0, "Transformer": 20.0},
            start=15.0,
            source="no GPU was measured: 3 000 s of audio a second and process are assumed",
        ),
        jobs=8,
        test_minutes=6.0,
    )


def _as_it_is(name: str, recipes: Mapping[str, Callable[[], AudioRunConfig]]) -> Training:
    """A recipe of the paper, with its own updates and batches."""
    config = recipes[name]()
    seconds = 3600 * config.total_batch_hours
    return Training(name, config.schedule.updates, seconds, whole=True)


def _found(name: str) -> dict[str, dict[str, float]]:
    """The weights that the paper found for this amount (T, table 7)."""
    pairs = zip(("4-gram", "Transformer"), FOUND[name, "LS-960"], strict=True)
    return {lm: {"lm_weight": lw, "word_score": ws} for lm, (lw, ws) in pairs}


def paper() -> Scale:
    """BASE on LibriSpeech, by the paper's recipes."""
    rows = {"10 min": "10m", "1 h": "1h", "10 h": "10h", "100 h": "100h", "960 h": "960h"}
    corpora = ("librilight-10m", "librilight-1h", "librilight-10h", "train-clean-100", "train-960")
    minutes = (10, 60, 600, 6_000, 57_600)
    amounts = tuple(
        Amount(name, corpus, count, _as_it_is(f"paper-base-{recipe}", FINETUNING), _found(name))
        for (name, recipe), corpus, count in zip(rows.items(), corpora, minutes, strict=True)
    )
    return Scale(
        name="paper",
        network={},
        random="base-config",
        unlabelled=("train-960",),
        dev="dev-other",
        tests={name: name for name in ("dev-clean", "dev-other", "test-clean", "test-other")},
        pretraining=_as_it_is("base-960", PRETRAINING),
        ablation=_as_it_is("ablation", PRETRAINING),
        baseline=Row("baseline", "continuous inputs, quantized targets", published=BASELINE),
        masks="M = 10, p = 0.075",
        spans=_published("M = 8", "span-8", "M = 12", "span-12"),
        probabilities=_published("p = 0.065", "p-0.065", "p = 0.06", "p-0.06"),
        targets=_targets(recipe=True),
        amounts=amounts,
        ablation_amount=Amount("10 h", "librilight-10h", 600, _as_it_is("ablation", FINETUNING)),
        phones=Amount("TIMIT", "timit-train", 189, _as_it_is("timit-base", FINETUNING)),
        phone_dev="timit-dev",
        phone_tests={"dev": "timit-dev", "test": "timit-test"},
        models=(
            LanguageModel("none", "none"),
            LanguageModel("4-gram", "4gram", {"lm_weight": 2.0, "word_score": -1.0, "beam": 1500}),
            LanguageModel(
                "Transformer", "transformer", {"lm_weight": 0.87, "word_score": -1.0, "beam": 500}
            ),
        ),
        from_random={
            "freeze_feature_encoder": "false",
            "head_only_updates": 0,
            "schedule.peak": 5e-4,
        },
        beams=(50, 500, 1500),
        trials=128,
        rates=Rates(
            pretraining=13_300.0,
            finetuning=13_300.0,
            search={"none": 1_000.0, "4-gram": 100.0, "Transformer": 10.0},
            start=20.0,
            source="BASE's 400 000 updates in 48 hours of 8 A100, others' run; the rest is assumed",
        ),
        jobs=1,
        own_data=False,
        valid_lm="4gram",
    )


def _published(*names: str) -> tuple[Row, ...]:
    """Rows that are recipes, from label and name by turns."""
    pairs = zip(names[::2], names[1::2], strict=True)
    return tuple(Row(name, label, f"ablation-{name}", {}, ABLATIONS[name]) for label, name in pairs)


def smoke() -> Scale:
    """A network of a few thousand weights and a few updates: whether everything runs, for tests."""
    amounts = _minutes({1: 2}, 8.0, 1e-3)
    return replace(
        tiny(),
        name="smoke",
        network={"num_layers": 1},
        random="tiny-config",
        pretraining=_pretraining(3, 8.0, 1e-3, model="tiny"),
        ablation=_pretraining(2, 8.0, 1e-3, model="tiny"),
        spans=_masks("time_span", "M", (3,)),
        probabilities=(),
        targets=_targets(recipe=False)[:1],
        amounts=amounts,
        ablation_amount=amounts[0],
        phones=Amount("1 min", "phones-1", 1, _finetuning(2, 8.0, 1e-3, units="phones")),
        models=_shipped(transformer_beam=2, beam=4),
        beams=(2, 4),
        trials=2,
        test_minutes=0.1,
        seeds=(1,),
    )


SCALES = {"tiny": tiny, "small": small, "paper": paper, "smoke": smoke}


def scaled(scale: Scale, budget: float) -> Scale:
    """The scale with `budget` times as many updates, at least two of each run, and less to test.

    Raises UsageError for a scale whose recipes stay as they are.
    """
    if budget == 1:
        return scale
    if scale.pretraining.whole:
        raise UsageError(
            f"--budget changes the updates, and those of {scale.name} are the paper's."
        )

    def cut(training: Training) -> Training:
        updates, settings = max(round(training.updates * budget), 2), dict(training.settings)
        if (factor := settings.get("temperature.factor")) is not None:
            settings["temperature.factor"] = factor ** (training.updates / updates)
        return replace(training, updates=updates, settings=settings)

    def less(amount: Amount) -> Amount:
        return replace(amount, training=cut(amount.training))

    return replace(
        scale,
        pretraining=cut(scale.pretraining),
        ablation=cut(scale.ablation),
        amounts=tuple(map(less, scale.amounts)),
        ablation_amount=less(scale.ablation_amount),
        phones=less(scale.phones),
        trials=max(round(scale.trials * budget), 2),
        test_minutes=max(scale.test_minutes * min(budget, 1.0), 0.25),
    )
