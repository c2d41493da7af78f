"""Whether the hub can be reached, and what its library raises, in a person's words."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from explorer.model.errors import CancelledError, ModelError, OfflineError, first_line
from explorer.resources import bundled_models

_PROBE_SECONDS = 3.0


def check_online(repo_id: str) -> None:
    """Find out within seconds whether the hub can be reached at all.

    Raises
    ------
    OfflineError
        It cannot, or may not be.
    """
    from huggingface_hub import constants

    if "/" in repo_id:
        here = f"{repo_id} is neither a folder nor in the hub's cache"
    else:
        bundled = ", ".join(bundled_models())
        here = f"There is no bundled model, folder or cached model called {repo_id!r} (bundled: {bundled})"
    if constants.is_offline_mode():
        raise OfflineError(f"{here}, and the hub may not be asked: HF_HUB_OFFLINE is set.")
    address = urlsplit(_proxy_for(constants.ENDPOINT) or constants.ENDPOINT)
    host = address.hostname or ""
    port = address.port or (80 if address.scheme == "http" else 443)
    if not _answers(host, port):
        raise OfflineError(
            f"{here}, and the Hugging Face hub ({host}) cannot be reached: this machine is offline."
        )


def offline_reason() -> str:
    """Why the hub cannot be asked, in a few words; empty where it can. Takes seconds at most."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "offline: HF_HUB_OFFLINE is set"
    try:
        check_online("")
    except OfflineError:
        return f"offline: {urlsplit(constants.ENDPOINT).hostname} cannot be reached"
    return ""


def _proxy_for(endpoint: str) -> str:
    scheme = urlsplit(endpoint).scheme
    for variable in (f"{scheme}_proxy", "all_proxy"):
        value = os.environ.get(variable) or os.environ.get(variable.upper())
        if value:
            return value if "://" in value else f"http://{value}"
    return ""


def _answers(host: str, port: int) -> bool:
    """Whether a connection can be opened within `_PROBE_SECONDS`; looking up a name has no timeout itself."""
    opened = threading.Event()

    def probe() -> None:
        try:
            with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
                opened.set()
        except OSError:
            return
        finally:
            finished.set()

    finished = threading.Event()
    threading.Thread(target=probe, name="hub probe", daemon=True).start()
    finished.wait(_PROBE_SECONDS)
    return opened.is_set()


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Say in one sentence what the hub's library raised."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except (ModelError, CancelledError):
        raise
    except GatedRepoError as error:
        raise ModelError(
            f"{repo_id} is open only to those who accepted its terms on its page at the hub; do that, log in "
            "with `hf auth login`, and try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model called {repo_id!r}, or it is private and `hf auth login` is wanting."
        ) from error
    except LocalEntryNotFoundError as error:
        raise OfflineError(
            f"The connection to the hub broke while asking for {repo_id}; try again."
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"A file of {repo_id} is not on the hub any more: {first_line(error)}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise ModelError(f"The hub answered with status {status} for {repo_id}; try again later.") from error
    except OSError as error:
        raise ModelError(f"{repo_id} could not be fetched: {first_line(error)}") from error
    except Exception as error:
        if _is_network_error(error):
            raise OfflineError(
                f"The connection to the hub broke ({type(error).__name__}) while asking for {repo_id}; what "
                "was fetched is kept, try again."
            ) from error
        raise


def _is_network_error(error: Any) -> bool:
    # By name: the library underneath has changed more than once.
    return any(kind.__name__ in {"TransportError", "RequestError"} for kind in type(error).__mro__)
