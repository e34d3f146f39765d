"""Vocabularies as transformers' processor writes them: the same logits and the same greedy text.

Models have random weights; their output layer is scaled up, so that the best label changes often.
"""

import json
import re

import pytest
import torch
from oracles.peers import VARIANTS, shaken, transformers_config

from lm.search.greedy import greedy_search
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary
from models.checkpoint import CheckpointError, build_ctc, load_checkpoint, save_checkpoint
from models.importers.huggingface import read_huggingface
from models.importers.huggingface_writing import write_huggingface
from models.importers.labels import quick_outputs

TURKISH = [*"abcçdefgğhıijklmnoöprsştuüvyz", "'", "|", "[UNK]", "[PAD]"]
RUSSIAN = ["[PAD]", "[UNK]", *"абвгдеёжзийклмнопрстуфхцчшщъыьэюя", " ", "-"]
UPPER = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
SWAPPED = [*"|etaoinshrdlu", "</s>", "<s>", "<unk>", "<pad>"]
DIGRAPHS = ["<pad>", "|", *"abcdehijlmno", "ch", "dž", "lj", "nj", "<unk>"]
BRACKETS = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
KINDS = {
    "turkish": (TURKISH, BRACKETS),
    "russian": (RUSSIAN, {**BRACKETS, "word_delimiter_token": " "}),
    "russian, default delimiter": (RUSSIAN, BRACKETS),
    "published": (UPPER, {}),
    "do_lower_case": (UPPER, {"do_lower_case": True}),
    "specials at the end": (SWAPPED, {}),
    "several characters": (DIGRAPHS, {}),
    "another delimiter": (["_", *"abcdefghijklmno", "#", "?"], {
        "pad_token": "_", "unk_token": "?", "word_delimiter_token": "#",
        "bos_token": None, "eos_token": None,
    }),
    "named in words": (["PAD", *"abcdefghijklmno", "UNK", "WORD"], {
        "pad_token": "PAD", "unk_token": "UNK", "word_delimiter_token": "WORD",
    }),
    "the delimiter is a mark": (["<pad>", *"abcdefgh", "▁"], {"word_delimiter_token": "▁"}),
    "no delimiter": (["<pad>", "<unk>", *"日本語東京"], {}),
}  # fmt: skip


def written(labels, options, folder, outputs=None):
    """Save model and processor as transformers does; returns both, and the processor's own ids."""
    from transformers import (
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    path = folder / "vocab.json"
    path.write_text(json.dumps({label: i for i, label in enumerate(labels)}), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(path), **options)
    config = transformers_config(VARIANTS["base"])
    config.vocab_size = outputs or len(labels)
    config.pad_token_id = tokenizer.pad_token_id
    model = shaken(Wav2Vec2ForCTC(config).eval())
    with torch.no_grad():
        model.lm_head.weight.mul_(40)
        model.lm_head.bias.zero_()
        for i, label in enumerate(labels):  # which transformers writes out and we leave out
            if re.fullmatch(r"\[.*\]|<.*>|UNK|\?", label) and i != config.pad_token_id:
                model.lm_head.bias[i] = -1000
        model.lm_head.bias[len(labels) :] = -1000
    processor = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def texts(model, processor, waveforms):
    """Logits and greedy texts of transformers. Runs of spaces, which it keeps, become one."""
    inputs = processor(list(waveforms.numpy()), sampling_rate=16_000, return_tensors="pt")
    logits = model(inputs.input_values).logits
    found = processor.batch_decode(logits.argmax(-1))
    return logits, [" ".join(text.split()) for text in found]


def ours(checkpoint, waveforms):
    lengths = torch.tensor([waveforms.shape[1]] * len(waveforms))
    logits, frames = build_ctc(checkpoint)(waveforms, lengths)
    vocabulary = Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)
    found = greedy_search(logits.log_softmax(-1).numpy(), frames.tolist(), vocabulary)
    spoken = [vocabulary.text(hypotheses[0].symbols) for hypotheses in found]
    return logits, spoken, vocabulary


@pytest.mark.parametrize(("labels", "options"), KINDS.values(), ids=KINDS)
@torch.inference_mode()
def test_logits_and_greedy_text_equal_those_of_transformers(labels, options, tmp_path):
    model, processor = written(labels, options, tmp_path)
    waveforms = torch.randn(3, 32_000, generator=torch.Generator().manual_seed(1))
    logits, expected = texts(model, processor, waveforms)
    checkpoint = read_huggingface(tmp_path)
    found, spoken, vocabulary = ours(checkpoint, waveforms)
    torch.testing.assert_close(found, logits, atol=5e-3, rtol=0)
    assert spoken == expected and len(set("".join(expected))) > 4
    quick = quick_outputs(tmp_path)
    assert quick[0] == checkpoint.labels and quick[1].items() <= checkpoint.metadata.items()
    # Kept in our own file, and written for transformers again, it writes the same text.
    save_checkpoint(tmp_path / "ours.safetensors", checkpoint)
    assert ours(load_checkpoint(tmp_path / "ours.safetensors"), waveforms)[1] == expected
    assert Vocabulary.from_metadata(vocabulary.symbols, vocabulary.metadata) == vocabulary
    write_huggingface(checkpoint, tmp_path / "again")
    again = type(model).from_pretrained(tmp_path / "again").eval()
    reader = type(processor).from_pretrained(tmp_path / "again")
    assert texts(again, reader, waveforms)[1] == expected


def changed(folder, name, **values):
    """Set values in a JSON file of the folder; None takes one away."""
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    content = {k: v for k, v in {**content, **values}.items() if v is not None}
    path.write_text(json.dumps(content), encoding="utf-8")


@torch.inference_mode()
def test_tokens_that_the_tokenizer_adds_are_labels_where_outputs_are_left(tmp_path):
    """Fine-tuning scripts size the output layer by the tokenizer, which adds <s> and </s>."""
    model, processor = written(TURKISH, BRACKETS, tmp_path, outputs=len(TURKISH) + 2)
    waveforms = torch.randn(1, 32_000)
    expected = texts(model, processor, waveforms)[1]
    added = (tmp_path / "added_tokens.json").read_text()
    assert json.loads(added) == {"<s>": 33, "</s>": 34}
    for step in ("as written", "older", "named only"):
        if (
            step == "older"
        ):  # added_tokens.json and special_tokens_map.json, as transformers 4 wrote
            changed(tmp_path, "tokenizer_config.json", added_tokens_decoder=None)
            names = {f"{name}_token": {"content": f"[{name.upper()}]"} for name in ("unk", "pad")}
            changed(tmp_path, "special_tokens_map.json", **names)
            (tmp_path / "added_tokens.json").write_text(added)
        if step == "named only":
            (tmp_path / "added_tokens.json").unlink()
        checkpoint = read_huggingface(tmp_path)
        assert checkpoint.labels == (*TURKISH, "<s>", "</s>")
        assert ours(checkpoint, waveforms)[1] == expected


def test_added_tokens_beyond_the_outputs_are_no_labels(tmp_path):
    written(TURKISH, BRACKETS, tmp_path)
    assert (tmp_path / "added_tokens.json").is_file()
    assert read_huggingface(tmp_path).labels == tuple(TURKISH)
    ids = {label: i for i, label in enumerate((*TURKISH, "<s>", "</s>"))}
    changed(tmp_path, "vocab.json", **ids)
    assert read_huggingface(tmp_path).labels == tuple(TURKISH)


def test_where_the_tokenizer_names_no_blank_the_networks_pad_token_id_is_it(tmp_path):
    written(["@", *"abcdef", "|"], {}, tmp_path)
    changed(tmp_path, "config.json", pad_token_id=0)
    checkpoint = read_huggingface(tmp_path)
    assert Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata).blank == 0
    assert quick_outputs(tmp_path)[1]["blank"] == 0


def test_the_vocabularies_of_several_languages(tmp_path):
    """MMS keeps one for each; without its language nobody knows which is the model's."""
    written(TURKISH, BRACKETS, tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    nested = {"tur": vocabulary, "rus": {label: i for i, label in enumerate(RUSSIAN)}}
    (tmp_path / "vocab.json").write_text(json.dumps(nested))
    for language, said in ((None, "names none"), ("eng", "names 'eng'")):
        changed(tmp_path, "tokenizer_config.json", target_lang=language)
        with pytest.raises(CheckpointError, match=rf"2 languages \(rus, tur\), .* {said}"):
            read_huggingface(tmp_path)
    changed(tmp_path, "tokenizer_config.json", target_lang="tur")
    assert read_huggingface(tmp_path).labels == tuple(TURKISH)


REFUSED = {
    "fewer": (lambda ids: dict(list(ids.items())[:20]), {}, "labels, but the model has 33 outputs"),
    "more": (lambda ids: {**ids, "q": 33}, {}, "34 labels, but the model has 33 .* for 'q'"),
    "both cases": (lambda ids: {**ids, "A": 5}, {"do_lower_case": True}, "'a' in both cases"),
}


@pytest.mark.parametrize(("change", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_a_vocabulary_that_is_not_the_models(change, settings, message, tmp_path):
    written(TURKISH, BRACKETS, tmp_path)
    changed(tmp_path, "tokenizer_config.json", added_tokens_decoder=None, **settings)
    ids = json.loads((tmp_path / "vocab.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps(change(ids)), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_huggingface(tmp_path)
    assert quick_outputs(tmp_path) is None


def test_a_folder_without_a_vocabulary_is_not_taken_for_english(tmp_path):
    written(UPPER[:32], {}, tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no vocab\.json"):
        read_huggingface(tmp_path)


def test_words_are_spelled_as_transformers_spells_them(tmp_path):
    _, processor = written(DIGRAPHS, {}, tmp_path)
    checkpoint = read_huggingface(tmp_path)
    vocabulary = Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)
    words = ["džem", "ljdž", "chljac", "dndžnjnj", "lj", "ljj"]
    for word in words:
        assert vocabulary.spell(word) == tuple(processor.tokenizer(word).input_ids)
    lexicon = Lexicon.from_words([*words, "džq"], vocabulary)
    assert lexicon.spellings["lj"] == ((*vocabulary.spell("lj"), 1),)
    assert lexicon.unspellable == ("džq",)
    lower, _ = written(UPPER, {"do_lower_case": True}, tmp_path / "lower")
    checkpoint = read_huggingface(tmp_path / "lower")
    vocabulary = Vocabulary.from_metadata(checkpoint.labels, checkpoint.metadata)
    assert vocabulary.can_spell(["don't"]) and not vocabulary.can_spell(["DON'T"])


@torch.inference_mode()
def test_phones_are_written_as_transformers_writes_them(tmp_path):
    from transformers import (
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2PhonemeCTCTokenizer,
        Wav2Vec2Processor,
    )

    labels = ["<pad>", "<s>", "</s>", "<unk>", "n", "aɪ", "t", "ə", "tʃ", "iː", "dʒ", "s"]
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({label: i for i, label in enumerate(labels)}), encoding="utf-8")
    tokenizer = Wav2Vec2PhonemeCTCTokenizer(str(path), do_phonemize=False)
    config = transformers_config(VARIANTS["base"])
    config.vocab_size = len(labels)
    torch.manual_seed(0)
    model = shaken(Wav2Vec2ForCTC(config).eval())
    model.lm_head.weight.mul_(40)
    model.lm_head.bias.zero_()
    model.lm_head.bias[1:4] = -1000
    processor = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    waveforms = torch.randn(3, 32_000, generator=torch.Generator().manual_seed(1))
    expected = texts(model, processor, waveforms)[1]
    checkpoint = read_huggingface(tmp_path)
    assert ours(checkpoint, waveforms)[1] == expected and len({*" ".join(expected).split()}) > 3
    assert checkpoint.metadata["units"] == "phones"
