"""From a name to a folder: bundled models, local folders, and the Hugging Face hub.

The hub's own cache is used, so that nothing is fetched twice. Large files are fetched here and not by
``snapshot_download``, which throws a partly fetched file away; what was fetched stays beside the cache's
blobs as ``*.partial`` until the rest of it is there.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from explorer.core.model_facts import DownloadProgress
from explorer.core.quantities import in_bytes
from explorer.core.secrets import is_token
from explorer.model.errors import CancelledError, ModelError
from explorer.model.folder import INDEX, PICKLE_INDEX, PICKLE_WEIGHTS, WEIGHTS, has_weights, pickle_refusal
from explorer.model.network import check_online, hub_errors
from explorer.resources import bundled_models, resources_folder

Report = Callable[[DownloadProgress], None]

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_SMALL_SUFFIXES = frozenset({".json", ".model", ".spm", ".txt", ".jinja", ".bpe"})
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_PICKLED_SHARD = re.compile(r"pytorch_model-\d+-of-\d+\.bin")
_NOT_NEEDED = frozenset({"training_args.json", "trainer_state.json", "requirements.txt", "LICENSE.txt"})
_TIMEOUT_SECONDS = 10
_PROBE_SECONDS = 3.0
# Between two chunks a download can be cancelled; the library's own 10 MB are minutes on a slow line.
_CHUNK_BYTES = 256 * 1024
_REPORT_SECONDS = 0.1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model on the hub."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """What the hub says of a model, from one request.

    Attributes
    ----------
    repo_id, commit : str
        Its name, and the revision that this is about.
    files : tuple of RemoteFile
        What is to be fetched to run it, small files first.
    cached_bytes : int
        How much of that is in the cache already.
    licence : str
        As its card says; empty where it does not.
    parameters : int or None
        As the hub counted them from the safetensors' headers.
    pickled : bool
        Whether its weights come as pickles only.
    """

    repo_id: str
    commit: str
    files: tuple[RemoteFile, ...]
    cached_bytes: int
    licence: str
    parameters: int | None
    pickled: bool

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    @property
    def download_bytes(self) -> int:
        """What is still to be fetched."""
        return max(self.total_bytes - self.cached_bytes, 0)


def resolve(
    name_or_path: str,
    *,
    allow_pickle: bool = False,
    report: Report | None = None,
    cancelled: threading.Event | None = None,
) -> Path:
    """The folder that ``name_or_path`` stands for; downloads a hub id that is not in the cache yet.

    Raises
    ------
    ModelError
        No such name, or the hub cannot be reached (`OfflineError`), or it has no such model.
    CancelledError
        ``cancelled`` was set; what was fetched is kept for the next time.
    """
    folder = locate(name_or_path, allow_pickle=allow_pickle)
    if folder is not None:
        return folder
    name = name_or_path.strip()
    return download(look_up(name), allow_pickle=allow_pickle, report=report, cancelled=cancelled)


def locate(name_or_path: str, *, allow_pickle: bool = False) -> Path | None:
    """The folder that ``name_or_path`` stands for on this machine; None for a hub id that is not here.

    Raises
    ------
    ModelError
        It is no name that could stand for a model.
    """
    name = name_or_path.strip()
    if name in bundled_models():
        return resources_folder() / "models" / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(f"{folder} is a file; give the folder that holds the model's config.json.")
    if is_token(name):
        raise ModelError(
            "That is an access token, not a model's name; the hub takes it from HF_TOKEN or `hf auth login`."
        )
    if not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"There is no folder {name!r}, and it is no model name; bundled: {', '.join(bundled_models())}."
        )
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    if not isinstance(config, str):
        return None
    cached = Path(config).parent
    return cached if has_weights(cached, allow_pickle=allow_pickle) else None


def cached_models() -> tuple[str, ...]:
    """Hub ids of the language models that are in the cache, whole."""
    from huggingface_hub import constants

    names = (path.name.removeprefix("models--") for path in Path(constants.HF_HUB_CACHE).glob("models--*"))
    found = []
    for name in sorted(names):
        repo_id = name.replace("--", "/", 1)
        if _HUB_ID.fullmatch(repo_id) and locate(repo_id, allow_pickle=True) is not None:
            found.append(repo_id)
    return tuple(found)


def look_up(repo_id: str) -> RemoteModel:
    """Ask the hub what it has under ``repo_id``: one request, no file.

    Raises
    ------
    ModelError
        It cannot be reached (`OfflineError`), or has no such model, or none that can be run.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    check_online(repo_id)
    with hub_errors(repo_id):
        info = HfApi().model_info(repo_id, files_metadata=True, timeout=_TIMEOUT_SECONDS)
    siblings = {s.rfilename: int(s.size or 0) for s in info.siblings or () if "/" not in s.rfilename}
    if "config.json" not in siblings:
        raise ModelError(f"{repo_id} on the hub is no transformers model: it has no config.json.")
    weights, pickled = _weights_of(siblings, repo_id)
    small = [n for n in siblings if Path(n).suffix in _SMALL_SUFFIXES and n not in _NOT_NEEDED]
    small = [n for n in small if not n.endswith(".index.json")] + [n for n in ("README.md",) if n in siblings]
    files = tuple(RemoteFile(name, siblings[name]) for name in (*sorted(small), *weights))
    commit = str(info.sha)
    cached = [f for f in files if isinstance(try_to_load_from_cache(repo_id, f.name, revision=commit), str)]
    partial = sum(_partial_bytes(repo_id).values())
    card = info.card_data
    licence = getattr(card, "license_name", None) or getattr(card, "license", None) or ""
    return RemoteModel(
        repo_id=repo_id,
        commit=commit,
        files=files,
        cached_bytes=sum(file.size for file in cached) + partial,
        licence=licence if isinstance(licence, str) else ", ".join(map(str, licence)),
        parameters=None if info.safetensors is None else int(info.safetensors.total),
        pickled=pickled,
    )


def fetch_config(remote: RemoteModel) -> Path:
    """The folder with ``config.json`` of a model on the hub, and nothing else fetched for it."""
    from huggingface_hub import hf_hub_download

    with hub_errors(remote.repo_id):
        path = hf_hub_download(
            remote.repo_id, "config.json", revision=remote.commit, etag_timeout=_TIMEOUT_SECONDS
        )
    return Path(path).parent


def download(
    remote: RemoteModel,
    *,
    allow_pickle: bool = False,
    report: Report | None = None,
    cancelled: threading.Event | None = None,
) -> Path:
    """Fetch what is missing of ``remote`` into the hub's cache, going on where an earlier try ended.

    Parameters
    ----------
    report : callable or None
        Told how far it is, ten times a second, on the calling thread.
    cancelled : threading.Event or None
        Looked at four times per megabyte.

    Raises
    ------
    ModelError
        It has only pickles, which were not allowed; the disk is too full, the connection broke, or a
        file came out wrong.
    CancelledError
        ``cancelled`` was set.
    """
    from huggingface_hub import constants, hf_hub_download

    if remote.pickled and not allow_pickle:
        raise ModelError(pickle_refusal(f"of {remote.repo_id}"))
    cache = Path(constants.HF_HUB_CACHE)
    _check_disk(remote, cache)
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    meter = _Meter(remote, report, cancelled or threading.Event())
    folder: Path | None = None
    with hub_errors(remote.repo_id):
        for file in remote.files:
            meter.begin(file)
            if file.size > _CHUNK_BYTES:
                _fetch_blob(remote, file, cache, meter)
            # For a blob that is there already this only files it under its name.
            path = hf_hub_download(remote.repo_id, file.name, etag_timeout=_TIMEOUT_SECONDS)
            meter.end(file)
            folder = Path(path).parent
    assert folder is not None
    return folder


# -- parts -------------------------------------------------------------------------------------------


class _Meter:
    """Counts what was fetched, reports it, and breaks off where the person asked for that.

    Stands where the hub's library wants a progress bar, which it makes anew for every file.
    """

    def __init__(self, remote: RemoteModel, report: Report | None, cancelled: threading.Event) -> None:
        self._remote = remote
        self._report = report
        self._cancelled = cancelled
        self._done = self._before = 0
        self._file = ""
        self._started = time.perf_counter()
        self._fetched = 0
        self._reported = 0.0

    def begin(self, file: RemoteFile) -> None:
        self._file, self._before = file.name, self._done
        self._tell()

    def end(self, file: RemoteFile) -> None:
        self._done = self._before + file.size
        self._tell()

    def kept(self, count: int) -> None:
        """So much of the file was there from an earlier try."""
        self._done = self._before + count

    def __call__(self, *_: object, **__: object) -> _Meter:
        return self

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, count: float | None = 1) -> None:
        self._done += int(count or 0)
        self._fetched += max(int(count or 0), 0)
        if self._cancelled.is_set():
            raise CancelledError
        if time.perf_counter() - self._reported > _REPORT_SECONDS:
            self._tell()

    def _tell(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        self._reported = time.perf_counter()
        if self._report is not None:
            seconds = max(self._reported - self._started, 1e-3)
            self._report(
                DownloadProgress(
                    self._remote.repo_id,
                    self._file,
                    self._done,
                    self._remote.total_bytes,
                    self._fetched / seconds,
                )
            )


def _fetch_blob(remote: RemoteModel, file: RemoteFile, cache: Path, meter: _Meter) -> None:
    """Bring one large file into the cache's blobs, from where an earlier try left off."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(remote.repo_id, file.name, revision=remote.commit)
    facts = get_hf_file_metadata(url, timeout=_TIMEOUT_SECONDS)
    etag = facts.etag or ""
    blobs = _repository_folder(remote.repo_id, cache) / "blobs"
    blob = blobs / etag
    if not etag or blob.exists() or (facts.size or 0) > _most_by_http():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    partial = blobs / f"{etag}.partial"
    with partial.open("ab") as target:
        there = target.tell()
        if facts.size is not None and there > facts.size:
            target.truncate(0)
            there = 0
        meter.kept(there)
        http_get(
            url,
            target,
            resume_size=there,
            headers=build_hf_headers(),
            expected_size=facts.size,
            displayed_filename=file.name,
            tqdm_class=meter,  # type: ignore[arg-type]
        )
    # The hub names large files by their checksum.
    if _SHA256.fullmatch(etag):
        with partial.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != etag:
            partial.unlink()
            raise ModelError(f"{file.name} of {remote.repo_id} came out damaged; download it again.")
    partial.replace(blob)


def _most_by_http() -> int:
    """Beyond this size the hub gives a file only by its own protocol, which starts over when broken off."""
    from huggingface_hub import constants

    return int(constants.MAX_HTTP_DOWNLOAD_SIZE)


def _repository_folder(repo_id: str, cache: Path) -> Path:
    return cache / f"models--{repo_id.replace('/', '--')}"


def _partial_bytes(repo_id: str) -> dict[str, int]:
    from huggingface_hub import constants

    blobs = _repository_folder(repo_id, Path(constants.HF_HUB_CACHE)) / "blobs"
    return {path.name: path.stat().st_size for path in blobs.glob("*.partial")}


def _weights_of(siblings: dict[str, int], repo_id: str) -> tuple[tuple[str, ...], bool]:
    if WEIGHTS in siblings:
        return (WEIGHTS,), False
    if INDEX in siblings:
        return (INDEX, *sorted(name for name in siblings if _SHARD.fullmatch(name))), False
    pickled: tuple[str, ...] = ()
    if PICKLE_WEIGHTS in siblings:
        pickled = (PICKLE_WEIGHTS,)
    elif PICKLE_INDEX in siblings:
        pickled = (PICKLE_INDEX, *sorted(name for name in siblings if _PICKLED_SHARD.fullmatch(name)))
    if not pickled:
        raise ModelError(f"{repo_id} on the hub has no weights that this program reads (safetensors).")
    return pickled, True


def _check_disk(remote: RemoteModel, cache: Path) -> None:
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if remote.download_bytes > free:
        raise ModelError(
            f"{remote.repo_id} is {in_bytes(remote.download_bytes)} to download, but the disk of the "
            f"cache ({cache}) has {in_bytes(free)} free; HF_HOME names another place."
        )
