"""Every kind of script through training's text path, the lexicon, the searches and the scoring."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from transcripts import Texts

from lm.decoding import BeamOptions, DecodingWeights
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.greedy import greedy_search
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.scripts import is_unspaced
from models.config import PRESETS
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.dataset import labelled
from w2v2cli.data.utterance import Utterance
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.results import Evaluation, Scored
from w2v2cli.recognition.tuning.metric import References
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.runs.vocabulary import vocabulary_of

SCRIPTS = {  # transcript as written -> as it is learned, searched and scored; characters counted
    "Hindi, combining marks": ("वह क्या है? ज़रूर!", "वह क्या है ज़रूर", False),
    "Vietnamese, two marks a letter": ("Tiếng Việt rất đẹp.", "tiếng việt rất đẹp", False),
    "Arabic, right to left, marks": ("مُحَمَّدٌ ذَهَبَ؟", "مُحَمَّدٌ ذَهَبَ", False),
    "Hebrew, right to left, geresh": ("צ׳יפס, בבקשה!", "צ׳יפס בבקשה", False),
    "Persian, joiner": ("می‌خواهم بروم.", "می‌خواهم بروم", False),
    "Chinese": ("今天天气很好。", "今天天气很好", True),
    "Japanese": ("これはテストです。", "これはテストです", True),
    "Thai": ("ประเทศไทยสวย", "ประเทศไทยสวย", True),
    "French, apostrophes": ("L’été, c’est l'école.", "l'été c'est l'école", False),
    "Ukrainian, apostrophe": ("П’ять м'ячів", "п'ять м'ячів", False),
    "Russian, hyphen": ("Кто-то пришёл — да", "кто-то пришёл да", False),
    "Korean": ("안녕하세요 여러분!", "안녕하세요 여러분", False),
}


@pytest.fixture(params=SCRIPTS.values(), ids=list(SCRIPTS))
def case(request):
    """The vocabulary that a run makes of a transcript, the transcript, and how it is spelled."""
    text, spelled, _ = request.param
    return vocabulary_of(changed(FINETUNING["demo"](), {}), [text]), text, spelled


def heard(vocabulary, ids):
    """Emissions that leave no doubt: each symbol for a frame, a blank after it."""
    path = [symbol for index in ids for symbol in (index, vocabulary.blank)]
    emission = np.full((len(path), len(vocabulary.symbols)), -20.0, np.float32)
    emission[np.arange(len(path)), path] = 0.0
    return emission


def test_the_text_path_of_training(case):
    vocabulary, text, spelled = case
    decomposed = unicodedata.normalize("NFD", text)
    learned, left_out = labelled(
        Texts([text, decomposed]), vocabulary.transcript_ids, PRESETS["base"]()
    )
    assert left_out == [] and len(learned) == 2
    ids = vocabulary.transcript_ids(text)
    assert vocabulary.text(ids) == spelled == vocabulary.normalizer(decomposed)
    assert vocabulary.transcript_ids(decomposed) == ids


def test_the_lexicon_spells_every_word(case):
    vocabulary, text, spelled = case
    lexicon = Lexicon.from_words(spelled.split(), vocabulary)
    assert lexicon.unspellable == () == lexicon.respelled
    rows = [symbol for word in spelled.split() for symbol in lexicon.spellings[word][0]]
    assert tuple(rows) == vocabulary.transcript_ids(text)
    as_written = Lexicon.from_words(text.split(), vocabulary)  # a language model of raw text
    assert [w for w in as_written.unspellable if vocabulary.normalizer(w)] == []


def test_the_searches_find_it(case):
    vocabulary, text, spelled = case
    emission = heard(vocabulary, vocabulary.transcript_ids(text))
    lexicon = Lexicon.from_words([*spelled.split(), spelled[0]], vocabulary)
    weights, options = DecodingWeights(word_score=-0.1), BeamOptions(50)
    found = {
        "greedy": greedy_search(emission[None], [len(emission)], vocabulary),
        "compiled": CompiledSearch.open(vocabulary, weights, options, lexicon)(
            emission[None], [len(emission)]
        ),
        "batched": BatchedSearch(
            prepare(vocabulary, lexicon), None, weights, options, torch.device("cpu")
        )(emission[None], [len(emission)]),
    }
    assert {name: hypotheses[0][0].text for name, hypotheses in found.items()} == dict.fromkeys(
        found, spelled
    )


def test_scoring_counts_what_differs(case):
    vocabulary, text, spelled = case
    same = align(text, unicodedata.normalize("NFD", spelled), vocabulary.normalizer)
    assert same.words.errors == same.characters.errors == 0
    wrong = align(text, spelled[:-1], vocabulary.normalizer)
    assert (wrong.words.errors, wrong.characters.errors) == (1, 1)
    assert wrong.characters.deletions == 1
    unspaced = is_unspaced(spelled)
    assert unspaced is dict((s, u) for _, s, u in SCRIPTS.values())[spelled]
    spaced = align(text, " ".join(spelled), vocabulary.normalizer)
    assert (spaced.characters.errors == 0) is unspaced  # no space is wrong where none are written


def test_characters_come_first_where_no_spaces_are_written(case):
    vocabulary, text, spelled = case
    alignment = align(text, spelled[:-1], vocabulary.normalizer)
    result = Evaluation("c", None, (Scored("a", "s", alignment),), (), 1.0)
    unspaced = is_unspaced(spelled)
    assert (result.counted, result.rate_name) == (
        ("characters", "CER") if unspaced else ("words", "WER")
    )
    assert result.first == (alignment.characters if unspaced else alignment.words)
    assert result.by_speaker() == {"s": result.first}
    utterance = Utterance("a", Path("a.wav"), text)
    part = CorpusSplit("c", (utterance,))
    references = References(part.utterances, None, vocabulary.normalizer)
    assert references.metric == ("cer" if unspaced else "wer")
    assert references.lengths == [result.first.reference]
    assert references.errors(0, spelled[:-1]) == 1
