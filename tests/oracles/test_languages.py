"""Models with an adapter for each language, as MMS's: the same logits and text as transformers.

transformers writes the folder; the adapters of two languages, drawn at random, lie beside its
weights as the published ones do: one in safetensors, one pickled.
"""

import json

import pytest
import torch
from oracles.peers import shaken
from oracles.test_families import SMALL, STABLE
from oracles.test_vocabularies import ours, texts

from models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from models.importers.huggingface import read_huggingface
from models.importers.labels import quick_outputs
from models.importers.languages import LanguageError, adapter_path, check_language, language_note
from models.importers.reader import read_model

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "|"]
ALPHABETS = {
    "eng": [*SPECIAL, *"etaonihsrdlumwcfgypbvk'xjqz"],
    "tur": [*SPECIAL, *"abcçdefgğhıijklmnoöprsştuüvyz"],
    "rus": [*SPECIAL, *"абвгдежзийклмнопрстуфхцчшщъыьэюя"],
    "urd-script_arabic": [*SPECIAL, *"ابپتٹ"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from safetensors.torch import save_file
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("mms")
    torch.manual_seed(0)
    count = len(ALPHABETS["eng"])
    config = Wav2Vec2Config(**SMALL | STABLE | {"adapter_attn_dim": 12, "vocab_size": count})
    model = shaken(Wav2Vec2ForCTC(config).eval())
    spoken(model.lm_head)
    vocabulary = folder / "vocab.json"
    nested = {name: {s: i for i, s in enumerate(part)} for name, part in ALPHABETS.items()}
    vocabulary.write_text(json.dumps(nested), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary), target_lang="eng")
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    for language, name in (("tur", "adapter.tur.safetensors"), ("rus", "adapter.rus.bin")):
        adapter = {k: torch.randn_like(v) * 0.05 for k, v in model._get_adapters().items()}
        head = torch.nn.Linear(config.hidden_size, len(ALPHABETS[language]))
        spoken(head)
        adapter |= {f"lm_head.{k}": v.detach() for k, v in head.named_parameters()}
        (save_file if name.endswith("safetensors") else torch.save)(adapter, folder / name)
    return folder


def spoken(head):
    """Make an output layer change its mind often, and say no special symbol."""
    with torch.no_grad():
        head.weight.mul_(40)
        head.bias.zero_()
        head.bias[1:4] = -1000


@pytest.mark.parametrize("language", ["eng", "tur", "rus", None])
@torch.inference_mode()
def test_logits_and_text_equal_those_of_transformers(folder, language, tmp_path):
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    model = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    processor = Wav2Vec2Processor.from_pretrained(folder)
    if language in ("tur", "rus"):
        processor.tokenizer.set_target_lang(language)
        model.load_adapter(language)
    waveforms = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(1))
    logits, expected = texts(model, processor, waveforms)
    checkpoint = read_model(folder, language)
    found, text, _ = ours(checkpoint, waveforms)
    torch.testing.assert_close(found, logits, atol=5e-3, rtol=0)
    assert text == expected and len(set("".join(text))) > 8
    assert checkpoint.labels == tuple(ALPHABETS[language or "eng"])
    assert checkpoint.metadata["language"] == (language or "eng")
    quick = quick_outputs(folder, language)
    if language == "rus":  # pickled: only the whole file tells how many outputs there are
        assert quick is None
    else:
        assert quick[0] == checkpoint.labels and quick[1].items() <= checkpoint.metadata.items()
    save_checkpoint(tmp_path / "one.safetensors", checkpoint)
    assert ours(load_checkpoint(tmp_path / "one.safetensors"), waveforms)[1] == expected


def test_languages_that_a_model_does_not_have(folder, tmp_path):
    with pytest.raises(
        LanguageError, match=r"no language 'tr'; it has tur, eng, rus, urd-script_a"
    ):
        check_language(folder, "tr")
    with pytest.raises(CheckpointError, match=r"no language 'urd'; it has urd-script_arabic, "):
        read_huggingface(folder, "urd")
    with pytest.raises(
        LanguageError, match=r"no adapter for urd-script_arabic: neither adapter\.u"
    ):
        adapter_path(folder, "urd-script_arabic")
    save_checkpoint(tmp_path / "one.safetensors", read_model(folder, "tur"))
    assert read_model(tmp_path / "one.safetensors", "tur").metadata["language"] == "tur"
    with pytest.raises(CheckpointError, match="has no adapters of languages: leave out --language"):
        read_model(tmp_path / "one.safetensors", "eng")
    assert language_note(folder, "mms") == (
        "Note: mms is for eng; --language names one of 3 other languages."
    )
    assert language_note(tmp_path, "mine") == ""


def test_an_adapter_of_another_network(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        if not file.name.startswith("adapter."):
            (tmp_path / file.name).symlink_to(file)
    adapter = load_file(folder / "adapter.tur.safetensors")
    name = next(name for name in adapter if name.endswith("adapter_layer.norm.bias"))
    del adapter[name]
    save_file(adapter, tmp_path / "adapter.tur.safetensors")
    with pytest.raises(CheckpointError, match=f"does not fit the network: they differ in {name}"):
        read_huggingface(tmp_path, "tur")
    adapter[name] = torch.zeros(48)
    save_file(adapter | {"lm_head.weight": torch.zeros(())}, tmp_path / "adapter.tur.safetensors")
    with pytest.raises(CheckpointError, match="has an output layer that is no matrix"):
        read_huggingface(tmp_path, "tur")
    (tmp_path / "adapter.tur.safetensors").write_bytes(b"no tensors")
    assert quick_outputs(tmp_path, "tur") is None
    with pytest.raises(CheckpointError, match=r"adapter\.tur\.safetensors is damaged"):
        read_huggingface(tmp_path, "tur")
