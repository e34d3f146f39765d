"""The tables, claims and pictures of the page, from the figures that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.paper import cells as names
from benchmarks.paper.plots import Curve, bars, heatmap, lines, points
from benchmarks.paper.results import Claim, Difference, Errors, Results, difference
from benchmarks.paper.scales import Amount, LanguageModel, Row, Scale

MISSING = "–"


@dataclass
class Section:
    """A part of the page."""

    title: str
    about: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    """Sentences."""
    pictures: dict[str, Any] = field(default_factory=dict)
    """matplotlib figures by the name of their file, without a suffix."""
    verdicts: list[str] = field(default_factory=list)

    def claim(self, text: str, found: Difference, higher: bool = False) -> None:
        """Add a claim; `found` is positive where it holds. higher: see `Claim`."""
        claim = Claim(text, found, higher)
        self.claims.append(claim.sentence)
        self.verdicts.append(claim.verdict)


def sections(results: Results) -> list[Section]:
    """All parts of the page."""
    scale = results.place.scale
    parts = {
        "table1": _minutes,
        "table4": _targets,
        "table5": _masks,
        "table3": _phones,
        "codes": _codes,
        "weights": _weights,
        "beams": _beams,
    }
    found = []
    for table, part in parts.items():
        section = part(results, scale)
        cells = [c for c in names.cells_of(scale) if table in c.tables]
        done = sum(results.figures(cell.name) is not None for cell in cells)
        if done < len(cells):
            section.about += f" **Unfinished: {done} of the {len(cells)} cells of this are done.**"
        found.append(section)
    return found


def _header(scale: Scale, models: Sequence[LanguageModel]) -> list[str]:
    """The columns of error rates: for each corpus CER, then WER by language model."""
    found = []
    for corpus in scale.tests:
        found.append(f"{corpus}: CER")
        found += [f"{corpus}: WER" + ("" if lm.name == "none" else f", {lm.name}") for lm in models]
    return found


def _text(errors: Errors | None) -> str:
    return MISSING if errors is None else errors.text


def _minutes(results: Results, scale: Scale) -> Section:
    section = Section(
        "Pretraining against random weights (tables 1, 2 and 9)",
        "The same fine-tuning begins with the pretrained network and with random weights; each "
        "amount of transcribed speech holds the smaller ones. Character and word error rate (CER, "
        "WER) in percent, without a language model where none is named. Fine-tuning has "
        f"{_updates(scale)}. {_seeds(scale)}",
        ["transcribed", "start"],
    )
    section.header += _header(scale, scale.models)
    for amount in scale.amounts:
        for start in names.STARTS:
            row = [amount.name, start]
            for corpus in scale.tests:
                row.append(_text(_of(results, start, amount, scale.models[0], corpus, True)))
                row += [_text(_of(results, start, amount, lm, corpus)) for lm in scale.models]
            section.rows.append(row)
    first = next(iter(scale.tests))
    for corpus in scale.tests:
        for amount in scale.amounts:
            _pretraining_claims(section, results, scale, amount, corpus)
    _model_claims(section, results, scale, first)
    for corpus in scale.tests:
        _minutes_picture(section, results, scale, corpus)
    _curve_picture(section, results)
    return section


def _updates(scale: Scale) -> str:
    """How long fine-tuning is: `1 000 updates of 8 s of speech on 1 and 5 min, ...`."""
    kinds: dict[tuple[int, float], list[str]] = {}
    for amount in scale.amounts:
        training = amount.training
        kinds.setdefault((training.updates, training.batch_seconds), []).append(amount.name)
    return ", ".join(
        f"{updates} updates of {seconds:.0f} s of speech on {' and '.join(amounts)}"
        for (updates, seconds), amounts in kinds.items()
    )


def _seeds(scale: Scale) -> str:
    return f"Mean and standard deviation of {len(scale.seeds)} seeds of fine-tuning."


def _of(
    results: Results,
    start: str,
    amount: Amount,
    lm: LanguageModel,
    corpus: str,
    characters: bool = False,
) -> Errors | None:
    seeds = results.place.scale.seeds
    cells = [names.evaluated(names.finetuned(start, amount, seed), lm) for seed in seeds]
    return results.errors(cells, corpus, characters)


def _pretraining_claims(
    section: Section, results: Results, scale: Scale, amount: Amount, corpus: str
) -> None:
    for lm, characters in ((scale.models[0], True), (scale.ngram, False)):
        both = [_of(results, start, amount, lm, corpus, characters) for start in names.STARTS]
        if both[0] is None or both[1] is None:
            continue
        what = "CER without a language model" if characters else f"WER with the {lm.name}"
        text = f"{amount.name}, {corpus}: pretraining lowers the {what}"
        section.claim(text, difference(both[1], both[0]))


def _model_claims(section: Section, results: Results, scale: Scale, corpus: str) -> None:
    """Whether each language model is better than the one before, and more transcripts than few."""
    most, least = scale.amounts[-1], scale.amounts[0]
    for before, after in zip(scale.models, scale.models[1:], strict=False):
        both = [_of(results, "pretrained", most, lm, corpus) for lm in (before, after)]
        if both[0] is not None and both[1] is not None:
            than = "no language model" if before.name == "none" else f"the {before.name}"
            text = f"{most.name}, {corpus}: the {after.name} has a lower WER than {than}"
            section.claim(text, difference(both[0], both[1], same_networks=True))
    both = [_of(results, "pretrained", a, scale.models[0], corpus, True) for a in (least, most)]
    if both[0] is not None and both[1] is not None:
        text = f"{corpus}: {most.name} of transcripts lower the CER from that of {least.name}"
        section.claim(text, difference(both[0], both[1]))


def _minutes_picture(section: Section, results: Results, scale: Scale, corpus: str) -> None:
    curves = []
    choices = [(scale.models[0], True), *((lm, False) for lm in scale.models)]
    for number, (lm, characters) in enumerate(choices):
        for start in names.STARTS:
            found = [
                (amount.minutes, errors.mean, errors.deviation)
                for amount in scale.amounts
                if (errors := _of(results, start, amount, lm, corpus, characters)) is not None
            ]
            label = "CER" if characters else "WER" if lm.name == "none" else f"WER, {lm.name}"
            curves.append(Curve(f"{label}, {start}", found, number, start == "random"))
    if any(curve.points for curve in curves):
        section.pictures[f"minutes-{corpus}"] = lines(
            curves, "minutes of transcribed speech", "error rate, %", corpus, logarithmic=True
        )


def _curve_picture(section: Section, results: Results) -> None:
    figures = results.figures(names.MAIN)
    if figures is None:
        return
    found = [(update, 100 * accuracy, 0.0) for update, accuracy in figures["curve"]]
    section.pictures["pretraining"] = lines(
        [Curve("held-out speech", found, 0)], "updates", "true latent found, %", "pretraining"
    )
    section.about += (
        f" The pretrained network tells the true latent from 100 others on held-out speech in "
        f"{100 * figures['valid_accuracy']:.1f}% of the cases (chance: 1.0%), with a perplexity of "
        f"the codes of {figures['valid_code_perplexity']:.0f}."
    )


def _rows_of(
    section: Section, results: Results, scale: Scale, rows: Sequence[Row]
) -> dict[str, Errors]:
    """Add a line for each row of table 4 or 5; returns the errors they are compared by."""
    found = {}
    models = (scale.models[0], scale.ngram)
    section.header = ["pretraining", "accuracy, %", "perplexity of codes"]
    section.header += [*_header(scale, models), "WER of the paper"]
    for row in rows:
        figures = results.figures(names.ablated(row)) or {}
        accuracy, perplexity = (
            figures.get(f"valid_{name}") for name in ("accuracy", "code_perplexity")
        )
        line = [row.label, MISSING if accuracy is None else f"{100 * accuracy:.1f}"]
        line.append(f"{perplexity:.0f}" if perplexity else MISSING)
        for corpus in scale.tests:
            line.append(_text(_ablated(results, row, models[0], corpus, True)))
            line += [_text(_ablated(results, row, lm, corpus)) for lm in models]
        published = row.published
        line.append(f"{published.wer} ± {published.deviation}" if published else MISSING)
        section.rows.append(line)
        errors = _judged(results, row)
        if errors is not None:
            found[row.name] = errors
    return found


def _judged(results: Results, row: Row) -> Errors | None:
    """The errors by which rows of tables 4 and 5 are compared: see `_judge`."""
    scale = results.place.scale
    corpus = next(iter(scale.tests))
    if scale.own_data:
        return _ablated(results, row, scale.models[0], corpus, True)
    return _ablated(results, row, scale.ngram, corpus)


def _judge(scale: Scale) -> str:
    """The name of that rate: CER in miniature, where hardly a word is right; else WER."""
    return "CER" if scale.own_data else f"WER with the {scale.ngram.name}"


def _ablated(
    results: Results, row: Row, lm: LanguageModel, corpus: str, characters: bool = False
) -> Errors | None:
    seeds = results.place.scale.seeds
    cells = [names.evaluated(names.ablated(row, seed), lm) for seed in seeds]
    return results.errors(cells, corpus, characters)


def _targets(results: Results, scale: Scale) -> Section:
    amount, corpus = scale.ablation_amount, next(iter(scale.tests))
    section = Section(
        "Continuous or quantized inputs and targets (table 4)",
        f"One pretraining of {scale.ablation.updates} updates for each row (that of the section "
        f"above has {scale.pretraining.updates}), then {amount.training.updates} updates on "
        f"{amount.name} of transcripts. Accuracy is how often the true latent is told from 100 "
        f"others on held-out speech; continuous targets have no codes. {_seeds(scale)}",
    )
    rows = (scale.baseline, *scale.targets)
    found = _rows_of(section, results, scale, rows)
    for row in scale.targets:
        if row.name in found and scale.baseline.name in found:
            gain = difference(found[row.name], found[scale.baseline.name])
            text = f"{scale.baseline.label} have a lower {_judge(scale)} than {row.label}"
            section.claim(f"{amount.name}, {corpus}: {text}", gain)
    section.claims += _accuracy_claims(results, scale)
    if found:
        section.pictures["table4"] = bars(
            [(row.label, found[row.name]) for row in rows if row.name in found],
            f"{_judge(scale)}, {corpus}, %",
        )
    return section


def _accuracy_claims(results: Results, scale: Scale) -> Iterator[str]:
    quantized = results.figures(names.ablated(scale.baseline))
    row = next((row for row in scale.targets if row.name == "continuous"), None)
    continuous = None if row is None else results.figures(names.ablated(row))
    if quantized is None or continuous is None:
        return
    before, after = (100 * figures["valid_accuracy"] for figures in (quantized, continuous))
    verdict = "shows" if after > before else "does not show"
    yield (
        "Continuous targets are told more often than quantized ones (the paper: 78.0 against 62%): "
        f"{after:.1f} against {before:.1f}%, a difference of {after - before:.1f} points, of one "
        f"pretraining each and so without an interval: it **{verdict}**."
    )


def _masks(results: Results, scale: Scale) -> Section:
    amount, corpus = scale.ablation_amount, next(iter(scale.tests))
    section = Section(
        "Masks (table 5)",
        "The length M of a masked span in frames of 20 ms, and the probability p that a frame "
        "starts one; "
        f"the baseline is that of the section above. {_seeds(scale)}",
    )
    # In miniature the masks are others than those of the paper's figure.
    figure = None if scale.own_data else scale.baseline.published
    base_row = replace(scale.baseline, label=f"{scale.masks} (baseline)", published=figure)
    rows = (base_row, *scale.spans, *scale.probabilities)
    found = _rows_of(section, results, scale, rows)
    base = found.get(scale.baseline.name)
    for row in rows[1:]:
        if base is not None and row.name in found:
            gain = difference(found[row.name], base)
            text = f"the baseline's masks have a lower {_judge(scale)} than {row.label}"
            section.claim(f"{amount.name}, {corpus}: {text}", gain)
    if found:
        section.pictures["table5"] = bars(
            [(row.label, found[row.name]) for row in rows if row.name in found],
            f"{_judge(scale)}, {corpus}, %",
        )
    return section


def _phones(results: Results, scale: Scale) -> Section:
    section = Section(
        "Phones (table 3)",
        "Networks that write phones, fine-tuned on "
        f"{scale.phones.name} of speech. "
        + (
            "Phones are the first pronunciation of each word in the CMU dictionary, folded to 39. "
            if scale.own_data
            else ""
        )
        + f"PER in percent, without a language model. {_seeds(scale)}",
        ["start", *(f"{corpus}: PER" for corpus in scale.phone_tests)],
    )
    found: dict[str, dict[str, Errors | None]] = {}
    for start in names.STARTS:
        cells = [
            names.evaluated(names.of_phones(start, seed), scale.models[0]) for seed in scale.seeds
        ]
        found[start] = {corpus: results.errors(cells, corpus) for corpus in scale.phone_tests}
        section.rows.append([start, *map(_text, found[start].values())])
    for corpus in scale.phone_tests:
        before, after = found["random"][corpus], found["pretrained"][corpus]
        if before is not None and after is not None:
            section.claim(f"{corpus}: pretraining lowers the PER", difference(before, after))
    shown = [
        (f"{start}, {corpus}", errors)
        for start, by_corpus in found.items()
        for corpus, errors in by_corpus.items()
        if errors is not None
    ]
    if shown:
        section.pictures["table3"] = bars(shown, "PER, %")
    return section


def _codes(results: Results, scale: Scale) -> Section:
    section = Section(
        "Which codeword fires on which phone (appendix D)",
        "Every column of the picture is an entry of a codebook, every line a phone: how the frames "
        "on which the entry was chosen are shared out among phones. Phones were laid onto the "
        "frames by the network of table 3 with pretrained weights and the first seed, so their "
        "borders are those of a CTC network, not of an ear.",
    )
    figures = results.figures("codes")
    if figures is None:
        return section
    section.header = ["codebook", "entries used"]
    section.rows = [
        [str(number), f"{used} of {len(table[0])}"]
        for number, (used, table) in enumerate(
            zip(figures["used"], figures["counts"], strict=True), 1
        )
    ]
    told, other = 100 * figures["told"], 100 * figures["told_random"]
    low, high = (100 * value for value in figures["interval"])
    section.about += (
        f" {figures['frames']} frames have a phone. The phone that an entry was most often chosen "
        f"on in half of the utterances is the right one on {told:.1f}% of the frames of the other "
        f"half where it is chosen; the commonest phone would be on {100 * figures['commonest']:.1f}"
        "%."
    )
    section.claim(
        "Codewords of the pretrained quantizer tell the phone of a frame more often than those of "
        "one with random weights",
        Difference(told, other, low, high),
        higher=True,
    )
    section.pictures["codes"] = heatmap(figures["phones"], figures["counts"])
    return section


def _weights(results: Results, scale: Scale) -> Section:
    most = scale.amounts[-1]
    section = Section(
        "Tuned weights against 2 and -1",
        f"LM weight and word score of the 4-gram, tuned on the dev part ({scale.trials} trials) "
        f"for the pretrained networks of {most.name}, against 2 and -1.",
        ["seed", "LM weight", "word score", "dev: WER"],
    )
    shown = []
    for seed in scale.seeds:
        figures = results.figures(names.tuned(seed))
        if figures is not None:
            section.rows.append(
                [
                    str(seed),
                    f"{figures['lm_weight']:.2f}",
                    f"{figures['word_score']:.2f}",
                    f"{100 * figures['rate']:.1f}",
                ]
            )
            shown.append(figures["trials"])
    for corpus in scale.tests:
        tuned = results.errors([names.with_tuned(seed) for seed in scale.seeds], corpus)
        plain = results.errors([f"{names.with_tuned(s)}-not" for s in scale.seeds], corpus)
        if tuned is not None and plain is not None:
            section.claim(
                f"{corpus}: tuned weights have a lower WER than 2 and -1",
                difference(plain, tuned, same_networks=True),
            )
    if shown:
        section.pictures["weights"] = points([row for rows in shown for row in rows])
    return section


def _beams(results: Results, scale: Scale) -> Section:
    most = scale.amounts[-1]
    section = Section(
        "Beams",
        f"The 4-gram with the pretrained networks of {most.name}, weights 2 and -1. "
        f"{_seeds(scale)}",
        ["beam", *(f"{corpus}: WER" for corpus in scale.tests)],
    )
    found: dict[int, list[Errors | None]] = {}
    for beam in scale.beams:
        cells = [names.with_beam(beam, seed) for seed in scale.seeds]
        found[beam] = [results.errors(cells, corpus) for corpus in scale.tests]
        section.rows.append([str(beam), *map(_text, found[beam])])
    for small, large in zip(scale.beams, scale.beams[1:], strict=False):
        for corpus, before, after in zip(scale.tests, found[small], found[large], strict=True):
            if before is not None and after is not None:
                section.claim(
                    f"{corpus}: a beam of {large} has a lower WER than one of {small}",
                    difference(before, after, same_networks=True),
                )
    curves = [
        Curve(
            corpus,
            [
                (beam, errors.mean, errors.deviation)
                for beam, by_corpus in found.items()
                if (errors := by_corpus[place]) is not None
            ],
            place,
        )
        for place, corpus in enumerate(scale.tests)
    ]
    if any(curve.points for curve in curves):
        section.pictures["beams"] = lines(curves, "beam", "WER, %", "4-gram", logarithmic=True)
    return section
