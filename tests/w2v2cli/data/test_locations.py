"""Names of models and language models, with a server that answers as OpenSLR does.

Repositories of the hub are the subject of test_hub.py.
"""

import gzip
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import CHARACTERS, Vocabulary
from models.importers.labels import TORCHAUDIO
from storage.home import home
from storage.tensors import save_tensors
from w2v2cli.app import app
from w2v2cli.data import locations as store
from w2v2cli.data.downloads import offline
from w2v2cli.data.hub import Repository
from w2v2cli.data.locations import (
    LmLocation,
    ModelLocation,
    located_model,
    model_names,
    resolve_lm,
    resolve_model,
)
from w2v2cli.errors import UsageError, UserError

SMALL = ("config.json", "preprocessor_config.json", "vocab.json")
ARPA = b"\n\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<s>\t0\n-1\t</s>\n-1\tWORD\n\n\\end\\\n"
OWN = ModelLocation("mine", Path("mine"), None)
DEMO = ModelLocation("demo", Path("demo"), "demo")
LIBRISPEECH = ModelLocation("base-960h", Path("base-960h"), "librispeech")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the server has, by path, and the paths that were asked of it."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("W2V2_LIBRISPEECH_LM", f"{url}/11/4-gram.arpa.gz")
    yield files, asked
    server.shutdown()
    server.server_close()


def put(name, *files):
    """Files of a published model where an earlier version fetched them."""
    folder = home() / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).write_bytes(b"x")
    return folder


def test_what_an_earlier_version_fetched_is_still_found(files):
    _, asked = files
    folder = put("base-960h", *SMALL, "model.safetensors")
    location = resolve_model("base-960h")
    assert location == ModelLocation("base-960h", folder, "librispeech")
    for name in ("base-960h", "facebook/wav2vec2-base-960h"):
        assert resolve_model(name) == located_model(name) == location
    other = located_model("base-960h@v2")
    assert isinstance(other, Repository) and other.revision == "v2"
    assert asked == []


def test_a_pretrained_model_may_lack_a_vocabulary_and_another_may_not(files, monkeypatch):
    names = ("config.json", "preprocessor_config.json", "pytorch_model.bin")
    folder = put("large-lv60k", *names)
    assert resolve_model("large-lv60k") == ModelLocation("large-lv60k", folder, "librispeech")
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    folder = put("base-960h", *names)
    with pytest.raises(UserError, match="facebook/wav2vec2-base-960h is not on this machine"):
        resolve_model("base-960h")
    put("base-960h", "vocab.json")
    assert resolve_model("base-960h").path == folder


@pytest.mark.parametrize(
    ("value", "off"), [("1", True), ("TRUE", True), ("0", False), ("", False), ("off", False)]
)
@pytest.mark.parametrize("name", ["W2V2_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_by_either_name(monkeypatch, name, value, off):
    monkeypatch.delenv("W2V2_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(name, value)
    assert offline() is off


def test_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/her")
    for name, value, expected in (
        ("XDG_CACHE_HOME", "", "/home/her/.cache/w2v2"),
        ("XDG_CACHE_HOME", "/cache", "/cache/w2v2"),
        ("W2V2_HOME", "~/w", "/home/her/w"),
    ):
        monkeypatch.setenv("W2V2_HOME", "")
        monkeypatch.setenv(name, value)
        assert str(home()) == expected


def test_models_of_the_user(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.touch()
    assert resolve_model(str(path)) == ModelLocation(str(path), path, None)
    assert resolve_model(str(tmp_path)).path == tmp_path


def test_a_known_name_goes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert resolve_model("demo").path == store.DEMO_MODEL
    assert resolve_model("./demo").path == Path("demo")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("base-960", r"There is no model 'base-960'; did you mean base-960h"),
        ("Large-LV60k-960h", r"did you mean large-lv60k-960h"),
        ("demos", r"did you mean demo\?"),
        ("xyzzy", r"there are demo, .*large-lv60k-960h-self, a repository of the hub, or a path\."),
        ("a/folder/model", r"There is no model at a/folder/model\."),
        ("folder/model.pt", r"There is no model at folder/model\.pt\."),
        ("model.pt", r"There is no model at model\.pt\."),
    ],
)
def test_an_unknown_model_is_answered_with_the_nearest_names(name, message):
    with pytest.raises(UsageError, match=message) as caught:
        resolve_model(name)
    assert caught.value.exit_code == 2


def test_what_ships_is_there():
    assert model_names()[0] == "demo"
    assert resolve_model("demo") == ModelLocation("demo", store.DEMO_MODEL, "demo")
    assert resolve_lm("4gram", DEMO) == LmLocation(
        "4gram", store.DEMO_LM, store.DEMO_LEXICON, owner="demo"
    )


def test_a_shipped_file_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "DEMO_MODEL", tmp_path / "demo.safetensors")
    with pytest.raises(
        UserError, match=r"demo\.safetensors that ships with w2v2 is missing: install w2v2 again"
    ):
        resolve_model("demo")


def test_the_4gram_of_a_librispeech_model_is_librispeechs(files, monkeypatch):
    served, asked = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    location = resolve_lm("4gram", LIBRISPEECH)
    assert location == LmLocation(
        "4gram", home() / "lm" / "4-gram.arpa.gz", None, owner="librispeech"
    )
    assert location.path.read_bytes() == served["/11/4-gram.arpa.gz"]
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    assert resolve_lm("4gram", LIBRISPEECH) == location
    location.path.unlink()
    with pytest.raises(
        UserError, match=rf"fetch http.*4-gram\.arpa\.gz and put it at {location.path}\."
    ) as caught:
        resolve_lm("4gram", LIBRISPEECH)
    assert caught.value.exit_code == 1


def test_the_transformer_of_a_librispeech_model_is_the_papers(files, monkeypatch):
    served, _ = files
    url = os.environ["W2V2_LIBRISPEECH_LM"].replace("4-gram.arpa.gz", "words.pt")
    monkeypatch.setenv("W2V2_LIBRISPEECH_TRANSFORMER", url)
    served |= {"/11/words.pt": b"weights", "/11/words.dict": b"THE 3\n"}
    location = resolve_lm("transformer", LIBRISPEECH)
    assert location == LmLocation(
        "transformer", home() / "lm" / "words.pt", None, "transformer", owner="librispeech"
    )
    assert location.path.with_suffix(".dict").read_bytes() == b"THE 3\n"
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    assert resolve_lm("transformer", LIBRISPEECH) == location
    location.path.with_suffix(".dict").unlink()
    with pytest.raises(
        UserError,
        match=r"incomplete on this machine and the network is off: fetch words\.dict from http",
    ):
        resolve_lm("transformer", LIBRISPEECH)
    assert resolve_lm("transformer", DEMO) == LmLocation(
        "transformer", store.DEMO_TRANSFORMER, store.DEMO_LEXICON, "transformer", owner="demo"
    )


TURKISH = ("<pad>", "|", *"abcçdefgğhıijklmnoöprsştuüvyz")
PIECES = Vocabulary.from_labels(("<pad>", "\u2581A", "B"), units="pieces")


def own_model(tmp_path, labels, metadata=None):
    """A checkpoint of somebody's own, of which only the outputs are read."""
    path = tmp_path / "best.safetensors"
    header = {"format_version": 1, "labels": labels, "metadata": metadata or {}}
    save_tensors(path, {}, {"w2v2": header})
    return ModelLocation(str(path), path, None)


@pytest.mark.parametrize(
    "labels",
    [CHARACTERS, TORCHAUDIO, tuple(label.lower() for label in CHARACTERS)],
    ids=["published", "torchaudio", "small"],
)
@pytest.mark.parametrize("name", ["4gram", "librispeech-4gram"])
def test_the_4gram_of_a_models_alphabet_is_taken_not_of_its_name(files, tmp_path, labels, name):
    served, _ = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    location = resolve_lm(name, own_model(tmp_path, labels))
    path = home() / "lm" / "4-gram.arpa.gz"
    assert location == LmLocation(name, path, None, owner="librispeech")


@pytest.mark.parametrize("name", ["4gram", "librispeech-4gram"])
@pytest.mark.parametrize(
    ("labels", "metadata"),
    [
        (TURKISH, {}),
        (("<pad>", "sh", "ih", "iy"), {"units": "phones"}),
        (("<pad>", "\u2581ça"), {"normalizer": Normalizer("basic", "lower").metadata}),
    ],
    ids=["Turkish", "phones", "pieces"],
)
def test_a_model_of_another_alphabet_is_told_to_build_its_own(
    files, tmp_path, labels, metadata, name
):
    _, asked = files
    model = own_model(tmp_path, labels, metadata)
    with pytest.raises(UsageError, match=rf"--lm {name} is English and .* \(w2v2 lm build\)"):
        resolve_lm(name, model)
    assert asked == []  # nothing was fetched in vain


def test_letters_beside_a_to_z_need_the_full_name(files, tmp_path):
    served, _ = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    model = own_model(tmp_path, (*CHARACTERS, "-", "É"))
    with pytest.raises(UsageError, match="writes another alphabet"):
        resolve_lm("4gram", model)
    assert resolve_lm("librispeech-4gram", model).path.is_file()


def test_word_pieces_of_english_take_librispeechs(files):
    served, _ = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    assert resolve_lm("4gram", OWN, vocabulary=PIECES).path.is_file()


def test_the_demo_model_takes_librispeechs_by_its_full_name(files):
    served, _ = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    assert resolve_lm("librispeech-4gram", resolve_model("demo")).owner == "librispeech"
    assert resolve_lm("demo-4gram", LIBRISPEECH).path == store.DEMO_LM


def test_no_language_model_reads_no_model():
    assert resolve_lm("none", OWN) == LmLocation("none", None, None)


def test_the_language_model_that_a_folder_carries(tmp_path):
    model = ModelLocation("mine", tmp_path, None)
    with pytest.raises(UsageError, match="mine carries no language model: .* no folder language_m"):
        resolve_lm("own", model)
    folder = tmp_path / "language_model"
    folder.mkdir()
    attributes = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": False}
    (folder / "attrs.json").write_text(json.dumps(attributes))
    (folder / "unigrams.txt").write_text("hello\nworld\n")
    (folder / "5gram.bin").write_bytes(store.KENLM_START + b" format version 5\n\0")
    found = resolve_lm("own", model)
    assert (found.path, found.kind) == (folder / "5gram.bin", "kenlm")
    assert (found.words, found.lexicon) == (folder / "unigrams.txt", None)
    assert found.weights.lm_weight == pytest.approx(1.1513, abs=1e-4)
    assert found.weights.word_score == 1.5 and "score_boundary" in found.note
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("HELLO\tH E L L O |\n")
    given = resolve_lm("own", model, lexicon)
    assert (given.words, given.lexicon) == (None, lexicon)
    (folder / "unigrams.txt").write_text("")
    with pytest.raises(UsageError, match=r"unigrams\.txt beside it is empty: .* --lexicon"):
        resolve_lm("own", model)
    (folder / "5gram.bin").write_bytes(ARPA)
    assert (resolve_lm("own", model).kind, resolve_lm("own", model).words) == ("arpa", None)
    (folder / "attrs.json").write_text("[]")
    with pytest.raises(UserError, match=r"attrs\.json is not a JSON object"):
        resolve_lm("own", model)


def test_language_models_are_fetched_ahead(files):
    served, _ = files
    served["/11/4-gram.arpa.gz"] = gzip.compress(ARPA)
    done = CliRunner().invoke(app, ["lm", "fetch", "librispeech-4gram"])
    assert done.exit_code == 0, done.output
    path = home() / "lm" / "4-gram.arpa.gz"
    assert done.stdout == f"{path}: 0.0 MB\n" and path.is_file()
    wrong = CliRunner().invoke(app, ["lm", "fetch", "librispeech-4gram", "4gram"])
    assert wrong.exit_code == 2
    assert "NAME takes librispeech-4gram or librispeech-transformer, got '4gram'" in wrong.stderr
    missing = CliRunner().invoke(app, ["lm", "fetch", "librispeech-transformer"])
    assert missing.exit_code == 1


def test_language_models_of_the_user(tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("WORD\tW O R D |\n")
    for name, content in (
        ("a.arpa", ARPA),
        ("a.arpa.gz", gzip.compress(ARPA)),
        ("lm.txt", ARPA.lstrip()),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert resolve_lm(str(path), OWN) == LmLocation(str(path), path, None)
        assert resolve_lm(str(path), OWN, lexicon).lexicon == lexicon
    binary = tmp_path / "lm.binary"
    binary.write_bytes(store.KENLM_START + b" format version 5\n\0")
    assert resolve_lm(str(binary), OWN, lexicon).path == binary
    with pytest.raises(
        UsageError, match=r"lm\.binary was built without its words: give them by --lexicon"
    ):
        resolve_lm(str(binary), OWN)
    with pytest.raises(UsageError, match=r"There is no lexicon at gone\.txt\."):
        resolve_lm("none", OWN, Path("gone.txt"))


def arpa_of(tmp_path, words):
    """An ARPA file with these unigrams."""
    lines = "".join(f"-1\t{word}\t0\n" for word in ("<s>", "</s>", "<unk>", *words))
    path = tmp_path / "lm.arpa"
    path.write_text(f"\\data\\\nngram 1={3 + len(words)}\n\n\\1-grams:\n{lines}\n\\end\\\n")
    return path


ENGLISH_LETTERS = CHARACTERS[5:]


@pytest.mark.parametrize(
    ("words", "labels", "metadata", "symbols"),
    [
        (["|", *ENGLISH_LETTERS], CHARACTERS, {}, True),
        (ENGLISH_LETTERS[:20], CHARACTERS, {}, True),
        (["|", *ENGLISH_LETTERS, "é"], CHARACTERS, {}, True),
        (["A", "I"], CHARACTERS, {}, False),  # a tiny model of words
        (["THE", *ENGLISH_LETTERS], CHARACTERS, {}, False),
        (["SCHON", *ENGLISH_LETTERS], CHARACTERS, {}, False),
        ([*"天地人", "。"], ("<pad>", "|", *"天地人"), {}, True),
        (["天地", "人"], ("<pad>", "|", *"天地人"), {}, False),
        (["\u2581THE", "S"], ("<pad>", "\u2581THE", "S"), {}, True),
        (["\u2581THE", "\u2581CAT"], ("<pad>", "\u2581THE", "S"), {}, False),
        (["sh", "ih"], ("<pad>", "sh", "ih"), {"units": "phones"}, True),
    ],
)
def test_a_language_model_of_symbols_is_told_from_one_of_words(
    tmp_path, words, labels, metadata, symbols
):
    path, model = arpa_of(tmp_path, words), own_model(tmp_path, labels, metadata)
    assert resolve_lm(str(path), model).symbols is symbols
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("WORD\tW O R D |\n")
    assert resolve_lm(str(path), model, lexicon).symbols is False


def test_a_language_model_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.arpa").write_bytes(b"\xef\xbb\xbf" + ARPA)
    assert resolve_lm(str(tmp_path / "a.arpa"), OWN).kind == "arpa"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.arpa", b"words words", r"a\.arpa is neither an ARPA file nor a KenLM binary"),
        ("a.arpa", b"", "neither an ARPA file"),
        ("a.arpa.gz", b"words words", r"a\.arpa\.gz cannot be read: Not a gzipped file"),
        ("a.arpa.gz", gzip.compress(ARPA * 9, mtime=0)[:40], r"a\.arpa\.gz cannot be read: "),
    ],
)
def test_what_is_no_language_model_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        resolve_lm(str(path), OWN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("4-gram", r"There is no language model '4-gram'; did you mean 4gram"),
        ("huge", r"there are none, 4gram, transformer, own, librispeech-4gram, .*, or a path\."),
        ("lm/x.arpa", r"There is no language model at lm/x\.arpa\."),
    ],
)
def test_an_unknown_language_model(name, message):
    with pytest.raises(UsageError, match=message):
        resolve_lm(name, DEMO)


def test_a_runs_folder_stands_for_its_best_checkpoint(tmp_path):
    best = tmp_path / "best.safetensors"
    best.write_bytes(b"weights")
    assert located_model(str(tmp_path)) == ModelLocation(str(tmp_path), best, None)
    (tmp_path / "config.json").write_text("{}")  # a folder of transformers is itself the model
    assert located_model(str(tmp_path)) == ModelLocation(str(tmp_path), tmp_path, None)
