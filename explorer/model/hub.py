"""From a name to a folder: bundled models, local folders, and the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from explorer.core.secrets import is_token
from explorer.model.errors import ModelError, first_line
from explorer.resources import bundled_models, resources_folder

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.spm", "*.txt", "*.jinja"]
_HUB_TIMEOUT_SECONDS = 10


def resolve(name_or_path: str, *, allow_pickle: bool = False) -> Path:
    """The folder that ``name_or_path`` stands for; downloads a hub id that is not cached yet.

    Raises
    ------
    ModelError
        No such name, a folder without a model, or the hub cannot be reached.
    """
    name = str(name_or_path).strip()
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
    return _from_hub(name)


def _from_hub(repo_id: str) -> Path:
    # Imported here: the import takes its time, and bundled models and folders do not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, local_files_only=True, allow_patterns=_HUB_FILES))
    except LocalEntryNotFoundError:
        pass  # not in the cache yet: ask the hub
    try:
        return Path(snapshot_download(repo_id, allow_patterns=_HUB_FILES, etag_timeout=_HUB_TIMEOUT_SECONDS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"There is no bundled model or folder called {repo_id!r} (bundled: "
            f"{', '.join(bundled_models())}), and the Hugging Face hub gave none: {first_line(error)}"
        ) from error
