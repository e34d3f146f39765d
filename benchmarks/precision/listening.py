"""The words that one search finds in what several precisions of a network make of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.precision.networks import Timed
from lm.search.context import resolved
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.recognition.pipeline import AcousticStage
from w2v2cli.recognition.scoring.results import Evaluation, Scored, scoring
from w2v2cli.recognition.searching.chains import Chains
from w2v2cli.recognition.searching.spec import Searches
from w2v2cli.recognition.segments import Segment


class Listener:
    """The model in each precision, and the searches that all of them share."""

    def __init__(
        self, models: dict[str, Timed], searches: dict[str, Searches], noted: Callable[[str], None]
    ) -> None:
        self.models, self.searches, self.noted = models, searches, noted
        self.heard = 0

    def evaluated(self, corpus: CorpusSplit) -> dict[tuple[str, str], Evaluation]:
        """The errors in a corpus by precision and language model."""
        rows: dict[tuple[str, str], list[Scored]] = {}
        scores = {lm: scoring(corpus, pool.spec) for lm, pool in self.searches.items()}
        audio = 0.0
        for utterance in corpus.utterances:
            turns = list(self.models)
            start = self.heard % len(turns)  # no precision is always the first to read the sound
            for precision in turns[start:] + turns[:start]:
                stage = AcousticStage(
                    self.models[precision], next(iter(self.searches.values())).vocabulary
                )
                [emitted] = stage.emissions([utterance.recorded])
                if emitted.error is not None:
                    self.noted(f"{utterance.id} is left out: {emitted.error}")
                    break
                for lm, pool in self.searches.items():
                    alignment = scores[lm](utterance, words(pool, emitted.segments))
                    one = Scored(utterance.id, utterance.speaker, alignment, emitted.seconds)
                    rows.setdefault((precision, lm), []).append(one)
            else:
                audio += emitted.seconds
            self.heard += 1
        return {
            (precision, lm): Evaluation(precision, corpus.note, tuple(found), (), audio)
            for (precision, lm), found in rows.items()
        }


def words(pool: Searches, segments: Sequence[Segment]) -> str:
    """The words that a search finds in the segments of a recording."""
    with Chains(pool) as chains:
        take = chains.begin()
        found = resolved([future.result() for _, future in map(take, segments)])
    return " ".join(best.text for best, *_ in found if best.text)
