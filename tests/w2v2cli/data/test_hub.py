"""Repositories of the hub, fetched by huggingface_hub from a local server that speaks like it."""

import errno
import json
import logging
import shutil
from pathlib import Path

import pytest
from hub_server import HubServer, closed_port, git_hash, sha256
from huggingface_hub import constants, try_to_load_from_cache

from w2v2cli.data import hub
from w2v2cli.data.downloads import DownloadError
from w2v2cli.data.hub import Repository, fetch_files, fetch_repository, parse_repository
from w2v2cli.data.locations import ModelLocation, found_here, resolve_lm, resolve_model
from w2v2cli.data.verification import check_file, fetched_files
from w2v2cli.errors import UsageError, UserError

NAME = "org/name"
WEIGHTS = bytes(range(256)) * 4000  # about 1 MB
CTC = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}
FILES = {
    "config.json": json.dumps(CTC).encode(),
    "preprocessor_config.json": b"{}",
    "vocab.json": b'{"A": 0}',
    "model.safetensors": WEIGHTS,
    "README.md": b"nobody asked",
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; no pauses between retries, no token."""
    for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def server(cache, monkeypatch):
    server = HubServer()
    server.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    yield server
    server.stop()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_repository_is_fetched_once_and_nothing_that_is_not_needed(server, cache):
    commit = server.publish(NAME, FILES)
    seen = []
    location = resolve_model(NAME, lambda *progress: seen.append(progress))
    folder = cache / "models--org--name" / "snapshots" / commit
    assert location == ModelLocation(NAME, folder, None, commit)
    assert names_in(folder) == sorted(FILES.keys() - {"README.md"})
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert seen[-1] == ("model.safetensors", len(WEIGHTS), len(WEIGHTS))
    asked = len(server.asked)
    assert resolve_model(NAME) == location
    assert len(server.asked) == asked


def test_what_a_killed_fetch_left_goes_once_the_file_is_there(server, cache):
    """The library begins anew under another name, and leaves the old one for ever."""
    server.publish(NAME, FILES)
    blobs = cache / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(WEIGHTS)}.e1504ea0.incomplete").write_bytes(WEIGHTS[:1000])
    (blobs / f"{'0' * 64}.e1504ea0.incomplete").write_bytes(b"of another file")
    resolve_model(NAME)
    assert [path.name[:8] for path in blobs.glob("*.incomplete")] == ["00000000"]


def test_the_cache_is_the_one_of_transformers(server, monkeypatch):
    commit = server.publish(NAME, FILES)
    folder = resolve_model(NAME).path
    assert try_to_load_from_cache(NAME, "vocab.json") == str(folder / "vocab.json")
    # And the other way round: what another program fetched is not fetched again.
    server.asked.clear()
    for file in ("vocab.json", "preprocessor_config.json"):
        (folder / file).unlink()
    resolve_model(NAME)
    assert not [line for line in server.asked if "model.safetensors" in line]
    assert try_to_load_from_cache(NAME, "vocab.json", revision=commit) is not None


def test_the_second_use_needs_no_network(server, monkeypatch):
    server.publish(NAME, FILES)
    location = resolve_model(NAME)
    server.asked.clear()
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    assert resolve_model(NAME) == location
    assert resolve_model(f"{NAME}@main").path == location.path
    assert resolve_model(f"{NAME}@{location.commit}").path == location.path
    (location.path / "added_tokens.json").unlink(missing_ok=True)
    shutil.rmtree(location.path.parents[1] / ".no_exist")
    assert resolve_model(NAME) == location  # what `hf download` fetches has no such notes
    (location.path / "vocab.json").unlink()
    with pytest.raises(UserError, match=r"^org/name lacks vocab\.json on this machine and the n"):
        resolve_model(NAME)
    with pytest.raises(
        UserError, match=r"^org/other is not on this machine and the network is off: unset W2V2"
    ):
        resolve_model("org/other")
    assert server.asked == []


def test_a_pretrained_model_needs_no_vocabulary_offline(server, monkeypatch):
    settings = json.dumps({**CTC, "architectures": ["Wav2Vec2ForPreTraining"]}).encode()
    server.publish(NAME, {**FILES, "config.json": settings})
    location = resolve_model(NAME)
    shutil.rmtree(location.path.parents[1] / ".no_exist")
    (location.path / "vocab.json").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_model(NAME) == location
    (location.path / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"lacks preprocessor_config\.json"):
        resolve_model(NAME)


def test_a_revision_and_a_branch_that_moves(server):
    old = server.publish(NAME, {**FILES, "vocab.json": b'{"OLD": 0}'}, "main", "v1")
    resolve_model(NAME)
    new = server.publish(NAME, FILES, "main")
    assert resolve_model(NAME).commit == old  # on this machine, and nothing was said to change
    assert resolve_model(f"{NAME}@v1") == ModelLocation(
        f"{NAME}@v1", resolve_model(NAME).path, None, old
    )
    location = resolve_model(f"{NAME}@main")
    assert location.commit == new
    assert (location.path / "vocab.json").read_bytes() == FILES["vocab.json"]
    assert resolve_model(f"{NAME}@{old}").path.name == old
    assert resolve_model(NAME).commit == new
    with pytest.raises(
        UsageError, match=rf"^org/name has no revision 'v9': .* of {server.url}/org/name, or none"
    ):
        resolve_model(f"{NAME}@v9")


def test_a_broken_connection_goes_on_where_it_broke(server, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # it goes on at whole ones
    server.publish(NAME, FILES)
    server.breaks += [300_000, 200_000]
    seen = []
    folder = resolve_model(NAME, lambda *progress: seen.append(progress)).path
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [line.split(" bytes=")[1] for line in server.asked if "bytes=" in line]
    assert ranges == ["300000-", "500000-"]
    assert seen[-1] == ("model.safetensors", len(WEIGHTS), len(WEIGHTS))


def test_a_connection_that_stays_broken(server, monkeypatch):
    server.publish(NAME, FILES)
    server.breaks += [0] * 20
    with pytest.raises(
        DownloadError, match=r"^model\.safetensors of org/name cannot be fetched from http://127"
    ):
        resolve_model(NAME)
    server.breaks.clear()
    assert (resolve_model(NAME).path / "model.safetensors").read_bytes() == WEIGHTS
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(DownloadError, match=r"config\.json of org/other .* refused.* tries again"):
        resolve_model("org/other")


def test_an_address_where_nobody_answers_is_told_at_once(cache, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(DownloadError, match=r"config\.json of org/other .* refused.* tries again"):
        resolve_model("org/other")
    assert slept == []


def test_a_model_on_disk_serves_while_nobody_answers(server, monkeypatch):
    server.publish(NAME, FILES)
    before = resolve_model(f"{NAME}@main").path
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert resolve_model(f"{NAME}@main").path == before


def test_the_librarys_own_lines_about_retries_are_not_shown(server):
    server.publish(NAME, FILES)
    server.breaks += [300_000, 0, 200_000]
    lines = []
    handler = logging.Handler()
    handler.emit = lines.append
    log = logging.getLogger("huggingface_hub")
    log.addHandler(handler)
    try:
        resolve_model(NAME)
    finally:
        log.removeHandler(handler)
    assert lines == []


def test_what_arrives_wrong_is_not_kept(server):
    server.publish(NAME, FILES)
    wrong = WEIGHTS[:-1] + b"?"
    server.instead["model.safetensors"] = wrong  # once: the second time it comes right
    folder = resolve_model(NAME).path
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    # A damaged file of the cache is fetched again once its link is deleted, as `verify` advises.
    (folder / "model.safetensors").resolve().write_bytes(wrong)
    (folder / "model.safetensors").unlink()
    assert (resolve_model(NAME).path / "model.safetensors").read_bytes() == WEIGHTS


def test_what_arrives_wrong_twice_is_an_error(server):
    class Always(dict):
        def pop(self, file, default):
            return b"x" * len(default) if file == "vocab.json" else default

    commit = server.publish(NAME, FILES)
    server.instead = Always()
    vocabulary = FILES["vocab.json"]
    wrong, right = git_hash(b"x" * len(vocabulary)), git_hash(vocabulary)
    with pytest.raises(DownloadError, match=f"with the hash {wrong} instead of {right}: try"):
        resolve_model(NAME)
    server.instead = {}
    folder = resolve_model(NAME).path
    assert folder.name == commit
    assert (folder / "vocab.json").read_bytes() == vocabulary


def test_a_repository_that_is_not_there(server):
    with pytest.raises(
        UsageError,
        match=rf"^There is no model org/name: neither a file or folder here nor a repository at "
        rf"{server.url}\. A private one needs your token",
    ):
        resolve_model(NAME)


def test_a_gated_repository_wants_a_token_which_only_the_hub_sees(server, monkeypatch):
    server.publish(NAME, FILES)
    server.gated.add(NAME)
    with pytest.raises(
        UserError, match=rf"^org/name is gated: accept its terms at {server.url}/org/name, then set"
    ):
        resolve_model(NAME)
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.authorized.clear()
    assert (resolve_model(NAME).path / "model.safetensors").read_bytes() == WEIGHTS
    assert {host.partition(":")[0]: sent for host, sent in server.authorized} == {
        "127.0.0.1": True,
        "localhost": False,
    }


def test_a_full_disk(server):
    server.publish(NAME, FILES)

    def full(*progress):  # is called where the library writes
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        UserError, match=r"^The disk is full: config\.json of org/name does not fit"
    ):
        resolve_model(NAME, full)


def test_a_folder_that_cannot_be_written(server, cache):
    server.publish(NAME, FILES)
    cache.write_text("a file where the cache should be")
    with pytest.raises(UserError, match=r"cache.* cannot be written: (Not a dir|File exists)"):
        resolve_model(NAME)


def test_a_network_that_wants_a_login(server):
    server.bare = True
    with pytest.raises(DownloadError, match="does not answer as the hub does: does this network"):
        resolve_model(NAME)


def test_weights_of_other_shapes(server):
    rest = {name: FILES[name] for name in FILES.keys() - {"model.safetensors"}}
    server.publish("org/old", {**rest, "pytorch_model.bin": b"weights"})
    assert (resolve_model("org/old").path / "pytorch_model.bin").read_bytes() == b"weights"
    shards = {"model-00001-of-00002.safetensors": b"one", "model-00002-of-00002.safetensors": b"2"}
    index = {"weight_map": {"a": min(shards), "b": max(shards), "c": max(shards)}}
    listing = {"model.safetensors.index.json": json.dumps(index).encode()}
    server.publish("org/large", {**rest, **shards, **listing})
    folder = resolve_model("org/large").path
    assert {name: (folder / name).read_bytes() for name in shards} == shards
    (folder / min(shards)).unlink()
    assert (resolve_model("org/large").path / min(shards)).read_bytes() == b"one"
    server.publish("org/none", rest)
    with pytest.raises(
        UserError, match=r"^org/none has neither model\.safetensors nor pytorch_model\.bin"
    ):
        resolve_model("org/none")
    server.publish("org/data", {"README.md": b""})
    with pytest.raises(UserError, match=r"^org/data has no config\.json: it is not a model"):
        resolve_model("org/data")


def test_more_files_can_be_asked_for(server):
    server.publish(NAME, {**FILES, "language_model/5gram.bin": b"n-grams"})
    folder = fetch_repository(Repository(NAME), extra=("language_model/5gram.bin", "gone.txt"))
    assert (folder / "language_model" / "5gram.bin").read_bytes() == b"n-grams"


TONGUES = json.dumps({"tur": {"a": 0}, "rus": {"б": 0}, "eng": {"b": 0}}).encode()
MMS = {
    **FILES,
    "vocab.json": TONGUES,
    "tokenizer_config.json": b'{"target_lang": "eng"}',
    **{f"adapter.{name}.safetensors": name.encode() for name in ("tur", "eng")},
    **{f"adapter.{name}.bin": name.encode() for name in ("tur", "eng", "rus")},
}


def test_of_the_adapters_only_that_of_the_language_is_fetched(server, monkeypatch):
    server.publish(NAME, MMS)
    with pytest.raises(UsageError, match=r"^The model has no language 'tr'; it has tur, eng, rus"):
        resolve_model(NAME, language="tr")
    assert not [line for line in server.asked if "model.safetensors" in line]  # refused before
    location = resolve_model(NAME, language="tur")
    assert (location.language, location.title) == ("tur", "org/name (tur)")

    def adapters():
        return [name for name in names_in(location.path) if name.startswith("adapter.")]

    assert adapters() == ["adapter.tur.safetensors"]
    assert resolve_model(NAME).path == location.path
    assert resolve_model(NAME, language="eng").path == location.path
    assert adapters() == ["adapter.tur.safetensors"]  # eng's weights are those of the main file
    resolve_model(NAME, language="rus")
    assert adapters() == ["adapter.rus.bin", "adapter.tur.safetensors"]
    asked = len(server.asked)
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    assert resolve_model(NAME, language="tur") == location and len(server.asked) == asked
    (location.path / "adapter.rus.bin").unlink()
    with pytest.raises(UserError, match=r"lacks adapter\.rus\.safetensors on this machine and the"):
        resolve_model(NAME, language="rus")


def test_a_language_of_a_model_without_adapters(server):
    server.publish(NAME, FILES)
    with pytest.raises(UsageError, match=r"has no adapters of languages, so no 'tur'"):
        resolve_model(NAME, language="tur")
    for name in ("demo", "base-960h"):
        with pytest.raises(UsageError, match=f"{name} has no adapters of languages: leave out"):
            resolve_model(name, language="tur")


def test_another_network_is_refused_before_its_weights_are_fetched(server):
    for settings, reason in (
        (
            {"model_type": "wavlm"},
            r"^org/name@main holds a 'wavlm' model, which is not the network of",
        ),
        ({"model_type": "bert"}, r"^org/name@main holds a 'bert' model, not wav2vec2\."),
        (
            {"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]},
            r"^org/name@main holds a HubertForSequenceClassification, which writes no text",
        ),
    ):
        server.publish(NAME, {**FILES, "config.json": json.dumps(settings).encode()})
        with pytest.raises(UserError, match=reason):
            resolve_model(f"{NAME}@main")
    assert not [line for line in server.asked if "model.safetensors" in line]


CARRIED = {
    "language_model/attrs.json": b'{"alpha": 1.0, "beta": 0.5}',
    "language_model/unigrams.txt": b"hello\n",
    "language_model/4gram.arpa": b"\\data\\\n",
    "alphabet.json": b"{}",
}


def test_the_language_model_of_a_repository_is_fetched_when_asked_for(server, monkeypatch):
    commit = server.publish(NAME, {**FILES, **CARRIED})
    model = resolve_model(NAME)
    assert not (model.path / "language_model").exists()
    server.publish(NAME, FILES)  # main moves on; the language model belongs to the commit
    found = resolve_lm("own", model)
    assert found.path == model.path / "language_model" / "4gram.arpa"
    assert found.words.read_text() == "hello\n" and found.weights.word_score == 0.5
    asked = len(server.asked)
    assert resolve_lm("own", model) == found and len(server.asked) == asked
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    assert resolve_lm("own", model) == found
    checked = [check_file(path) for path in fetched_files(NAME + "@" + commit)]
    assert {str(check.path) for check in checked if check.fine} >= {
        f"org/name/{commit[:8]}/{file}" for file in CARRIED if "/" in file
    }


def test_a_repository_that_carries_no_language_model(server, monkeypatch):
    server.publish(NAME, FILES)
    model = resolve_model(NAME)
    with pytest.raises(UsageError, match=r"^org/name carries no language model"):
        resolve_lm("own", model)
    monkeypatch.setenv("W2V2_OFFLINE", "1")
    with pytest.raises(UserError, match=r"^org/name.* lacks language_model on this machine and th"):
        resolve_lm("own", model)


def test_a_path_goes_before_a_repository_and_a_name_before_a_path(server, tmp_path, monkeypatch):
    server.publish(NAME, FILES)
    monkeypatch.chdir(tmp_path)
    Path(NAME).mkdir(parents=True)
    assert resolve_model(NAME) == ModelLocation(NAME, Path(NAME), None)
    assert server.asked == []


def test_the_published_names_are_repositories_with_librispeechs_language_models(server):
    commit = server.publish("facebook/wav2vec2-base-960h", FILES)
    assert not found_here("base-960h")
    location = resolve_model("base-960h")
    assert (location.name, location.family, location.commit) == ("base-960h", "librispeech", commit)
    assert found_here("base-960h")
    assert resolve_model("facebook/wav2vec2-base-960h") == location
    at = resolve_model(f"base-960h@{commit}")
    assert (at.name, at.family, at.path) == (f"base-960h@{commit}", "librispeech", location.path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", Repository("org/name")),
        ("o/n.v-1_b@refs/pr/3", Repository("o/n.v-1_b", "refs/pr/3")),
        ("org/name@", None),
        ("name", None),
        ("a/b/c", None),
        ("./name", None),
        ("~/name", None),
        ("../name", None),
        ("org/a--b", None),
        ("org/a..b", None),
        ("org/name ", None),
    ],
)
def test_what_is_a_repository(text, expected):
    assert parse_repository(text) == expected


def test_files_are_verified_by_the_hashes_that_the_hub_stated(server):
    commit = server.publish(NAME, FILES)
    folder = resolve_model(NAME).path
    small = FILES["config.json"]
    checks = [check_file(path) for path in fetched_files(NAME)]
    assert [str(check.path) for check in checks] == [
        f"org/name/{commit[:8]}/{name}" for name in sorted(FILES.keys() - {"README.md"})
    ]
    assert [check.fine for check in checks] == [True] * 4
    assert checks[0].finding == f"Git's SHA-1 {git_hash(small)}"
    assert checks[1].finding == f"SHA-256 {sha256(WEIGHTS)}"
    assert fetched_files() == fetched_files(NAME) == fetched_files(f"{NAME}@{commit}")

    (folder / "config.json").resolve().write_bytes(b"{}")
    (folder / "vocab.json").resolve().unlink()
    weights = folder / "model.safetensors"
    weights.unlink()
    weights.write_bytes(WEIGHTS)  # a copy, as where the cache may hold no links
    found = {check.path.name: check for check in map(check_file, fetched_files(NAME))}
    assert {name: check.fine for name, check in found.items()} == {
        "config.json": False,
        "model.safetensors": None,
        "preprocessor_config.json": True,
        "vocab.json": False,
    }
    assert found["config.json"].finding == f"Git's SHA-1 {git_hash(b'{}')} instead of " + git_hash(
        small
    )
    assert found["model.safetensors"].finding.endswith("the hub stated none")
    with pytest.raises(UserError, match="org/other is not on this machine: there is nothing"):
        fetched_files("org/other")


def test_a_mirror_may_state_the_plain_sha1(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    plain = "a9993e364706816aba3e25717850c26c9cd0d89d"  # of "abc", FIPS 180
    assert hub.differing_hash(path, plain) is None
    assert hub.differing_hash(path, git_hash(b"abc")) is None
    assert hub.differing_hash(path, "0" * 40) == git_hash(b"abc")


def test_a_file_is_shown_by_its_repository_wherever_the_cache_lies(tmp_path):
    commit = "0123456789" * 4
    folder = tmp_path / "snapshots" / "models--org--name" / "snapshots" / commit / "language_model"
    folder.mkdir(parents=True)
    (folder / "unigrams.txt").write_bytes(b"a")
    shown = check_file(folder / "unigrams.txt").path
    assert shown == Path("org/name/01234567/language_model/unigrams.txt")


def test_chosen_files_are_fetched_once(server, monkeypatch):
    content = {"config.json": b"{}", "voices/a.bin": b"a" * 1000, "voices/b.bin": b"b", "c": b""}
    server.publish("org/voices", content)
    repository, files = Repository("org/voices"), ("config.json", "voices/a.bin")
    folder = fetch_files(repository, files)
    assert (folder / "voices" / "a.bin").read_bytes() == b"a" * 1000
    assert names_in(folder) == ["config.json", "voices"]
    asked = list(server.asked)
    assert fetch_files(repository, files) == folder and server.asked == asked
    assert (fetch_files(repository, (*files, "voices/b.bin")) / "voices/b.bin").is_file()
    with pytest.raises(DownloadError, match="org/voices has no voices/none.bin"):
        fetch_files(repository, (*files, "voices/none.bin"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_files(repository, files) == folder
    with pytest.raises(UserError, match="lacks voices/none.bin"):
        fetch_files(repository, (*files, "voices/none.bin"))
