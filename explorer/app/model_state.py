"""The part of the shared state that is about which model: what is offered, looked at, fetched, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from explorer.core.devices import Device, PrecisionChoice
from explorer.core.model_facts import DownloadProgress, LoadRequest, MemoryReading, ModelFacts


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this machine has for a model.

    Attributes
    ----------
    devices : tuple of Device
        Fastest first, with what is free on each now.
    precisions : dict
        By kind of device (``cpu``, ``cuda``, ``mps``): the dtypes, with the reason where one cannot be had.
    offline : str
        Why the hub cannot be asked; empty where it can.
    cached : tuple of str
        Hub ids of the models that are in the hub's cache, whole.
    """

    devices: tuple[Device, ...]
    precisions: dict[str, tuple[PrecisionChoice, ...]]
    offline: str
    cached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at a model.

    Attributes
    ----------
    name : str
        Which.
    facts : ModelFacts or None
        None while it is being looked at, and where that failed.
    problem : str
        Why that failed, in one sentence.
    """

    name: str
    facts: ModelFacts | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A load that failed, and whether giving up the model in force would make room.

    Attributes
    ----------
    request : LoadRequest
        What was asked for.
    text : str
        Why it failed, in one sentence.
    room_by_unloading : bool
        Whether it would fit in the place of the model in force.
    """

    request: LoadRequest
    text: str
    room_by_unloading: bool = False


class ModelState(QObject):
    """Held by `AppState` as ``models``; the same rules: set on the GUI thread, one signal per field."""

    surroundings_changed = Signal()
    looked_changed = Signal()
    loading_changed = Signal()
    download_changed = Signal()
    refusal_changed = Signal()
    memory_changed = Signal()
    wanted_changed = Signal()

    surroundings_requested = Signal()
    look_requested = Signal(str)
    load_requested = Signal(object)
    cancel_requested = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._surroundings: Surroundings | None = None
        self._looked: Looked | None = None
        self._loading: LoadRequest | None = None
        self._download: DownloadProgress | None = None
        self._refusal: Refusal | None = None
        self._memory: MemoryReading | None = None
        self._wanted = LoadRequest("")

    @property
    def surroundings(self) -> Surroundings | None:
        """The devices and whether the hub can be asked; None until that was looked at."""
        return self._surroundings

    def set_surroundings(self, surroundings: Surroundings | None) -> None:
        """The machine was looked at."""
        self._set("surroundings", surroundings)

    @property
    def looked(self) -> Looked | None:
        """The model that was looked at last."""
        return self._looked

    def set_looked(self, looked: Looked | None) -> None:
        """A model is being looked at, or was."""
        self._set("looked", looked)

    @property
    def loading(self) -> LoadRequest | None:
        """What is being fetched or loaded now; None when nothing is."""
        return self._loading

    def set_loading(self, loading: LoadRequest | None) -> None:
        """Fetching or loading began, or ended."""
        self._set("loading", loading)

    @property
    def download(self) -> DownloadProgress | None:
        """How far the download is; None when there is none."""
        return self._download

    def set_download(self, download: DownloadProgress | None) -> None:
        """The download went on, or ended."""
        self._set("download", download)

    @property
    def refusal(self) -> Refusal | None:
        """Why the last load failed; None after one that did not."""
        return self._refusal

    def set_refusal(self, refusal: Refusal | None) -> None:
        """A load failed."""
        self._set("refusal", refusal)

    @property
    def memory(self) -> MemoryReading | None:
        """What the model in force and its run occupy; None before the first."""
        return self._memory

    def set_memory(self, memory: MemoryReading | None) -> None:
        """The memory was read."""
        self._set("memory", memory)

    @property
    def wanted(self) -> LoadRequest:
        """Device, dtype and permission that a model asked for by its name alone is loaded with."""
        return self._wanted

    def set_wanted(self, wanted: LoadRequest) -> None:
        """The person chose a device, a dtype, or to allow pickles."""
        self._set("wanted", wanted)

    def _set(self, name: str, value: Any) -> None:
        if getattr(self, f"_{name}") == value:
            return
        setattr(self, f"_{name}", value)
        getattr(self, f"{name}_changed").emit()
