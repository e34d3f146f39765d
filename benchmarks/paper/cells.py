"""The cells of a scale: every step of the experiment by name, in the order they are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.paper.jobs import Codes, Data, Evaluate, Finetune, Job, Pretrain, Tune
from benchmarks.paper.scales import Amount, LanguageModel, Row, Scale
from w2v2cli.errors import UsageError

TABLES = {
    "table1": "pretraining against random weights, by minutes of transcripts (tables 1, 2 and 9)",
    "table3": "phones (table 3)",
    "table4": "continuous or quantized inputs and targets (table 4)",
    "table5": "masks (table 5)",
    "codes": "which codeword fires on which phone (appendix D)",
    "weights": "tuned weights of the language model against 2 and -1",
    "beams": "beams",
}
ALIASES = {"table2": "table1", "table9": "table1", "appendixd": "codes"}
STARTS = ("pretrained", "random")
MAIN = "pretrain"  # the cell of the pretraining of table 1


@dataclass(frozen=True)
class Cell:
    """One step, whose figures are one file."""

    name: str
    tables: tuple[str, ...]
    """Which it is for."""
    job: Job
    needs: tuple[str, ...] = ()
    """Cells that come before it."""


def cells_of(scale: Scale) -> list[Cell]:
    """All cells of a scale, each after those that it needs.

    What tells most comes first, so that a run that is stopped early has something to show.
    """
    found = [
        *([Cell("data", tuple(TABLES), Data())] if scale.own_data else []),
        Cell(MAIN, ("table1", "table3", "codes", "weights", "beams"), Pretrain(scale.pretraining)),
        *_minutes(scale),
        *_phones(scale),
        *_codes(scale),
        *_ablations(scale),
        *_beams(scale),
        *_weights(scale),
    ]
    if scale.own_data:
        found = [c if c.name == "data" else replace(c, needs=("data", *c.needs)) for c in found]
    return found


def chosen(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells of some tables, or of some names, and all that these need; all for none.

    Raises UsageError for what is neither.
    """
    if not only:
        return list(cells)
    by_name, wanted = {cell.name: cell for cell in cells}, set[str]()
    for name in only:
        name = ALIASES.get(name.lower(), name)
        if name not in by_name and name not in TABLES:
            raise UsageError(
                f"--only takes {', '.join(TABLES)} or a cell that --plan lists, got {name!r}."
            )
        names = [name] if name in by_name else [c.name for c in cells if name in c.tables]
        while names:
            found = by_name[names.pop()]
            wanted.add(found.name)
            names += found.needs
    return [cell for cell in cells if cell.name in wanted]


def finetuned(start: str, amount: Amount, seed: int) -> str:
    """The cell of a fine-tuning of table 1."""
    return f"finetune-{start}-{amount.name.replace(' ', '')}-seed{seed}"


def evaluated(trained: str, lm: LanguageModel) -> str:
    """The cell of its evaluation with a language model."""
    return f"{trained.replace('finetune', 'evaluate', 1)}-{lm.name}"


def ablated(row: Row, seed: int | None = None) -> str:
    """The cell of the pretraining of a row of table 4 or 5, or of its fine-tuning."""
    return f"pretrain-{row.name}" if seed is None else f"finetune-{row.name}-seed{seed}"


def of_phones(start: str, seed: int) -> str:
    """The cell of a fine-tuning of table 3."""
    return f"finetune-phones-{start}-seed{seed}"


def tuned(seed: int) -> str:
    """The cell of a tuning."""
    return f"tune-seed{seed}"


def with_tuned(seed: int) -> str:
    """The cell of an evaluation with tuned weights."""
    return f"evaluate-tuned-seed{seed}"


def with_beam(beam: int, seed: int) -> str:
    """The cell of an evaluation with a beam."""
    return f"evaluate-beam{beam}-seed{seed}"


def _evaluations(
    scale: Scale, trained: str, table: str, models: Sequence[LanguageModel]
) -> Iterator[Cell]:
    for lm in models:
        job = Evaluate(trained, scale.tests, lm)
        yield Cell(evaluated(trained, lm), (table,), job, (trained,))


def _minutes(scale: Scale) -> Iterator[Cell]:
    """Every amount with the first seed, then with the next."""
    for seed in scale.seeds:
        for amount in _in_turn(scale):
            for start in STARTS:
                yield from _from_start(scale, amount, start, seed)


def _in_turn(scale: Scale) -> list[Amount]:
    """The amounts as they are done: that of the ablations, then from the largest down."""
    first = scale.ablation_amount.name
    return sorted(scale.amounts, key=lambda amount: (amount.name != first, -amount.minutes))


def _from_start(scale: Scale, amount: Amount, start: str, seed: int) -> Iterator[Cell]:
    """A fine-tuning of table 1 and its evaluations."""
    begin = MAIN if start == "pretrained" else None
    job = Finetune(amount.training, amount.corpus, scale.dev, begin, seed)
    name, needs = finetuned(start, amount, seed), (begin,) if begin else ()
    later = ("weights", "beams") if begin and amount is scale.amounts[-1] else ()
    yield Cell(name, ("table1", *later), job, needs)
    models = [
        replace(lm, options={**lm.options, **amount.weights.get(lm.name, {})})
        for lm in scale.models
    ]
    yield from _evaluations(scale, name, "table1", models)


def _ablations(scale: Scale) -> Iterator[Cell]:
    both = [(scale.baseline, ("table4", "table5"))]
    rows = [
        *both,
        *((row, ("table4",)) for row in scale.targets),
        *((row, ("table5",)) for row in (*scale.spans, *scale.probabilities)),
    ]
    models = [lm for lm in scale.models if lm.name != "Transformer"]
    amount = scale.ablation_amount
    for row, tables in rows:
        begin = ablated(row)
        yield Cell(begin, tables, Pretrain(scale.ablation, row.settings, row.recipe))
        for seed in scale.seeds:
            job = Finetune(amount.training, amount.corpus, scale.dev, begin, seed)
            name = ablated(row, seed)
            yield Cell(name, tables, job, (begin,))
            for cell in _evaluations(scale, name, tables[0], models):
                yield replace(cell, tables=tables)


def _phones(scale: Scale) -> Iterator[Cell]:
    amount, plain = scale.phones, scale.models[0]
    for start in STARTS:
        for seed in scale.seeds:
            begin = MAIN if start == "pretrained" else None
            name, needs = of_phones(start, seed), (begin,) if begin else ()
            first = ("codes",) if begin and seed == scale.seeds[0] else ()
            job = Finetune(amount.training, amount.corpus, scale.phone_dev, begin, seed)
            yield Cell(name, ("table3", *first), job, needs)
            test = Evaluate(name, scale.phone_tests, plain)
            yield Cell(evaluated(name, plain), ("table3",), test, (name,))


def _codes(scale: Scale) -> Iterator[Cell]:
    aligner = of_phones("pretrained", scale.seeds[0])
    yield Cell("codes", ("codes",), Codes(MAIN, aligner, scale.phones.corpus), (MAIN, aligner))


def _weights(scale: Scale) -> Iterator[Cell]:
    for seed in scale.seeds:
        trained = finetuned("pretrained", scale.amounts[-1], seed)
        yield Cell(tuned(seed), ("weights",), Tune(trained, scale.dev, seed), (trained,))
        for name, tuning in ((with_tuned(seed), tuned(seed)), (f"{with_tuned(seed)}-not", None)):
            job = Evaluate(trained, scale.tests, scale.ngram, tuning)
            needs = (trained,) if tuning is None else (trained, tuning)
            yield Cell(name, ("weights",), job, needs)


def _beams(scale: Scale) -> Iterator[Cell]:
    for seed in scale.seeds:
        trained = finetuned("pretrained", scale.amounts[-1], seed)
        for beam in scale.beams:
            lm = replace(scale.ngram, options={**scale.ngram.options, "beam": beam})
            job = Evaluate(trained, scale.tests, lm)
            yield Cell(with_beam(beam, seed), ("beams",), job, (trained,))
