"""20 000 random transcripts of over 30 scripts through the text path of training.

Every one is learned as its normaliser spells it, with each change counted and told, or is left out
with its name and the reason. Nothing happens in silence.
"""

import random
from collections import Counter

import pytest
from transcripts import Texts, accounted

from lm.text.changes import UNREMARKABLE
from lm.text.normalization import Changes
from models.config import PRESETS
from w2v2cli.data.dataset import labelled
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.runs.alphabet import alphabet_lines
from w2v2cli.training.runs.sources import described
from w2v2cli.training.runs.vocabulary import vocabulary_of

BLOCKS = [  # first and last code point of a block of each script, unassigned ones included
    (0x41, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7BF), (0x7C0, 0x7FF), (0x900, 0x97F),
    (0x980, 0x9FF), (0xA00, 0xA7F), (0xA80, 0xAFF), (0xB00, 0xB7F), (0xB80, 0xBFF), (0xC00, 0xC7F),
    (0xC80, 0xCFF), (0xD00, 0xD7F), (0xD80, 0xDFF), (0xE00, 0xE7F), (0xE80, 0xEFF), (0xF00, 0xFFF),
    (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF),
    (0x1780, 0x17FF), (0x1800, 0x18AF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
]  # fmt: skip
ANYWHERE = " '’-–.,?!\"0123456789%&$\tʼʻ😀iIıİß|<>\u0300\u0301\u0307\u0323\u00ad\u200c\u200d\u200e"
SETTINGS = [
    {},
    {"normalizer": "basic", "case": "upper", "language": "tr"},
    {"normalizer": "basic", "case": "keep"},
    {"normalizer": "none"},
    {"normalizer": "english"},
]
EACH = 4_000


def random_transcripts(seed):
    draw = random.Random(seed)
    texts = []
    for _ in range(EACH):
        block = draw.choice(BLOCKS)
        mixed = [chr(draw.randint(*block)) for _ in range(draw.randint(0, 12))]
        mixed += draw.choices(ANYWHERE, k=draw.randint(0, 6))
        draw.shuffle(mixed)
        texts.append("".join(mixed))
    return texts


def test_there_are_20_000_transcripts_of_30_scripts():
    assert EACH * len(SETTINGS) == 20_000 and len(BLOCKS) > 30


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_nothing_happens_to_a_transcript_in_silence(number):
    source = Texts(random_transcripts(number))
    vocabulary = vocabulary_of(changed(FINETUNING["demo"](), SETTINGS[number]), source.texts)
    learned, left_out = labelled(source, vocabulary.transcript_ids, PRESETS["base"]())
    told = list(alphabet_lines(vocabulary, source.ids, source.texts))
    reasons = {utterance.id: utterance.reason for utterance in left_out}
    kept = {int(index) for index in learned.kept}
    names = {source.ids[index] for index in kept}
    assert names | set(reasons) == set(source.ids) and not names & set(reasons)
    changed_texts, counted = 0, Changes()
    for index, text in enumerate(source.texts):
        own = Changes()
        spelled = vocabulary.normalizer(text, own)
        counted.counts.update(own.counts)
        changed_texts += any(kind not in UNREMARKABLE for kind, _, _ in own.counts)
        account = accounted(text, own)
        assert +account == Counter(spelled) and min(account.values(), default=0) >= 0
        if index in kept:
            assert vocabulary.text(vocabulary.transcript_ids(text)) == spelled, text
        else:
            assert reasons[source.ids[index]], text
            lacking = set(spelled) - vocabulary.letters - {" "}
            assert lacking or not spelled, (text, reasons[source.ids[index]])
    [line] = [line for line in told if line.startswith("The normaliser ")] or [""]
    if changed_texts:
        start = f"The normaliser {vocabulary.normalizer} changed {changed_texts} of {EACH} "
        assert line.startswith(start)
    kinds = {kind for kind, _, _ in counted.counts if kind not in UNREMARKABLE}
    assert all(f"{kind} '" in line or f'{kind} "' in line for kind in kinds)
    *named, last = described(left_out)
    assert last == f"Left out: {len(left_out) - len(named)} more."


def test_every_letter_that_is_learned_is_a_letter_of_some_transcript():
    texts = random_transcripts(7)
    vocabulary = vocabulary_of(changed(FINETUNING["demo"](), {}), texts)
    said = Counter(character for text in texts for character in vocabulary.normalizer(text))
    assert vocabulary.letters <= set(said)
