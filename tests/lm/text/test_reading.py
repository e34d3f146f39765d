"""What a sentence of a text is, how it is spelled, and what is told of both."""

import pytest

from lm.text.normalization import normalize_text
from lm.text.normalizers import Normalizer
from lm.text.reading import (
    AS_IT_IS,
    LONG,
    Reading,
    ReadReport,
    chosen_normalizer,
    is_mostly_english,
    is_one_a_line,
)
from lm.text.sentences import read_sentences

LIBRISPEECH = ["A MAN SAID TO THE UNIVERSE", "SIR I EXIST", "HOWEVER REPLIED THE UNIVERSE"] * 400
PUNCTUATED = ["Eve geldim.", "Nasılsın?", "“Bugün hava güzel!”", "Yarın görüşürüz."] * 50
NOVEL = """It was the best of times, it was the worst of times, it was the age
of wisdom, it was the age of foolishness. It was the epoch of belief. It
was the epoch of incredulity, it was the season of Light! It was the
season of Darkness.

We had everything before us, we had nothing before us; we were all
going direct to Heaven.
""".split("\n")
PARAGRAPHS = ["Он пришёл. Она ушла. Все молчали.", "Наступила ночь. Никто не спал."] * 30
CHINESE = ["他来了。她走了。大家都没有说话。", "天黑了。没有人睡觉。"] * 30


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (LIBRISPEECH, True),
        (PUNCTUATED, True),
        (NOVEL, False),
        (PARAGRAPHS, False),
        (CHINESE, False),
        (["他来了。", "她走了。", "天黑了！"], True),
        (["وصل متأخرا؟", "نعم.", "لا."], True),
        ([], True),
    ],
    ids="LibriSpeech punctuated novel paragraphs Chinese-text Chinese Arabic empty".split(),
)
def test_how_a_text_looks(lines, expected):
    assert is_one_a_line(lines) is expected


def test_a_corpus_of_a_sentence_a_line_is_read_as_such(tmp_path):
    """Its lines were merged: three words began a sentence, now all do."""
    text = tmp_path / "librispeech-lm-norm.txt"
    text.write_text("\n".join(LIBRISPEECH) + "\n")
    reading = Reading(Normalizer(), lines=None)
    report = ReadReport(reading)
    found = list(read_sentences(text, reading, report))
    assert found == [line.split() for line in LIBRISPEECH] == list(read_sentences(text, AS_IT_IS))
    [line] = report.lines()
    assert line == (
        "Read each line as a sentence (librispeech-lm-norm.txt), normaliser english: "
        "1200 sentences of 4.3 words on average."
    )


def test_running_text_is_cut_into_sentences(tmp_path):
    text = tmp_path / "novel.txt"
    text.write_text("\n".join(NOVEL))
    reading = Reading(Normalizer(), lines=None)
    report = ReadReport(reading)
    found = list(read_sentences(text, reading, report))
    assert len(found) == 5 and found[1] == "IT WAS THE EPOCH OF BELIEF".split()
    told = list(report.lines())
    assert told[0].startswith(
        "Read running text cut into sentences (novel.txt), normaliser english"
    )
    assert told[1].startswith("The normaliser english changed 5 of 5 sentences: character ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Он там. А. С. Пушкин молчал! да? Нет.", ["Он там.", "А. С. Пушкин молчал! да?", "Нет."]),
        ("वह आया। वह गया।", ["वह आया।", "वह गया।"]),
        ("他来了。她走了！", ["他来了。", "她走了！"]),
        ("هل وصل؟ نعم وصل.", ["هل وصل؟", "نعم وصل."]),
    ],
)  # fmt: skip
def test_sentences_of_other_scripts(tmp_path, text, expected):
    path = tmp_path / "text.txt"
    path.write_text(text)
    found = read_sentences(path, Reading(Normalizer.named("none"), lines=False))
    assert [" ".join(words) for words in found] == expected


def test_sentences_that_are_none_are_warned_of(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("WORD " * (LONG + 1))
    reading = Reading(Normalizer(), lines=None)
    report = ReadReport(reading)
    assert len(list(read_sentences(text, reading, report))) == 1
    assert any("sentences of 101 words are probably none" in line for line in report.lines())


def test_digits_outside_english_are_left_out_counted_and_advised(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Yıl 2023 geldi\nyıl geldi\nsaat ٣ oldu\n")
    basic = Normalizer.named("basic", "lower", "tr")
    report = ReadReport(Reading(basic))
    assert list(read_sentences(text, Reading(basic), report)) == [["yıl", "geldi"]]
    told = list(report.lines())[-1]
    assert told.startswith("2 sentences are left out for 5 digits, 'yıl 2023 geldi', ")
    assert "Write numbers in words" in told
    kept = Reading(basic, letters=frozenset("yılgedsaotu0123"))
    assert list(read_sentences(text, kept)) == [["yıl", "2023", "geldi"], ["yıl", "geldi"]]
    assert len(list(read_sentences(text, AS_IT_IS))) == 3  # as it is
    spoken = list(read_sentences(text, Reading(Normalizer())))
    assert spoken[0] == "YIL TWO THOUSAND TWENTY THREE GELDI".split()


def test_what_spelling_changes_is_counted_with_examples(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Çağrı, gel!\nçağrı geldi\nÇağrı?\n")
    basic = Reading(Normalizer.named("basic", None, "tr"))
    report = ReadReport(basic)
    assert list(read_sentences(text, basic, report))[0] == ["çağrı", "gel"]
    told = list(report.lines())
    assert told[1] == (
        "The normaliser basic tr changed 2 of 3 sentences: punctuation ',' 1, '!' 1, '?' 1."
    )
    assert told[2:] == ["  Çağrı, gel! -> çağrı gel", "  Çağrı? -> çağrı"]


@pytest.mark.parametrize(
    ("lines", "english"),
    [
        (LIBRISPEECH, True),
        (NOVEL, True),
        ([*NOVEL, "He ate at the café."], True),
        (PUNCTUATED, False),
        (PARAGRAPHS, False),
        (["Die Straße ist schön", "Über den Fluss"], False),
        ([], True),
    ],
)
def test_the_normaliser_follows_the_letters(lines, english):
    assert is_mostly_english(lines) is english
    assert chosen_normalizer(lines).name == ("english" if english else "basic")


def test_a_normaliser_that_is_named_counts():
    assert chosen_normalizer(LIBRISPEECH, "basic", "upper") == Normalizer("basic", "upper")
    assert chosen_normalizer(LIBRISPEECH, case="lower") == Normalizer("basic", "lower")
    assert chosen_normalizer(PUNCTUATED, "none") == Normalizer("none", "keep")


def test_english_words_are_those_of_the_english_normaliser(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It’s 5 o'clock.\n")
    [words] = read_sentences(text, Reading(Normalizer(), lines=True))
    assert words == normalize_text("It’s 5 o'clock.").split()


def test_the_turkish_i_asks_for_its_language(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("Işık ve ışık\n")
    for language, told in (("", True), ("tr", False)):
        reading = Reading(Normalizer.named("basic", None, language))
        report = ReadReport(reading)
        list(read_sentences(text, reading, report))
        assert any("give --language tr or az" in line for line in report.lines()) is told
