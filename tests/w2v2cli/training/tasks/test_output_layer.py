import torch

from lm.text.vocabulary import Vocabulary
from models.config import PRESETS
from models.importers.labels import STANDARD, TORCHAUDIO
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.tasks.finetuning import Start, build
from w2v2cli.training.tasks.output_layer import rows_by_label, rows_line

from_labels = Vocabulary.from_labels
TURKISH = from_labels(("[PAD]", "[UNK]", "|", "a", "ç", "q"))


def start(vocabulary):
    model = Wav2Vec2ForCTC(PRESETS["tiny"](), len(vocabulary.symbols))
    torch.nn.init.normal_(model.output.bias)
    return Start(PRESETS["tiny"](), model.state_dict(), vocabulary)


def test_rows_are_found_by_label_role_and_the_other_case():
    new = from_labels(("<pad>", "<s>", "<unk>", "|", "A", "Ç", "ş"))
    assert rows_by_label(TURKISH, new) == [0, None, 1, 2, 3, 4, None]
    assert rows_by_label(from_labels(TORCHAUDIO), from_labels(STANDARD))[:6] == [
        0,
        None,
        None,
        None,
        1,
        2,
    ]
    assert rows_by_label(TURKISH, from_labels(("<pad>", "aa", "b"))) == [None] * 3  # phones


def test_kept_labels_keep_their_rows_and_new_ones_get_new_rows():
    began, run = start(TURKISH), FINETUNING["demo"]()
    new = from_labels(("<pad>", "|", "ç", "ş", "a", "b"))  # as many as before, in another order
    output = build(began, run, new).output
    for row, old in ((0, 0), (1, 2), (2, 4), (4, 3)):
        assert torch.equal(output.weight[row], began.weights["output.weight"][old])
        assert torch.equal(output.bias[row], began.weights["output.bias"][old])
    fresh = build(Start(began.config, None), run, new).output
    for row in (3, 5):
        assert torch.equal(output.weight[row], fresh.weight[row])


def test_the_same_labels_keep_the_whole_layer():
    began = start(TURKISH)
    output = build(began, FINETUNING["demo"](), TURKISH).output
    assert torch.equal(output.weight, began.weights["output.weight"])
    assert rows_line(TURKISH, TURKISH, "m") is None


def test_a_layer_without_labels_is_not_kept_because_its_size_matches():
    began = start(TURKISH)
    nameless = Start(began.config, began.weights)
    output = build(nameless, FINETUNING["demo"](), TURKISH).output
    assert not torch.isclose(output.weight, began.weights["output.weight"]).any(1).all()


def test_what_is_kept_is_said():
    assert rows_line(TURKISH, from_labels(("<pad>", "|", "a", "ş")), "xlsr") == (
        "Output layer: 3 of 4 symbols keep their rows of xlsr; new: ş; no longer used: [UNK] ç q."
    )
