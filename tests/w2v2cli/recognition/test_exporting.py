"""Models written for transformers with a language model, as Wav2Vec2ProcessorWithLM writes it."""

import gzip
import json
import math
import shutil

import pytest
import torch

from lm.decoding import DecodingWeights
from lm.ngram.arpa import write_arpa
from lm.ngram.carried import read_carried, write_carried
from lm.ngram.kneser_ney import count_ngrams, estimate
from models.checkpoint import Checkpoint, CheckpointError
from models.config import tiny
from models.wav2vec2 import Wav2Vec2, Wav2Vec2ForCTC
from w2v2cli.data.locations import LmLocation, ModelLocation, resolve_lm
from w2v2cli.errors import UsageError
from w2v2cli.recognition.exporting import export

TEXT = "bir iki üç iki bir dört iki üç bir".split()
LETTERS = "bçdikortuüö"  # of TEXT
LABELS = {
    "brackets": (["[PAD]", "[UNK]", "|", *LETTERS], {}),
    "published": (["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS], {}),
    "by other names": (["_", *LETTERS, " ", "?"], {
        "blank": 0, "word_boundary": 12, "unknown": 13,
    }),
}  # fmt: skip


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    return ModelLocation("mine", tmp_path / "mine.safetensors", None)


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "words.arpa"
    write_arpa(estimate(count_ngrams([TEXT] * 4, 2)), path)
    return path


def checkpoint(labels, metadata):
    torch.manual_seed(0)
    weights = Wav2Vec2ForCTC(tiny(), len(labels)).state_dict()
    return Checkpoint(tiny(), weights, tuple(labels), metadata)


@pytest.mark.parametrize(("labels", "metadata"), LABELS.values(), ids=LABELS)
def test_the_files_are_those_of_the_processor(labels, metadata, model, arpa, tmp_path):
    weights = DecodingWeights(1.5, 0.25, unk_score=-20.0)
    lm = LmLocation("words.arpa", arpa, None, weights=weights)
    folder = tmp_path / "written"
    notes = []
    export(model, checkpoint(labels, metadata), folder, lm, notes.append)
    assert len(notes) == 1 and "LM weight 1.5 and word score 0.25" in notes[0]
    written = {path.name for path in (folder / "language_model").iterdir()}
    assert written == {"attrs.json", "unigrams.txt", "words.arpa"}
    attributes = json.loads((folder / "language_model" / "attrs.json").read_text())
    expected = {"alpha": 1.5 / math.log(10), "beta": 0.25, "unk_score_offset": -13.5}
    assert attributes == {**expected, "score_boundary": True}
    words = (folder / "language_model" / "unigrams.txt").read_text(encoding="utf-8").split()
    assert words == sorted(set(TEXT))
    alphabet = json.loads((folder / "alphabet.json").read_text(encoding="utf-8"))
    assert alphabet["is_bpe"] is False and len(alphabet["labels"]) == len(labels)
    assert {"", " ", "⁇"} < set(alphabet["labels"])
    # What was written is found again, as the model's own.
    found = resolve_lm("own", ModelLocation("x", folder, None))
    assert found.path.read_bytes() == arpa.read_bytes()
    again = [found.weights.lm_weight, found.weights.word_score, found.weights.unk_score]
    assert again == pytest.approx([1.5, 0.25, -20.0])


@pytest.mark.parametrize(("labels", "metadata"), LABELS.values(), ids=LABELS)
def test_transformers_reads_them(labels, metadata, model, arpa, tmp_path):
    pytest.importorskip("pyctcdecode")
    from transformers import AutoProcessor

    folder = tmp_path / "written"
    export(model, checkpoint(labels, metadata), folder, LmLocation("words.arpa", arpa, None))
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Wav2Vec2ProcessorWithLM"
    # Emissions that are sure of two words.
    alphabet = processor.decoder._alphabet.labels
    path = [alphabet.index(symbol) for symbol in "iki üç "]
    logits = torch.full((len(path), len(labels)), -20.0)
    logits[range(len(path)), path] = 0.0
    assert processor.decode(logits.numpy()).text == "iki üç"


def test_other_languages_models_and_kinds(model, arpa, tmp_path):
    labels = LABELS["published"][0]
    packed = tmp_path / "words.arpa.gz"
    packed.write_bytes(gzip.compress(arpa.read_bytes()))
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("iki\ti k i |\nxyz\tx y z |\n", encoding="utf-8")
    folder = tmp_path / "written"
    export(model, checkpoint(labels, {}), folder, LmLocation("words", packed, lexicon))
    found = read_carried(folder / "language_model")
    assert found.path.name == "words.arpa" and found.path.read_bytes() == arpa.read_bytes()
    assert found.unigrams.read_text() == "iki\n"
    assert found.unk_score_offset == -10.0  # pyctcdecode's, where unknown words are forbidden
    other = tmp_path / "other.arpa"
    shutil.copy(arpa, other)
    with pytest.raises(ValueError, match=r"holds words\.arpa already: name another folder"):
        write_carried(folder / "language_model", other, [], DecodingWeights())
    with pytest.raises(UsageError, match="takes an ARPA file or a KenLM binary, with a fine-t"):
        export(model, checkpoint(labels, {}), folder, LmLocation("t", arpa, None, "transformer"))
    phones = checkpoint(["<pad>", "aa", "iy", "k"], {"units": "phones", "word_boundary": None})
    new = tmp_path / "new"
    with pytest.raises(ValueError, match="a model of characters with a word boundary"):
        export(model, phones, new, LmLocation("words", arpa, None))
    taken = checkpoint(["-", "<pad>", "|", *"ik"], {"blank": 0, "word_boundary": 2})
    with pytest.raises(ValueError, match="The blank is '-', but another label has the name <pad>"):
        export(model, taken, new, LmLocation("words", arpa, None))
    assert not new.exists()


def test_what_another_model_left_in_the_folder_is_never_read_with_it(model, arpa, tmp_path):
    """transformers 5 writes processor_config.json, which counts before what is written here."""
    made = checkpoint(LABELS["published"][0], {})
    folder = tmp_path / "written"
    lm = LmLocation("words.arpa", arpa, None)
    for _ in range(2):  # its own files are replaced
        export(model, made, folder, lm)
    with pytest.raises(CheckpointError, match=r"holds alphabet\.json of another model"):
        export(model, made, folder)
    pretrained = Checkpoint(tiny(), Wav2Vec2(tiny()).state_dict(), None)
    for name in ("processor_config.json", "adapter.tur.safetensors", "special_tokens_map.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(CheckpointError, match=f"holds {name} of another model"):
            export(model, made, tmp_path / name, lm)
        assert [path.name for path in (tmp_path / name).iterdir()] == [name]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    export(model, made, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"holds tokenizer_config\.json of another model"):
        export(model, pretrained, tmp_path / "other")


def test_a_note_on_the_weights_names_no_option_that_the_export_lacks(model, arpa, tmp_path):
    lm = LmLocation("words.arpa", arpa, None, weights=DecodingWeights(1.5, 0.25))
    notes = []
    export(model, checkpoint(*LABELS["published"]), tmp_path / "written", lm, notes.append)
    assert len(notes) == 1 and "LM weight 1.5 and word score 0.25" in notes[0]
    assert "--" not in notes[0] and "attrs.json" in notes[0]
