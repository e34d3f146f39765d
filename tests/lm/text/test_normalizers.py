import random
import unicodedata
from collections import Counter

import pytest
from transcripts import accounted

from lm.text.normalization import Changes, normalize_text
from lm.text.normalizers import Normalizer, NormalizerError

BASIC, NONE = Normalizer.named("basic"), Normalizer.named("none")
TURKISH = Normalizer.named("basic", language="tr")

BASIC_CASES = [
    ("Привет, мир!", "привет мир"),
    ("Ёлка — это ёлка", "ёлка это ёлка"),  # precomposed and not
    ("हिन्दी में, लिखा है।", "हिन्दी में लिखा है"),  # vowel signs and virama
    ("Tiếng Viê\u0323t", "tiếng việt"),
    ("السَّلامُ عليكم؟", "السَّلامُ عليكم"),  # right to left, vowel marks
    ("שלום, צה״ל", "שלום צה״ל"),
    ("\u200fمی\u200cخواهم\u200e", "می\u200cخواهم"),  # bidi marks go, the joiner shapes the word
    ("它是什么？", "它是什么"),
    ("これは、テストです。", "これは テストです"),
    ("ประเทศไทย", "ประเทศไทย"),
    ("ինչո՞ւ", "ինչու"),  # Armenian writes the question mark inside the word
    ("l’homme d’Aujourd’hui, ‘dit’", "l'homme d'aujourd'hui dit"),
    ("peut‑être -- non -", "peut-être non"),
    ("col·lecció", "col·lecció"),
    ("ΟΔΟΣ ΑΣ", "οδος ας"),  # the sigma that ends a word
    ("Straße 12", "straße 12"),
    ("a\u00adb \U0001f600 c", "ab c"),
]


@pytest.mark.parametrize(("text", "expected"), BASIC_CASES)
def test_basic(text, expected):
    assert BASIC(text) == unicodedata.normalize("NFC", expected)


def test_the_turkish_i_keeps_its_dot():
    assert TURKISH("IŞIK İstanbul'da I\u0307i") == "ışık istanbul'da ii"
    assert Normalizer("basic", "upper", "az-AZ")("ışık istanbul") == "IŞIK İSTANBUL"
    assert BASIC("IŞIK") == "işik"
    assert Normalizer("basic", "keep", "tr")("Işık") == "Işık"


def test_none_changes_spaces_alone():
    assert NONE(" Ça,  va?\n1½ ") == "Ça, va? 1½"


def test_english_is_normalize_text():
    assert Normalizer()("Mr. É, 2nd") == normalize_text("Mr. É, 2nd") == "MISTER E SECOND"


def test_changes_are_counted_by_kind():
    changes = Changes()
    assert BASIC("Ça  va, ça va?", changes) == "ça va ça va"
    assert changes.counts["case", "Ç", "ç"] == 1
    assert changes.counts["punctuation", ",", ""] == changes.counts["punctuation", "?", ""] == 1
    untouched = Changes()
    BASIC("ça va", untouched)
    assert not untouched
    spoken = Changes()
    normalize_text("Dr. É paid 20%", spoken)
    kinds = {kind for kind, _, _ in spoken.counts}
    assert kinds == {"case", "title", "accent", "number", "symbol", "space"}


def test_metadata_restores_a_normaliser():
    for normalizer in (Normalizer(), TURKISH, Normalizer("none", "upper")):
        assert Normalizer.from_metadata(normalizer.metadata) == normalizer
    for damaged in ("basic", {"name": "basic"}, {"name": "german", "case": "lower"}):
        with pytest.raises(NormalizerError):
            Normalizer.from_metadata(damaged)
    with pytest.raises(NormalizerError, match="writes capitals"):
        Normalizer("english", "lower")


SCRIPTS = {  # ranges of code points, whole blocks with what is unassigned in them
    "Latin": [(0x41, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)], "Greek": [(0x370, 0x3FF)],
    "Polytonic": [(0x1F00, 0x1FFF)], "Cyrillic": [(0x400, 0x52F)], "Armenian": [(0x530, 0x58F)],
    "Hebrew": [(0x590, 0x5FF)], "Arabic": [(0x600, 0x6FF)], "Syriac": [(0x700, 0x74F)],
    "Thaana": [(0x780, 0x7BF)], "NKo": [(0x7C0, 0x7FF)], "Devanagari": [(0x900, 0x97F)],
    "Bengali": [(0x980, 0x9FF)], "Gurmukhi": [(0xA00, 0xA7F)], "Gujarati": [(0xA80, 0xAFF)],
    "Oriya": [(0xB00, 0xB7F)], "Tamil": [(0xB80, 0xBFF)], "Telugu": [(0xC00, 0xC7F)],
    "Kannada": [(0xC80, 0xCFF)], "Malayalam": [(0xD00, 0xD7F)], "Sinhala": [(0xD80, 0xDFF)],
    "Thai": [(0xE00, 0xE7F)], "Lao": [(0xE80, 0xEFF)], "Tibetan": [(0xF00, 0xFFF)],
    "Myanmar": [(0x1000, 0x109F)], "Georgian": [(0x10A0, 0x10FF)], "Jamo": [(0x1100, 0x11FF)],
    "Ethiopic": [(0x1200, 0x137F)], "Cherokee": [(0x13A0, 0x13FF)], "Khmer": [(0x1780, 0x17FF)],
    "Mongolian": [(0x1800, 0x18AF)], "Kana": [(0x3040, 0x30FF)], "Han": [(0x4E00, 0x9FFF)],
    "Hangul": [(0xAC00, 0xD7A3)], "Compatibility": [(0xF900, 0xFAFF), (0xFF00, 0xFFEF)],
}  # fmt: skip
INVISIBLE = "\u0345\u00ad\u200c\u200d\u200e\u2011"
ANYWHERE = " '’-–.,?!\"0123456789%&$\tʼʻ😀iIıİß\u0300\u0301\u0307\u0323" + INVISIBLE


def random_texts(count, seed):
    draw = random.Random(seed)
    scripts = list(SCRIPTS.values())
    for _ in range(count):
        ranges = draw.choice(scripts)
        letters = [chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(0, 12))]
        others = draw.choices(ANYWHERE, k=draw.randint(0, 8))
        mixed = letters + others
        draw.shuffle(mixed)
        yield "".join(mixed)


def test_every_change_of_20_000_texts_in_over_30_scripts_is_reported():
    normalizers = [
        BASIC, TURKISH, Normalizer("basic", "upper"), Normalizer("basic", "upper", "tr"),
        Normalizer("basic", "keep"), NONE, Normalizer("none", "lower"), Normalizer(),
    ]  # fmt: skip
    assert len(SCRIPTS) >= 30
    for number, text in enumerate(random_texts(20_000, 9)):
        normalizer = normalizers[number % len(normalizers)]
        changes = Changes()
        normal = normalizer(text, changes)
        assert normalizer(normal) == normal, (normalizer, text)
        account = accounted(text, changes)
        kept = {character: count for character, count in account.items() if count}
        assert kept == Counter(normal), (normalizer, text, changes.counts)
        assert bool(changes) == (normal != text)


def test_letters_of_every_script_stay():
    keep = Normalizer("basic", "keep")
    for text in random_texts(2_000, 10):
        assert letters(keep(text)) == letters(text.replace("ʼ", "'")), text


@pytest.mark.parametrize(
    "normalizer",
    [
        Normalizer(),
        Normalizer("basic", "lower"),
        Normalizer("basic", "upper", "tr"),
        Normalizer("none", "keep", "pt-BR"),
        Normalizer("none", "lower"),
    ],
)
def test_a_normalizer_is_found_again_by_what_str_writes(normalizer):
    assert Normalizer.from_text(str(normalizer)) == normalizer


def test_a_text_that_names_no_normalizer_is_refused():
    for text in ("", "upper", "german basic"):
        with pytest.raises(NormalizerError, match="A normaliser is one of"):
            Normalizer.from_text(text)


def letters(text):
    decomposed = unicodedata.normalize("NFD", text)
    return Counter(c for c in decomposed if unicodedata.category(c)[0] == "L")
