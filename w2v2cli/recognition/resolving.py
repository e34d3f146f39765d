"""From what a user asked for to what runs: names become files, missing weights tuned ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm.decoding import FLOOR, BeamOptions, DecodingWeights
from lm.native.library import is_built
from lm.ngram.kenlm import lists_words
from models.importers.languages import language_note
from storage.home import home
from w2v2cli.data.hub import OnProgress
from w2v2cli.data.locations import (
    LmLocation,
    ModelLocation,
    resolve_lm,
    resolve_model,
)
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.devices import Precision
from w2v2cli.recognition.options import (
    TRANSCRIBING,
    Beams,
    DecodingOptions,
    SearchName,
    lists,
    without_effect,
    without_effect_in,
)
from w2v2cli.recognition.searching.spec import Engine, SearchSpec

if TYPE_CHECKING:
    from w2v2cli.recognition.searching.rescoring import Rescoring

# What a checkpoint's metadata tells of its outputs (`Vocabulary.metadata`).
OUTPUTS = ("units", "pieces", "normalizer", "blank", "word_boundary", "unknown")
SPOKEN = {"lm_weight": "LM weight", "word_score": "word score", "sil_score": "silence score"}


@dataclass(frozen=True)
class RecognitionOptions:
    """What runs: files that exist, and weights that count."""

    model: ModelLocation
    lm: LmLocation
    weights: DecodingWeights = field(default_factory=DecodingWeights)
    beam: BeamOptions = field(default_factory=BeamOptions)
    search: SearchName = "auto"
    """The engine asked for: see `engine` for the one that runs."""
    hotwords: dict[str, float] = field(default_factory=dict)
    """Score added each time a word is found."""
    hotwords_floor: float = FLOOR
    """log10 p that the score of one may not fall below where a language model lacks it."""
    rescore: Rescoring | None = None
    """How another language model scores the n-best lists again."""
    lm_precision: Precision = "auto"
    """Numbers of a Transformer language model."""
    lm_cache_gb: float | None = None
    """Memory for a Transformer's keys and values, in 10^9 bytes; None takes what is free."""
    device: str = "auto"
    precision: Precision = "auto"
    batch_seconds: float = 0.0
    """Seconds of audio, padding included, in a batch; 0 takes the device's."""
    workers: int = 0
    """Search processes; 0 takes one for each core."""
    second_lm: LmLocation | None = None
    """A language model in the same search, with `weights.second_lm_weight`."""
    second_words: bool = False
    """Whether its words can be found besides those of `lm`."""

    @property
    def engine(self) -> Engine:
        """The search that runs.

        auto takes the best path where there is no language model and no lexicon; tensors with a
        Transformer; else the compiled search, which does what flashlight does in a tenth of its
        time, on every device, since nobody has measured the tensors on a GPU; flashlight for what
        only KenLM reads (a binary file without its words), and where the compiled search was not
        built. Raises UsageError for an
        engine that cannot use this language model.
        """
        if self.second_lm is not None:
            return self._with_two(self.second_lm)
        if self.lm.symbols:
            return self._over_symbols()
        transformer = self.lm.kind == "transformer"
        searchable = self.lm.path is not None or self.lm.lexicon is not None
        if self.search == "auto":
            return self._automatic(searchable, transformer)
        if transformer and self.search != "batched":
            raise UsageError(
                f"--search {self.search} cannot use a Transformer: "
                "leave it out, or give --search batched."
            )
        if self.search in ("compiled", "batched") and self._for_kenlm_alone():
            raise UsageError(
                f"--search {self.search} needs the words of a language model, and {self.lm.path} "
                "was built without them (build_binary -v): it needs --search flashlight."
            )
        if self.search in ("compiled", "batched") and not searchable:
            raise UsageError(
                f"--search {self.search} needs words: name a language model (--lm) or a --lexicon."
            )
        return self.search

    def _with_two(self, second: LmLocation) -> Engine:
        """The engine of two language models. Raises UsageError where none has them."""
        for lm in (self.lm, second):
            if lm.symbols:
                raise UsageError(
                    f"{lm.path} is a language model of the model's symbols: it cannot be one of "
                    "two."
                )
            if lm.kind == "kenlm" and (lm.path is None or not lists_words(lm.path)):
                raise UsageError(
                    f"{lm.path} was built without its words (build_binary -v): it cannot be one of "
                    "two language models."
                )
        kinds = [lm.kind for lm in (self.lm, second)]
        if kinds == ["transformer", "transformer"]:
            raise UsageError("Of two language models one must be an n-gram; both are Transformers.")
        if "transformer" in kinds:
            possible: Engine = "batched"
        else:
            possible = "batched" if self.search == "batched" or not is_built() else "compiled"
        if self.search not in ("auto", possible):
            what = "a Transformer beside another" if "transformer" in kinds else "two of them"
            raise UsageError(
                f"--search {self.search} takes one language model, not {what}: leave it out, or "
                f"give --search {possible}."
            )
        return possible

    def _over_symbols(self) -> Engine:
        """The only engine that searches with a language model of symbols."""
        what = f"{self.lm.path} is a language model of the model's symbols, not of words"
        if self.search not in ("auto", "flashlight"):
            raise UsageError(
                f"{what}, and --search {self.search} finds words: leave it out, or give "
                "--search flashlight or a --lexicon."
            )
        if self.hotwords:
            raise UsageError(f"{what}, and --hotwords favours words: give a --lexicon.")
        return "flashlight"

    def _automatic(self, searchable: bool, transformer: bool) -> Engine:
        if not searchable:
            return "greedy"
        if transformer:
            return "batched"
        if self._for_kenlm_alone() or (not is_built() and find_spec("flashlight") is not None):
            return "flashlight"
        return "compiled" if is_built() else "batched"

    def _for_kenlm_alone(self) -> bool:
        """Whether the language model is a binary file that only KenLM reads."""
        path = self.lm.path
        return self.lm.kind == "kenlm" and (path is None or not lists_words(path))

    def search_spec(
        self, labels: tuple[str, ...], metadata: Mapping[str, Any] | None = None
    ) -> SearchSpec:
        """What the search processes are sent, for a model with these outputs.

        metadata: the checkpoint's, which may say what the outputs are.
        """
        from lm.search.hotwords import in_the_alphabets_case

        spec = SearchSpec(
            labels=labels,
            engine=self.engine,
            lm=self.lm.path,
            second=None if self.second_lm is None else self.second_lm.path,
            second_words=self.second_words,
            second_transformer=self.second_lm is not None and self.second_lm.kind == "transformer",
            lexicon=self.lm.lexicon,
            words=self.lm.words,
            spell_words=self.lm.path is not None and not (self.lm.lexicon or self.lm.symbols),
            weights=self.weights,
            options=self.beam,
            cache=home() / "search",
            transformer=self.lm.kind == "transformer",
            device=self.device,
            lm_precision=self.lm_precision,
            lm_cache_gb=self.lm_cache_gb,
            metadata={k: v for k, v in (metadata or {}).items() if k in OUTPUTS},
        )
        if not self.hotwords:
            return spec
        return replace(
            spec,
            hotwords=in_the_alphabets_case(self.hotwords, spec.vocabulary),
            hotwords_floor=self.hotwords_floor,
        )


def resolve(
    options: DecodingOptions,
    beams: Beams = TRANSCRIBING,
    *,
    note: Callable[[str], None] = lambda sentence: None,
    on_fetch: OnProgress = lambda file, done, total: None,
) -> RecognitionOptions:
    """Find the files that names stand for, downloading them where needed, and the tuned weights.

    beams: the beam where `options` names none.
    note: called with a sentence when tuned weights are used, or a language model's own.
    on_fetch: called with the file's name, bytes on disk and bytes in all while one is downloaded.

    Raises UsageError or UserError.
    """
    beam = options.beam_options(beams.of("arpa"))  # refuses a wrong call before any download
    _refuse_unweighted(options)
    for line in without_effect(options):
        note(line)
    favoured = {} if options.hotwords is None else _hotwords(options.hotwords)
    model = resolve_model(options.model, on_fetch, options.language)
    if model.language is None and (said := model_note(model)):
        note(said)
    name, *others = options.lms
    lm = resolve_lm(name, model, options.lexicon, on_fetch)
    beside = [resolve_lm(other, model, None, on_fetch) for other in others]
    second = None
    if options.rescore is not None:
        second = _of_words(resolve_lm(options.rescore, model, None, on_fetch))
    for location in (lm, *beside, second):
        if location is not None and location.note:
            note(location.note)
    beam = options.beam_options(beams.of(lm.kind))
    weights = _weights(options, model, lm, beam.width, note)
    rescore = None if second is None else _rescoring(options, model, lm, second, note)
    resolved = RecognitionOptions(
        model=model,
        lm=lm,
        second_lm=beside[0] if beside else None,
        second_words=options.lexicon is None,
        weights=weights,
        beam=beam,
        search=options.search,
        hotwords=favoured,
        hotwords_floor=options.hotwords_floor,
        rescore=rescore,
        lm_precision=options.lm_precision,
        lm_cache_gb=options.lm_cache_gb,
        device=options.device,
        precision=options.precision,
        batch_seconds=options.batch_seconds,
        workers=options.workers,
    )
    _refuse_elsewhere(resolved)
    used = (lm, *beside, second)
    transformer = any(one is not None and one.kind == "transformer" for one in used)
    for line in without_effect_in(options, resolved.engine, transformer):
        note(line)
    return _as_it_merges(resolved, options)


def _refuse_unweighted(options: DecodingOptions) -> None:
    """Raise UsageError for two language models without two weights, which nobody has tuned."""
    if len(options.lms) > 1 and not isinstance(options.lm_weight, tuple):
        raise UsageError(
            "Two language models need a weight each: give --lm-weight twice, in the order of --lm."
        )


def _weights(
    options: DecodingOptions,
    model: ModelLocation,
    lm: LmLocation,
    beam: int,
    note: Callable[[str], None],
) -> DecodingWeights:
    """The weights of the search: those given, for the others those of the first model."""
    lm_weight, second_weight = options.lm_weights
    given = lm_weight, options.word_score, options.sil_score
    first = Weighing(model, lm, *given, beam=beam)
    weights = first.starting(lambda sentence: None)
    if options.search != "greedy" and lm.path is not None:
        weights = first.weights(None, note)
    weights = _changed(weights, second_lm_weight=second_weight)
    return weights if options.unk_score is None else _changed(weights, unk_score=options.unk_score)


def _refuse_elsewhere(resolved: RecognitionOptions) -> None:
    """Raise UsageError for what only the compiled search can do, where another one runs."""
    second = resolved.rescore
    only = {
        "--skip-blank": resolved.beam.skip_blank is not None,
        "--mbr": resolved.beam.mbr,
        "--rescore-over lattice": second is not None and second.over == "lattice",
    }
    for flag, given in only.items():
        if given and resolved.engine not in ("compiled", "greedy"):  # greedy: no effect, and told
            raise UsageError(
                f"{flag} is for --search compiled, and this call takes --search "
                f"{resolved.engine}: leave it out."
            )


def _as_it_merges(resolved: RecognitionOptions, asked: DecodingOptions) -> RecognitionOptions:
    """The options with the way of merging that the engine has."""
    if resolved.engine != "batched" or lists(asked):  # told by `without_effect_in`
        resolved = replace(resolved, beam=replace(resolved.beam, lm_context=None))
    if resolved.engine != "flashlight":
        return resolved
    if asked.recombine == "state":
        raise UsageError(
            "--recombine state was asked for, and this language model needs --search flashlight, "
            "which tells hypotheses apart by their words: leave it out."
        )
    return replace(resolved, beam=replace(resolved.beam, recombine="history"))


def _rescoring(
    options: DecodingOptions,
    model: ModelLocation,
    lm: LmLocation,
    second: LmLocation,
    note: Callable[[str], None],
) -> Rescoring:
    """How `second` scores again what `lm` helped to find."""
    from w2v2cli.recognition.searching.rescoring import Rescoring
    from w2v2cli.recognition.tuning.kept import rescored

    given = options.rescore_lm_weight, options.rescore_word_score
    again = Weighing(model, second, *given, prefix="rescore-")
    weights = again.weights(rescored(lm), note, lm.listed)
    first_weight, over = options.rescore_first_weight, options.rescore_over
    return Rescoring(second, weights, first_weight, options.rescore_nbest, over)


def model_note(model: ModelLocation) -> str:
    """What to tell of a model of several languages of which none was asked for; else empty.

    Raises UserError for a damaged vocabulary.
    """
    try:
        return language_note(model.path, model.name) if model.path.is_dir() else ""
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


@dataclass(frozen=True)
class Weighing:
    """The weights of one pass of the search, as far as the user gave them."""

    model: ModelLocation
    lm: LmLocation
    lm_weight: float | None = None
    word_score: float | None = None
    sil_score: float | None = None
    prefix: str = ""
    """What the options' names begin with."""
    beam: int | None = None
    """Hypotheses that this search keeps after each frame; told where tuning kept others."""
    changed_in: str | None = None
    """Where weights are changed, for a sentence; None: by options of the command."""

    def starting(self, note: Callable[[str], None]) -> DecodingWeights:
        """The given weights; for those that are missing the ones before any tuning.

        note: called with a sentence that says which these are, where they are not for all models.
        """
        from w2v2cli.recognition.tuning.published import untuned_weights

        found = untuned_weights(self.model, self.lm)
        if found.source is not None:
            self._tell(found.weights, found.source, note)
        return self._filled(found.weights)

    def weights(
        self, search: str | None, note: Callable[[str], None], lexicon: Path | None = None
    ) -> DecodingWeights:
        """The given weights; for those that are missing the tuned ones, else those before tuning.

        search: the kind of search they were tuned for; None for a single pass.
        lexicon: the words that are searched for, where the language model does not say.
        note: called with a sentence that says which weights were not given, and their source.
        """
        from w2v2cli.recognition.tuning.kept import BEAM, find_tuned

        tuned = None
        if self._missing:
            tuned = find_tuned(self.model, self.lm, search or BEAM, lexicon)
        if tuned is None:
            return self.starting(note)
        tried = tuned.details.get("beam")
        other = self.beam is not None and tried is not None and tried != self.beam
        beams = f" with beam {tried}, searched here with {self.beam}" if other else ""
        data = f"{tuned.data}{beams}"
        self._tell(tuned.weights, f"as tuned on {data} ({tuned.path})", note)
        return self._filled(tuned.weights)

    @property
    def _missing(self) -> list[str]:
        names = ["lm_weight", "word_score"] if self.prefix else list(SPOKEN)
        return [name for name in names if getattr(self, name) is None]

    def _tell(self, weights: DecodingWeights, source: str, note: Callable[[str], None]) -> None:
        """Say which of `weights` count because none were given, where a silence score counts."""
        counting = [
            name for name in self._missing if name != "sil_score" or weights.sil_score != 0.0
        ]
        if not counting:
            return
        values = _listed([f"{SPOKEN[name]} {getattr(weights, name):g}" for name in counting])
        flags = _listed([f"--{self.prefix}{name.replace('_', '-')}" for name in counting])
        override = "override them" if len(counting) > 1 else "overrides it"
        change = self.changed_in or f"{flags} {override}"
        note(f"Note: {values}, {source}; {change}.")

    def _filled(self, others: DecodingWeights) -> DecodingWeights:
        given = {name: value for name in SPOKEN if (value := getattr(self, name)) is not None}
        try:
            return replace(others, **given)
        except ValueError as error:
            raise UsageError(str(error)) from None


def _of_words(lm: LmLocation) -> LmLocation:
    """A language model for the second pass, which scores words again. Raises UsageError."""
    if lm.symbols:
        raise UsageError(
            f"--rescore scores words, and {lm.path} is a language model of the model's symbols."
        )
    return lm


def _changed(weights: DecodingWeights, **given: float) -> DecodingWeights:
    try:
        return replace(weights, **given)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _hotwords(path: Path) -> dict[str, float]:
    from lm.search.hotwords import HotwordsError, read_hotwords

    try:
        return read_hotwords(path)
    except HotwordsError as error:
        raise UsageError(str(error)) from None
