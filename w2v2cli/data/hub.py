"""Repositories of the Hugging Face hub, fetched by huggingface_hub into the cache of transformers.

The library brings the cache ($HF_HUB_CACHE, $HF_HOME/hub), tokens (HF_TOKEN, `hf auth login`),
mirrors (HF_ENDPOINT), locks between processes, and retries that go on where a connection broke.
What it does not do is done here: choosing the files, comparing each with the hash that the hub
states, and saying in a sentence what went wrong.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from lm.ngram.carried import is_whole
from models.importers.families import FAMILIES, why_unreadable
from models.importers.languages import ADAPTERS, check_language, own_language
from storage.hashing import BLOCK
from storage.json_text import parsed
from w2v2cli.data.downloads import DownloadError, NotThere, offline
from w2v2cli.errors import UsageError, UserError

AnswerT = TypeVar("AnswerT")
OnProgress = Callable[[str, int, int | None], None]  # file name, bytes fetched, bytes in all

REPOSITORY = re.compile(
    r"(?!.*(?:--|\.\.))(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)
MAIN = "main"  # the branch that a name without a revision means
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has
INDEX = ".index.json"  # suffix of the list of files that weights are split into
LANGUAGE_MODEL = "language_model"  # the folder of a repository that carries one
ANSWERS = 10.0  # seconds within which the hub takes up a connection
_answered: set[tuple[str, int]] = set()  # addresses that did


@dataclass(frozen=True)
class Repository:
    """A model on the hub."""

    name: str
    """`organisation/name`."""
    revision: str | None = None
    """Branch, tag or commit; None takes the commit of `main` that is on this machine, if any."""

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def parse_repository(text: str) -> Repository | None:
    """Read `organisation/name` or `organisation/name@revision`; None for any other text."""
    match = REPOSITORY.fullmatch(text)
    return Repository(match["name"], match["revision"]) if match else None


def wanted_files(extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The files beside the weights that are fetched where a repository has them.

    extra: more files, by their path in the repository.
    """
    return (
        "config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "vocab.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        *extra,
    )


def fetch_repository(
    repository: Repository,
    on_progress: OnProgress = lambda file, done, total: None,
    extra: Sequence[str] = (),
    language: str | None = None,
) -> Path:
    """Make sure that a repository's model is on disk; return its folder, named by its commit.

    Once all is on disk, the hub is asked again only where `repository` names a branch or a tag,
    which may have moved. Raises UsageError for a repository or revision that does not exist,
    UserError (DownloadError included) where it cannot be fetched.

    language: one of a model with an adapter for each; of the adapters its own is fetched.
    """
    folder, lacking = cached_folder(repository), []
    if folder is not None:
        lacking = _lacking(repository.name, folder, extra) + _lacking_adapter(folder, language)
    if folder is not None and not lacking:
        fixed = repository.revision in (None, folder.name)
        if fixed or offline():
            return folder
    if offline():
        if folder is not None and not (lacking := _needed(folder, lacking)):
            return folder
        raise _offline(repository, lacking)
    folder = fetch_settings(repository, on_progress, extra)
    get = partial(_download, repository, on_progress=on_progress)
    _fetch_adapter(repository, folder, language, get)  # before gigabytes: it may not exist
    _fetch_weights(repository, folder, get)
    return folder


def fetch_settings(
    repository: Repository,
    on_progress: OnProgress = lambda file, done, total: None,
    extra: Sequence[str] = (),
) -> Path:
    """Fetch the small files beside a repository's weights; return their folder.

    Raises as `fetch_repository`.
    """
    get = partial(_download, repository, on_progress=on_progress)
    try:
        folder = get("config.json", repository.revision or MAIN).parent
    except NotThere:
        raise UserError(
            f"{repository} has no config.json: it is not a model in the format of transformers."
        ) from None
    settings = _json(folder / "config.json")
    if settings and (reason := why_unreadable(settings, repository)) is not None:
        raise UserError(reason)
    for file in wanted_files(extra):
        if _state(repository.name, folder, file) is None:
            try:
                get(file, folder.name)
            except NotThere:
                continue
    return folder


def weights_size(repository: Repository, folder: Path) -> int:
    """Bytes of the weights that `fetch_repository` would fetch; nothing large is fetched.

    folder: the repository's in the cache, as `fetch_settings` returns it. Raises as it does.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    for file in WEIGHTS:
        try:
            url = hf_hub_url(repository.name, file, revision=folder.name, endpoint=_server())
            return _asked(partial(get_hf_file_metadata, url), repository, file).size or 0
        except NotThere:
            pass
        try:
            index = _download(repository, f"{file}{INDEX}", folder.name, lambda *progress: None)
        except NotThere:
            continue
        total = (_json(index).get("metadata") or {}).get("total_size")
        return total if isinstance(total, int) else 0
    raise _no_weights(repository)


def fetch_language_model(
    repository: Repository,
    on_progress: OnProgress = lambda file, done, total: None,
) -> Path | None:
    """The folder of the language model that a repository carries, fetched; None without one.

    Raises as `fetch_repository`.
    """
    folder = cached_folder(repository)
    if folder is not None and is_whole(folder / LANGUAGE_MODEL):
        return folder / LANGUAGE_MODEL
    if offline():
        raise _offline(repository, [LANGUAGE_MODEL])
    files = _listed(repository, LANGUAGE_MODEL)
    if not files:
        return None
    return fetch_repository(repository, on_progress, files) / LANGUAGE_MODEL


def fetch_files(
    repository: Repository,
    files: Sequence[str],
    on_progress: OnProgress = lambda file, done, total: None,
) -> Path:
    """The folder of a repository's revision with these of its files, fetched if not on disk.

    files: by their paths in the repository, `config.json` first, by which the cache finds the
    revision. Raises as `fetch_repository`; UserError too where the repository lacks one of them.
    """
    folder = cached_folder(repository)
    lacking = [file for file in files if folder is None or not (folder / file).is_file()]
    if folder is not None and not lacking:
        return folder
    if offline():
        raise _offline(repository, lacking)
    revision = MAIN if folder is None else folder.name
    for file in lacking:
        path = _download(repository, file, repository.revision or revision, on_progress)
        if folder is None:
            folder = path.parents[len(Path(file).parts) - 1]
            revision = folder.name
    assert folder is not None
    return folder


def cached_repository(repository: Repository) -> Path | None:
    """The folder of a repository of which everything needed is on disk, else None."""
    folder = cached_folder(repository)
    if folder is None or _needed(folder, _lacking(repository.name, folder, ())):
        return None
    return folder


def cached_models() -> Iterator[tuple[str, Path]]:
    """The models in the cache that can be read: each repository's name with a folder per commit."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for config in sorted(Path(HF_HUB_CACHE).glob("models--*--*/snapshots/*/config.json")):
        try:
            kind = parsed(config.read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            continue
        name = repository_of(config)
        if kind in FAMILIES and name is not None:
            yield name, config.parent


def whole_models() -> set[str]:
    """The repositories of such models of which some commit can be used offline."""
    return {
        name
        for name, folder in cached_models()
        if cached_repository(Repository(name, folder.name)) is not None
    }


def repository_of(path: Path) -> str | None:
    """The name of the repository that a file in the cache belongs to; None for any other file."""
    place = place_in_cache(path)
    return None if place is None else place[0]


def place_in_cache(path: Path) -> tuple[str, Path] | None:
    """As `repository_of`, with the file's path in the repository, below its commit."""
    for folder in path.parents:  # models--org--name / snapshots / commit / file
        if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
            name = "/".join(folder.parents[1].name.split("--")[1:])
            return name, path.relative_to(folder.parent)
    return None


def refuse_unknown_language(folder: Path, language: str) -> None:
    """Raise UsageError for a language that the model in a folder does not have."""
    try:
        check_language(folder, language)
    except ValueError as error:
        raise UsageError(str(error)) from None


def stated_hash(path: Path) -> str | None:
    """The hash that the hub stated for a file in the cache, None where it stated none.

    The cache names a file's content by its ETag: the SHA-256 of a large file, and Git's SHA-1 of a
    small one. Where the cache holds copies in place of links, no hash is known.
    """
    name = Path(os.readlink(path)).name if path.is_symlink() else ""
    return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None


def differing_hash(path: Path, stated: str) -> str | None:
    """The hash of a file's content where it is not the stated one, else None. Raises OSError.

    40 digits are the SHA-1 of Git's object, or of the content itself, which some mirrors state.
    """
    if len(stated) == 64:
        digests = [hashlib.sha256()]
    else:
        git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        digests = [git, hashlib.sha1(usedforsecurity=False)]
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for digest in digests:
                digest.update(block)
    found = [digest.hexdigest() for digest in digests]
    return None if stated in found else found[0]


def cached_folder(repository: Repository) -> Path | None:
    """The folder of a repository's revision in the cache, complete or not."""
    from huggingface_hub import try_to_load_from_cache

    revision = repository.revision or MAIN
    config = try_to_load_from_cache(repository.name, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _state(name: str, folder: Path, file: str) -> bool | None:
    """Whether a file is in the cache; None where it is not known whether the commit has it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file, revision=folder.name)
    return None if found is None else isinstance(found, str)


def _lacking(name: str, folder: Path, extra: Sequence[str]) -> list[str]:
    """Files that are to be asked for, the weights last."""
    settings = [file for file in wanted_files(extra) if _state(name, folder, file) is None]
    for file in WEIGHTS:
        if (folder / file).is_file():
            return settings
        if (folder / f"{file}{INDEX}").is_file():
            shards = _shards(folder / f"{file}{INDEX}")
            return [*settings, *(shard for shard in shards if not (folder / shard).is_file())]
    return [*settings, " or ".join(WEIGHTS)]


def _needed(folder: Path, lacking: Sequence[str]) -> list[str]:
    """Those of the lacking files without which the model could not be used, or be used wrongly.

    What another program fetched may lack files that this one only looks at, and there is no note
    of them. A vocabulary belongs to every CTC model; without a preprocessor's settings it would
    not be known whether a waveform is normalised.
    """
    optional = set(wanted_files()) - {"preprocessor_config.json", "vocab.json"}
    if (folder / "processor_config.json").is_file():
        optional.add("preprocessor_config.json")
    architectures = _json(folder / "config.json").get("architectures") or []
    if not any("CTC" in str(name) for name in architectures):
        optional.add("vocab.json")
    return [file for file in lacking if file not in optional]


def _lacking_adapter(folder: Path, language: str | None) -> list[str]:
    """The adapter of a language, where it is not on disk and the main weights are not its own.

    Raises UsageError for a language that the model does not have.
    """
    if language is None or not (folder / "vocab.json").is_file():
        return []
    refuse_unknown_language(folder, language)
    files = [name.format(language) for name in ADAPTERS]
    here = any((folder / file).is_file() for file in files)
    return [] if here or own_language(folder) == language else files[:1]


def _fetch_adapter(
    repository: Repository, folder: Path, language: str | None, get: Callable[[str, str], Path]
) -> None:
    """Fetch what a language changes, in the first format that there is."""
    if not _lacking_adapter(folder, language):
        return
    for name in ADAPTERS:
        try:
            get(name.format(language), folder.name)
            return
        except NotThere:
            continue
    raise UserError(f"{repository} lists the language {language}, but has no adapter for it.")


def _fetch_weights(repository: Repository, folder: Path, get: Callable[[str, str], Path]) -> None:
    """Fetch the weights, of one file or of several, in the first format that there is."""
    for file in WEIGHTS:
        for listed in (file, f"{file}{INDEX}"):
            if not (folder / listed).is_file():
                try:
                    get(listed, folder.name)
                except NotThere:
                    continue
            if listed.endswith(INDEX):
                for shard in _shards(folder / listed):
                    if not (folder / shard).is_file():
                        get(shard, folder.name)
            return
    raise _no_weights(repository)


def _no_weights(repository: Repository) -> UserError:
    return UserError(f"{repository} has neither {' nor '.join(WEIGHTS)}: weights of PyTorch.")


def _shards(index: Path) -> list[str]:
    """The files that an index of weights names."""
    files = _json(index).get("weight_map")
    if not isinstance(files, dict):
        raise UserError(f"{index} does not say which file holds which weight.")
    return sorted({Path(str(file)).name for file in files.values()})


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where it holds none, as its reader will say."""
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _server() -> str:
    from huggingface_hub.constants import ENDPOINT

    return (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")


def _download(repository: Repository, file: str, revision: str, on_progress: OnProgress) -> Path:
    """Fetch a file into the cache, and compare its content with the hash that the hub states.

    A file that differs is fetched once more, since the cache may have held a damaged one. Raises
    NotThere where the repository has no such file.
    """
    for last in (False, True):
        path = _hub_download(repository, file, revision, on_progress)
        stated = stated_hash(path)
        found = stated and differing_hash(path, stated)
        if not found:
            break
        path.resolve().unlink()
        path.unlink()
        if last:
            raise DownloadError(
                f"{_server()} gave {file} of {repository} with the hash {found} instead of "
                f"{stated}: try again, or look at what is between."
            )
    return path


def _listed(repository: Repository, folder: str) -> list[str]:
    """The files in a folder of a repository, by their paths in it; empty where there is none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    hub = HfApi(endpoint=_server(), library_name="w2v2")
    if (reason := _unreachable()) is not None:
        raise _unfetched(repository, f"the list of {folder}", reason)
    try:
        entries = hub.list_repo_tree(repository.name, folder, revision=repository.revision or MAIN)
        return sorted(entry.path for entry in entries if hasattr(entry, "blob_id"))
    except EntryNotFoundError:
        return []
    except Exception as error:  # of the library, of its HTTP client
        raise _explained(error, repository, f"the list of {folder}") from error


def _hub_download(
    repository: Repository, file: str, revision: str, on_progress: OnProgress
) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    get = partial(
        hf_hub_download,
        repository.name,
        file,
        revision=revision,
        endpoint=_server(),
        tqdm_class=_bar(file, on_progress),
        library_name="w2v2",
    )
    if (reason := _unreachable()) is None:
        path = Path(_asked(get, repository, file))
        _remove_unfinished(path.resolve())
        return path
    try:  # what is in the cache serves, as where the network is off
        return Path(get(local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise _unfetched(repository, file, reason) from error


def _unreachable() -> str | None:
    """Why nobody answers at the hub's address; None where somebody does, or a proxy stands between.

    The library would try for half a minute. Each address that answers is asked once.
    """
    server = urlsplit(_server())
    host = server.hostname or ""
    if server.scheme in getproxies() and not proxy_bypass(host):
        return None
    address = (host, server.port or {"http": 80}.get(server.scheme, 443))
    if address in _answered:
        return None
    try:
        socket.create_connection(address, timeout=ANSWERS).close()
    except (OSError, UnicodeError) as error:  # a host name with an empty or a long part
        return str(error).strip() or type(error).__name__
    _answered.add(address)
    return None


def _remove_unfinished(blob: Path) -> None:
    """Remove what killed processes left of a file that is whole now.

    Nobody fetches it at the moment: the library holds a lock of it meanwhile, and looks whether it
    is there as soon as it has the lock.
    """
    if blob.parent.name == "blobs":
        for left in blob.parent.glob(f"{glob.escape(blob.name)}*.incomplete"):
            left.unlink(missing_ok=True)


def _asked(ask: Callable[[], AnswerT], repository: Repository, file: str) -> AnswerT:
    """The library's answer. Raises NotThere where the repository has no such file, UserError."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        with _silenced():
            return ask()
    except UserError:  # from the callback
        raise
    except Exception as error:  # of the library, of its HTTP client, of Xet, of the disk
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise NotThere(f"{repository} has no {file}.") from error
        raise _explained(error, repository, file) from error


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the library's own lines about retries from the terminal."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _bar(file: str, on_progress: OnProgress) -> type[Any]:
    """A progress bar that shows nothing and reports to `on_progress`."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})
            self.n = settings.get("initial") or 0

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            on_progress(file, int(self.n), self.total)

        # With these, Xet does not open a second bar for the bytes on their way.
        def update_transfer(self, n: float) -> None: ...

        def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None: ...

    return Bar


def _offline(repository: Repository, lacking: Sequence[str]) -> UserError:
    what = f"lacks {', '.join(lacking)}" if lacking else "is not"
    return UserError(
        f"{repository} {what} on this machine and the network is off: unset W2V2_OFFLINE and "
        f"HF_HUB_OFFLINE, or fetch it elsewhere (hf download {repository.name}) and copy the cache."
    )


def _explained(error: Exception, repository: Repository, file: str) -> UserError:
    """The sentence for a failure of the library."""
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_CACHE

    server, name = _server(), repository.name
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return UserError(
                f"The disk is full: {file} of {name} does not fit into {HF_HUB_CACHE}. Make room, "
                "or set HF_HUB_CACHE to a folder with room."
            )
        if isinstance(cause, errors.GatedRepoError):
            return UserError(
                f"{name} is gated: accept its terms at {server}/{name}, then set HF_TOKEN to your "
                "token (or hf auth login)."
            )
        if isinstance(cause, errors.RepositoryNotFoundError):
            return UsageError(
                f"There is no model {name}: neither a file or folder here nor a repository at "
                f"{server}. A private one needs your token in HF_TOKEN (or hf auth login)."
            )
        if isinstance(cause, errors.RevisionNotFoundError):
            return UsageError(
                f"{name} has no revision {repository.revision or MAIN!r}: name a branch, a tag or "
                f"a commit of {server}/{name}, or none."
            )
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return _offline(repository, ())
        if isinstance(cause, errors.FileMetadataError):
            return DownloadError(
                f"{server} does not answer as the hub does: does this network want a login, or is "
                "HF_ENDPOINT wrong?"
            )
        if isinstance(cause, OSError) and cause.errno and cause.filename:
            return UserError(f"{cause.filename} cannot be written: {cause.strerror}.")
    return _unfetched(repository, file, str(causes[-1]).strip() or type(causes[-1]).__name__)


def _unfetched(repository: Repository, file: str, reason: str) -> DownloadError:
    return DownloadError(
        f"{file} of {repository.name} cannot be fetched from {_server()}: "
        f"{reason.splitlines()[0].rstrip('.:')}. Is there a connection (https_proxy, HF_ENDPOINT)? "
        "The same call tries again."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, what caused that."""
    while error is not None:
        yield error
        error = error.__cause__
