"""The job of `w2v2 eval --report`: the worst utterances are heard again, and a page is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lm.text.normalizers import NormalizerName
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.utterance import Utterance
from w2v2cli.processes import Ranks
from w2v2cli.recognition.pages.evaluation import Subject, evaluation_page
from w2v2cli.recognition.pages.heard import HeardUtterance, hear
from w2v2cli.recognition.pages.picture import picture
from w2v2cli.recognition.pages.sound import sound_uri
from w2v2cli.recognition.pages.utterances import Told
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.comparing import Compared
from w2v2cli.recognition.scoring.results import Evaluation
from w2v2cli.recognition.scoring.rows import settings_line
from w2v2cli.recognition.sharing.ranks import options_of
from w2v2cli.recognition.writing.output import write_file

LONGEST = 60.0  # seconds of a recording that a report may hold
MOST_SOUND = 24_000_000  # bytes of sound in a report, as they are written there


@dataclass(frozen=True)
class Chosen:
    """An utterance whose recording a report holds."""

    corpus: str
    utterance: Utterance


def write_report(
    path: Path,
    results: Sequence[Evaluation],
    corpora: Sequence[CorpusSplit],
    options: RecognitionOptions,
    *,
    normalizer: NormalizerName | None = None,
    compared: Sequence[Compared] = (),
    sounds: int = 20,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write a page on an evaluation, with the recordings of its worst utterances.

    results: of `corpora`, in their order, transcribed with `options` and spelled by `normalizer`.
    sounds: number of utterances of each corpus, those with the most errors first, that are
    transcribed again for their sound and the picture of their emissions. Recordings above LONGEST
    have neither, and once MOST_SOUND is reached the others have no sound.
    seed: of the intervals.

    Raises UserError where the file cannot be written, or the model not be opened again.
    """
    chosen, told = _chosen(results, corpora, sounds)
    sources = [one.utterance.recorded for one in chosen]
    size = 0
    found = hear(options_of(options, Ranks.from_environment()), sources, on_progress)
    for one, heard in zip(chosen, found, strict=True):
        shown, size = _told(one, heard, size)
        told[one.corpus, one.utterance.id] = shown
    subject = Subject(options.model.title, settings_line(options, normalizer), seed, compared, told)
    write_file(path, evaluation_page(results, subject))


def _chosen(
    results: Sequence[Evaluation], corpora: Sequence[CorpusSplit], sounds: int
) -> tuple[list[Chosen], dict[tuple[str, str], Told]]:
    """The utterances to be heard again, the worst of all corpora first, and those too long."""
    lines: list[list[Chosen]] = []
    told: dict[tuple[str, str], Told] = {}
    for result, corpus in zip(results, corpora, strict=True):
        utterances = {utterance.id: utterance for utterance in corpus.utterances}
        line = []
        for scored in result.ranked()[:sounds]:
            if scored.seconds is not None and scored.seconds > LONGEST:
                sentence = f"A report holds no recording of more than {LONGEST:g} seconds."
                told[result.name, scored.id] = Told(without=sentence)
            else:
                line.append(Chosen(result.name, utterances[scored.id]))
        lines.append(line)
    # Of each corpus the worst, then of each the second: all have their share of the room.
    depth = max(map(len, lines), default=0)
    turns = chain.from_iterable([line[n] for line in lines if n < len(line)] for n in range(depth))
    return list(turns), told


def _told(one: Chosen, heard: HeardUtterance | str, size: int) -> tuple[Told, int]:
    """What is shown of an utterance, and the bytes of sound up to it."""
    if isinstance(heard, str):
        return Told(without=heard), size
    drawn, sound = picture(heard, one.utterance.id), sound_uri(heard.samples)
    if size + len(sound) > MOST_SOUND:
        sentence = f"The report holds {MOST_SOUND / 1e6:g} MB of sound, and no more."
        return Told(picture=drawn, without=sentence), size
    return Told(sound=sound, picture=drawn), size + len(sound)
