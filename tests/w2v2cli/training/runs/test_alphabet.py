import json

import pytest

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import SpellingError, Vocabulary
from models.importers.labels import STANDARD
from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.run_folder import check_settings
from w2v2cli.training.runs.alphabet import alphabet_lines
from w2v2cli.training.runs.vocabulary import keep_vocabulary, vocabulary_of

TURKISH = ["Çağrı ışıkları söndürdü.", "İstanbul'da yağmur!"]
RUSSIAN = ["Привет, мир", "какой-то ёж"]


def config(**settings):
    return changed(FINETUNING["demo"](), settings)


def letters(vocabulary):
    return "".join(sorted(vocabulary.letters))


def round_trip(vocabulary, text):
    return vocabulary.text(vocabulary.transcript_ids(text))


@pytest.mark.parametrize(
    "texts", [["IT'S SO"], ["well-known 2023, “no”?"], ["..."], [], ["a", None], ["e—f"]]
)
def test_english_letters_take_the_published_symbols(texts):
    vocabulary = vocabulary_of(config(), texts)
    assert (vocabulary.symbols, vocabulary.normalizer) == (STANDARD, Normalizer())


def test_letters_beyond_a_to_z_make_an_alphabet_of_their_own():
    vocabulary = vocabulary_of(config(language="tr"), TURKISH)
    assert letters(vocabulary) == "".join(sorted(set("çağrıışıklarısöndürdüistanbul'dayağmur")))
    assert vocabulary.symbols[:6] == ("<pad>", "<s>", "</s>", "<unk>", "|", "a")
    assert (vocabulary.blank, vocabulary.word_boundary) == (0, 4)
    assert round_trip(vocabulary, "Işıklar İstanbul'da.") == "ışıklar istanbul'da"
    russian = vocabulary_of(config(), RUSSIAN)
    assert round_trip(russian, "Ёж, привет: какой-то") == "ёж привет какой-то"
    with pytest.raises(SpellingError, match="no 'x'"):
        russian.transcript_ids("x")


@pytest.mark.parametrize("text", ["它是什么？", "これはテストです", "ประเทศไทย"])
def test_scripts_without_spaces_are_spelled_in_characters(text):
    vocabulary = vocabulary_of(config(), [text])
    assert round_trip(vocabulary, text) == text.rstrip("？")


def test_the_alphabet_is_in_one_case_unless_it_is_kept():
    assert "ç" in vocabulary_of(config(), TURKISH).letters
    assert "Ç" in vocabulary_of(config(case="upper", language="tr"), TURKISH).letters
    assert vocabulary_of(config(case="keep"), TURKISH).letters > set("Çı")
    lower = vocabulary_of(config(case="lower"), ["It IS so"])
    assert letters(lower) == "iost" and lower.normalizer == Normalizer("basic", "lower")
    upper = vocabulary_of(config(normalizer="basic"), ["It IS so"])
    assert (upper.symbols, upper.normalizer) == (STANDARD, Normalizer("basic", "upper"))
    with pytest.raises(UsageError, match="writes capitals"):
        config(normalizer="english", case="lower")


def test_digits_join_no_alphabet_but_one_that_lists_them(tmp_path):
    vocabulary = vocabulary_of(config(), ["yıl 2023", "ışık"])
    assert letters(vocabulary) == "klyış"
    with pytest.raises(SpellingError, match="'2'"):
        vocabulary.transcript_ids("yıl 2023")
    (tmp_path / "letters.txt").write_text("y\nı\nl\n-\n2\n0\n3\n", encoding="utf-8")
    listed = vocabulary_of(config(alphabet=str(tmp_path / "letters.txt")), [])
    assert listed.symbols == ("<pad>", "y", "ı", "l", "-", "2", "0", "3", "|")
    assert round_trip(listed, "yıl-2023") == "yıl-2023"
    lines = " ".join(alphabet_lines(vocabulary, ["a", "b"], ["yıl 2023", "ışık"]))
    assert "Digits that the alphabet lacks: 4 in 1 utterances (a first)" in lines
    assert "Digits" not in " ".join(alphabet_lines(listed, ["a"], ["yıl 2023"]))


def test_alphabets_come_from_a_checkpoint_and_from_files(tmp_path):
    labels = ("[PAD]", "|", "a", "ç")
    vocabulary = vocabulary_of(
        config(alphabet="checkpoint"), TURKISH, start=Vocabulary.from_labels(labels)
    )
    assert (vocabulary.symbols, str(vocabulary.normalizer)) == (labels, "basic")
    vocab = tmp_path / "vocab.json"
    vocab.write_text(json.dumps({label: i for i, label in enumerate(labels)}), encoding="utf-8")
    assert vocabulary_of(config(alphabet=str(vocab)), []).symbols == labels
    assert vocabulary_of(config(alphabet="english"), TURKISH).symbols == STANDARD
    with pytest.raises(UserError, match="has no labels"):
        vocabulary_of(config(alphabet="checkpoint"), TURKISH)
    with pytest.raises(UserError, match="cannot be read"):
        vocabulary_of(config(alphabet="missing.txt"), TURKISH)
    (tmp_path / "empty.txt").write_text("<pad>\n|\n")
    with pytest.raises(UserError, match="has no letters"):
        vocabulary_of(config(alphabet=str(tmp_path / "empty.txt")), TURKISH)


def test_a_kept_vocabulary_remembers_its_normaliser(tmp_path):
    vocabulary = vocabulary_of(config(language="tr"), TURKISH)
    keep_vocabulary(vocabulary, tmp_path)
    kept = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert kept["metadata"]["normalizer"] == {"name": "basic", "case": "lower", "language": "tr"}
    assert vocabulary_of(config(), [], tmp_path) == vocabulary


def test_runs_from_before_there_were_alphabets_go_on(tmp_path):
    run = tmp_path
    (run / "log.jsonl").write_text('{"update": 1}\n')
    check_settings(run, config())
    settings = json.loads((run / "run.json").read_text())
    for name in ("alphabet", "normalizer", "case", "language"):
        del settings[name]
    (run / "run.json").write_text(json.dumps(settings))
    check_settings(run, config())
    with pytest.raises(UsageError, match="alphabet was auto and is english"):
        check_settings(run, config(alphabet="english"))


def test_lines_list_letters_rare_ones_and_changes():
    vocabulary = vocabulary_of(config(), [*RUSSIAN, "привет " * 20])
    lines = list(alphabet_lines(vocabulary, ["u1", "u2", "u3"], [*RUSSIAN, "привет " * 20]))
    assert lines[0].startswith("Alphabet: 19 symbols, normaliser basic; letters in the transcripts")
    assert "п 21" in lines[0]
    assert "ж 1 (u2)" in lines[1] and "п 21" not in lines[1]
    assert lines[2:] == [
        "The normaliser basic changed 1 of 3 transcripts: punctuation ',' 1.",
        "  u1: Привет, мир -> привет мир",
    ]
    dotted = vocabulary_of(config(), TURKISH)
    assert any("--language tr" in line for line in alphabet_lines(dotted, "ab", TURKISH))


def test_english_as_librispeech_writes_it_is_not_remarked_on():
    english = ["IT'S SO", "so it is"]
    assert not list(alphabet_lines(vocabulary_of(config(), english), "ab", english))
