"""What a user can ask of transcription, evaluation and tuning.

Each setting has its type, choices, help and default in one place; `resolving.resolve` finds the
files and weights that the settings stand for. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from lm.decoding import FLOOR, LATTICE_BEAM, MBR_SCALE, POSTERIOR_SCALE, BeamOptions, Recombine
from w2v2cli.errors import UsageError
from w2v2cli.help import Help, refusal
from w2v2cli.recognition.devices import Precision

RescoreOver = Literal["nbest", "lattice"]
SearchName = Literal["auto", "greedy", "compiled", "flashlight", "batched"]
SEARCH, DEVICE = "Search", "Device"  # headings of --help
# Options that mean nothing where the best path is taken.
BEAM_SEARCH = (
    *("beam", "beam_threshold", "beam_tokens", "recombine", "lm_context", "nbest"),
    *("skip_blank", "lattice_beam", "posterior_scale", "mbr", "mbr_scale"),
)


@dataclass(frozen=True)
class Beams:
    """Hypotheses kept after each frame where the user names no number."""

    ngram: int
    transformer: int

    def of(self, kind: str) -> int:
        """The beam for a language model of this kind."""
        return self.transformer if kind == "transformer" else self.ngram


TRANSCRIBING = Beams(500, 500)
LATENCY = 3.0  # seconds of a stream, where none are named
TUNING = Beams(500, 50)  # the paper's (appendix B)
TESTING = Beams(1500, 500)  # the paper's (appendix B)


@dataclass(frozen=True)
class DecodingOptions:
    """How recordings become words: model, language model, search, device.

    Raises UsageError for values that are wrong in themselves or together.
    """

    model: Annotated[
        str,
        Help(
            "Acoustic model: a name (see `w2v2 model list`), a repository of the Hugging Face hub "
            "(org/name, org/name@revision), a folder or a checkpoint file."
        ),
    ] = "demo"
    language: Annotated[
        str | None,
        Help(
            "Language of a model that has an adapter for each, as MMS's have: tur, rus, ... "
            "Default: that of its main weights.",
            metavar="TAG",
        ),
    ] = None
    lm: Annotated[
        str | tuple[str, ...],
        Help(
            "Language model: `none`; `4gram` or `transformer`, those that belong to --model: "
            "LibriSpeech's for every model that writes A to Z, the demo model's own for it; `own`, "
            "the one in the folder or repository of --model; or a file: .arpa or .arpa.gz, a KenLM "
            "binary, a .safetensors or .pt Transformer. Given twice, both score each word, each "
            "with its --lm-weight.",
            repeated=str,
        ),
    ] = "none"
    lexicon: Annotated[
        Path | None,
        Help(
            "Words that can be recognised, one `word<TAB>w o r d |` a line. "
            "Default: all words of the language model."
        ),
    ] = None
    search: Annotated[
        SearchName,
        Help("Search engine; auto takes the fastest that can use --lm on this device.", SEARCH),
    ] = "auto"
    beam: Annotated[
        int | None,
        Help("Hypotheses kept after each frame: more is slower, with fewer errors.", SEARCH),
    ] = None
    beam_threshold: Annotated[
        float,
        Help("Drop hypotheses whose score (natural log) is this far below the best.", SEARCH),
    ] = 50.0
    beam_tokens: Annotated[
        int | None,
        Help("Try only the N likeliest symbols of each frame (20 ms). Default: all.", SEARCH),
    ] = None
    recombine: Annotated[
        Recombine | None,
        Help(
            "Hypotheses that count as one, of which the better is kept: `state`, those that the "
            "language model cannot tell apart from now on; `history`, those of the same words, as "
            "flashlight does. Default: state, with --search flashlight history.",
            SEARCH,
        ),
    ] = None
    lm_context: Annotated[
        int | None,
        Help(
            "With a Transformer in the search, count hypotheses as one whose last N words are the "
            "same: the better one goes on, with its whole history. A beam then holds more "
            "different ones. Default: all words tell them apart.",
            SEARCH,
        ),
    ] = None
    skip_blank: Annotated[
        float | None,
        Help(
            "Take a run of frames whose blank has this probability or more in one step, in which "
            "nothing else is tried; 0.999 for example. Faster, with slightly more errors; for "
            "--search compiled. Default: every frame is searched.",
            SEARCH,
        ),
    ] = None
    lattice_beam: Annotated[
        float,
        Help(
            "Keep the paths whose score (natural log) is at most this far below the best, for "
            "confidences, --format lattice and --rescore-over lattice.",
            SEARCH,
        ),
    ] = LATTICE_BEAM
    posterior_scale: Annotated[
        float,
        Help(
            "Multiply scores with this before they become posteriors: lower is less sure.",
            SEARCH,
        ),
    ] = POSTERIOR_SCALE
    mbr: Annotated[
        bool,
        Help(
            "Minimum Bayes risk decoding: write the words with the fewest expected errors over "
            "all that the search kept, in place of the best path; for --search compiled.",
            SEARCH,
        ),
    ] = False
    mbr_scale: Annotated[
        float, Help("Multiply scores with this before --mbr weighs paths by them.", SEARCH)
    ] = MBR_SCALE
    lm_weight: Annotated[
        float | tuple[float, ...] | None,
        Help(
            "Weight of the language model score; with --lm given twice, give this twice in the "
            "same order, the second of any sign. Default: the tuned value for this model and LM if "
            "`w2v2 tune-lm` has stored one, else that of --lm own, else the paper's for a "
            "published model with LibriSpeech's LM, else 2 for an n-gram and 0.87 for a "
            "Transformer.",
            SEARCH,
            repeated=float,
        ),
    ] = None
    word_score: Annotated[
        float | None,
        Help(
            "Score added for each word: higher gives more and shorter words. "
            "Default: the tuned value, else that of --lm own, else the paper's for a published "
            "model, else -1.",
            SEARCH,
        ),
    ] = None
    unk_score: Annotated[
        float | None,
        Help(
            "Score added, in place of --word-score, for each word outside the lexicon; -inf "
            "forbids such words. Default: that of --lm own, else -inf.",
            SEARCH,
        ),
    ] = None
    sil_score: Annotated[
        float | None,
        Help(
            "Score added for each frame that the path gives to the word boundary. "
            "Default: the tuned value, else 0.",
            SEARCH,
        ),
    ] = None
    hotwords: Annotated[
        Path | None,
        Help(
            "Words and phrases to favour, one `word weight` or `several words weight` a line; the "
            "weight is added to the score each time they are found. Words outside the lexicon are "
            "added to it.",
            SEARCH,
        ),
    ] = None
    hotwords_floor: Annotated[
        float,
        Help(
            "Least log10 probability of each word of --hotwords that a language model lacks and "
            "would score as unknown; -inf leaves it that.",
            SEARCH,
        ),
    ] = FLOOR
    rescore: Annotated[
        str | None,
        Help(
            "Second pass: score what the search found again with this language model, "
            "`transformer` or a file (Transformer or ARPA).",
            SEARCH,
        ),
    ] = None
    rescore_over: Annotated[
        RescoreOver,
        Help(
            "What --rescore scores again: `nbest`, a list of the best hypotheses; `lattice`, all "
            "that the search kept (see --lattice-beam), for --search compiled.",
            SEARCH,
        ),
    ] = "nbest"
    rescore_nbest: Annotated[
        int, Help("Hypotheses that --rescore scores again, over lists.", SEARCH)
    ] = 100
    rescore_lm_weight: Annotated[
        float | None,
        Help(
            "Weight of --rescore's language model. Default: the tuned value, else 0.87 for a "
            "Transformer and 2 for an n-gram.",
            SEARCH,
        ),
    ] = None
    rescore_word_score: Annotated[
        float | None,
        Help("Score added for each word by --rescore. Default: the tuned value, else -1.", SEARCH),
    ] = None
    rescore_first_weight: Annotated[
        float,
        Help(
            "Weight that the first pass's language model keeps in the second pass; 0: none.",
            SEARCH,
        ),
    ] = 0.0
    nbest: Annotated[
        int, Help("Hypotheses kept of each segment, in json and jsonl output.", SEARCH)
    ] = 1
    device: Annotated[
        str, Help("auto (the first GPU, else the CPU), cpu, cuda or cuda:N.", DEVICE)
    ] = "auto"
    precision: Annotated[
        Precision,
        Help(
            "Numbers of the acoustic model; auto is bf16 where the device has that in hardware, "
            "else fp32 on a CPU and fp16 on a GPU.",
            DEVICE,
        ),
    ] = "auto"
    batch_seconds: Annotated[
        float, Help("Seconds of audio in a batch; 0: chosen for the device.", DEVICE)
    ] = 0.0
    workers: Annotated[int, Help("Search processes; 0: one for each core.", DEVICE)] = 0
    lm_precision: Annotated[
        Precision,
        Help(
            "Numbers of a Transformer language model; auto is bf16 on a GPU that has it in "
            "hardware, else fp32.",
            DEVICE,
        ),
    ] = "auto"
    lm_cache_gb: Annotated[
        float | None,
        Help(
            "Memory for a Transformer's cached keys and values, in 10^9 bytes; by default 2, on "
            "a GPU half of what is free.",
            DEVICE,
        ),
    ] = None

    @property
    def lms(self) -> tuple[str, ...]:
        """The language models, one or two."""
        return self.lm if isinstance(self.lm, tuple) else (self.lm,)

    @property
    def lm_weights(self) -> tuple[float | None, float]:
        """The first model's weight where it was given, and that of the second, 0 without one."""
        if isinstance(self.lm_weight, tuple):
            return self.lm_weight[0], self.lm_weight[1]
        return self.lm_weight, 0.0

    def __post_init__(self) -> None:
        for name in ("lm", "lm_weight"):  # a list of one is one, as an option given once is
            if isinstance(value := getattr(self, name), list | tuple):
                given = tuple(value)
                object.__setattr__(self, name, given[0] if len(given) == 1 else given)
        self._check_two()
        for name, allowed in choices(type(self)).items():
            if (value := getattr(self, name)) is not None and value not in allowed:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(refusal(flag, value, allowed))
        searchable = self.lm != "none" or self.lexicon is not None
        if self.search == "greedy" and searchable:
            what = f"--lm {self.lms[0]}" if self.lm != "none" else "--lexicon"
            raise UsageError(
                f"--search greedy uses no language model or lexicon: leave it out, or {what}."
            )
        if self.search == "greedy" and self.nbest > 1:
            raise UsageError(
                f"--search greedy finds one hypothesis, --nbest asks for {self.nbest}."
            )
        if self.search == "flashlight" and self.recombine == "state":
            raise UsageError(
                "--search flashlight tells hypotheses apart by their words: "
                "leave out --recombine state, or take --search compiled."
            )
        if self.hotwords is not None and not searchable:
            raise UsageError(
                "--hotwords needs words to be found among: "
                "name a language model (--lm) or a --lexicon."
            )
        if self.rescore == "none":
            raise UsageError(
                "--rescore takes a language model, got 'none': leave it out for one pass."
            )
        if self.rescore is not None and self.mbr:
            raise UsageError(
                "--mbr weighs what the first search kept by its own scores, and --rescore chooses "
                "by others: leave out one of them."
            )
        if self.rescore is not None and not searchable:
            raise UsageError(
                "--rescore needs hypotheses to score again: "
                "name a language model (--lm) for the search."
            )
        for name in ("lm_weight", "word_score", "unk_score", "sil_score"):
            unused = not searchable and self.search != "flashlight"  # which searches symbols too
            if unused and getattr(self, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} needs words to be found among: "
                    "name a language model (--lm) or a --lexicon."
                )
        self._check_numbers()

    def _check_two(self) -> None:
        """Raise UsageError for language models and weights that do not go together."""
        count = len(self.lms)
        given = len(self.lm_weight) if isinstance(self.lm_weight, tuple) else 1
        if not 1 <= count <= 2:
            raise UsageError(f"--lm can be given once or twice, got {count}.")
        if count == 2 and "none" in self.lms:
            raise UsageError("--lm none leaves no language model: give the other --lm alone.")
        if given > count:
            named = "once" if count == 1 else "twice"
            raise UsageError(
                f"--lm-weight was given {given} times, and --lm {named}: each language model has "
                "one weight."
            )

    def _check_numbers(self) -> None:
        if not self.hotwords_floor <= 0:
            raise UsageError(
                "--hotwords-floor is the logarithm of a probability, so at most 0, got "
                f"{self.hotwords_floor:g}."
            )
        if self.rescore_nbest < 1:
            raise UsageError(f"--rescore-nbest must be at least 1, got {self.rescore_nbest}.")
        if self.lm_cache_gb is not None and not self.lm_cache_gb > 0:
            raise UsageError(f"--lm-cache-gb must be above 0, got {self.lm_cache_gb:g}.")
        if self.batch_seconds < 0:
            raise UsageError(f"--batch-seconds cannot be negative, got {self.batch_seconds:g}.")
        if self.workers < 0:
            raise UsageError(f"--workers cannot be negative, got {self.workers}.")

    def beam_options(self, width: int) -> BeamOptions:
        """How wide the search looks; `width` counts where no beam was asked for."""
        wanted = width if self.beam is None else self.beam
        try:
            return BeamOptions(
                wanted,
                self.beam_tokens,
                self.beam_threshold,
                self.nbest,
                self.recombine or "state",
                self.lm_context,
                lattice_beam=self.lattice_beam,
                posterior_scale=self.posterior_scale,
                mbr=self.mbr,
                mbr_scale=self.mbr_scale,
                skip_blank=self.skip_blank,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None


def without_effect(options: DecodingOptions) -> list[str]:
    """A sentence for each option that was given and changes nothing in this call."""
    searchable = options.lm != "none" or options.lexicon is not None
    best_path = not searchable and options.search in ("auto", "greedy")
    rescoring = (
        *("rescore_over", "rescore_nbest", "rescore_lm_weight", "rescore_word_score"),
        "rescore_first_weight",
    )
    idle = {
        "without --lm or --lexicon there is no beam search": (BEAM_SEARCH if best_path else ()),
        "without --lm there is no language model": (
            ("lm_weight",) if searchable and options.lm == "none" else ()
        ),
        "there are no --hotwords": () if options.hotwords is not None else ("hotwords_floor",),
        "it is for --mbr": () if options.mbr else ("mbr_scale",),
        "without --rescore there is no second pass": (
            () if options.rescore is not None else rescoring
        ),
        "over a lattice no list is scored again": (
            ("rescore_nbest",)
            if options.rescore is not None and options.rescore_over == "lattice"
            else ()
        ),
    }
    return _told(options, idle)


def lists(options: DecodingOptions) -> bool:
    """Whether the search finds several hypotheses, for the result or for a second pass."""
    return options.nbest > 1 or (options.rescore is not None and options.rescore_over == "nbest")


def without_effect_in(options: DecodingOptions, engine: str, transformer: bool) -> list[str]:
    """A sentence for each further option that changes nothing in the search that runs.

    engine: see `RecognitionOptions.engine`. transformer: whether either pass has one.
    """
    other = engine in ("flashlight", "batched")
    idle = {
        "only --search compiled keeps a lattice": (
            ("lattice_beam", "posterior_scale") if other else ()
        ),
        "no language model is a Transformer": (
            () if transformer else ("lm_precision", "lm_cache_gb")
        ),
        "it is for a Transformer in the search": (
            ("lm_context",) if engine in ("compiled", "flashlight") else ()
        ),
        "a list of several hypotheses keeps all histories apart": (
            ("lm_context",) if engine == "batched" and lists(options) else ()
        ),
    }
    return _told(options, idle)


def without_effect_written(options: DecodingOptions, engine: str, what: str) -> list[str]:
    """A sentence for each further option about what a search keeps beside the words.

    engine: see `RecognitionOptions.engine`. what: that which is written, of the words alone.
    """
    if engine != "compiled":  # `without_effect` and `without_effect_in` tell of these
        return []
    lattice = () if options.mbr else ("lattice_beam",)
    return _told(
        options, {f"there are no confidences or lattices in {what}": (*lattice, "posterior_scale")}
    )


def without_effect_streamed(options: DecodingOptions, engine: str) -> list[str]:
    """A sentence for each further option that changes nothing where sound is a stream.

    engine: the search that runs, see `RecognitionOptions.engine`.
    """
    idle: dict[str, tuple[str, ...]] = {
        "a stream is searched window by window in this process": ("batch_seconds", "workers")
    }
    if engine != "greedy":
        idle |= {
            "a stream is searched frame by frame": ("skip_blank",),
            "in a stream hypotheses are told apart by state": (
                ("recombine",) if options.recombine == "history" else ()
            ),
            "of a stream no lattice is kept": (
                *("lattice_beam", "posterior_scale", "mbr"),
                *(("mbr_scale",) if options.mbr else ()),
            ),
        }
    return _told(options, idle)


def _told(options: DecodingOptions, idle: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each reason in `idle` whose options were given."""
    lines = []
    for why, names in idle.items():
        given = [name for name in names if getattr(options, name) != _default(name)]
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            lines.append(f"Note: {flags} {'have' if len(given) > 1 else 'has'} no effect: {why}.")
    return lines


def _default(name: str) -> Any:
    return next(item.default for item in fields(DecodingOptions) if item.name == name)


def choices(settings: type) -> dict[str, tuple[str, ...]]:
    """The allowed values of each field of a settings dataclass that is a choice.

    A choice without a default of its own may be None besides.
    """
    hints = get_type_hints(settings)
    allowed = {item.name: _allowed(hints[item.name]) for item in fields(settings)}
    return {name: values for name, values in allowed.items() if values}


def _allowed(hint: Any) -> tuple[str, ...]:
    """The values of a Literal, or of one that may be None; none for another type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(
        value for part in get_args(hint) if get_origin(part) is Literal for value in get_args(part)
    )
