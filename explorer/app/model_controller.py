"""Answers what is asked of models: looking at them, fetching, loading, and reading what they occupy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from explorer.app import errors
from explorer.app.librarian import Librarian
from explorer.app.model_state import Looked, Refusal, Surroundings
from explorer.app.state import Activity, AppState, Notice
from explorer.app.worker import Task, Worker
from explorer.core.model_facts import DownloadProgress, LoadRequest, MemoryReading
from explorer.core.quantities import in_bytes, in_time
from explorer.core.records import ModelInfo

MEMORY_PAUSE_MS = 200


class ModelController(QObject):
    """Fetches on a thread of its own, so that a run goes on meanwhile; loads on the inference worker.

    Parameters
    ----------
    state : AppState
        What it answers to and writes.
    worker : Worker
        The inference worker, where the model lives.
    """

    loaded = Signal(object)
    """A `ModelInfo`: the engine has this model now, and no run."""
    gone = Signal()
    """The model in force was given up for one that then failed; it is loaded again."""
    replacing_began = Signal()
    """The worker is about to load: what is asked of it from here on would be asked of the new model."""
    drained = Signal()

    def __init__(self, state: AppState, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._models = state.models
        self._worker = worker
        self._library = Worker(Librarian(), self, name="library")
        self._memory_pause = QTimer(self)
        self._memory_pause.setSingleShot(True)
        self._memory_pause.setInterval(MEMORY_PAUSE_MS)
        self._memory_pause.timeout.connect(self._read_memory)
        self._fetching: Task | None = None
        self._replacing = False
        # What was in force before it was to make room; it comes back where the new one fails.
        self._given_up: LoadRequest | None = None
        library, models = self._library, self._models
        library.task_reported.connect(self._on_library_reported)
        library.task_succeeded.connect(self._on_library_succeeded)
        library.task_failed.connect(self._on_library_failed)
        library.drained.connect(self.drained)
        state.model_requested.connect(self.load)
        state.run_changed.connect(self._on_run_changed)
        models.load_requested.connect(self.load_request)
        models.look_requested.connect(self._on_look_requested)
        models.surroundings_requested.connect(self._on_surroundings_requested)
        models.cancel_requested.connect(self._on_cancel_requested)

    @property
    def idle(self) -> bool:
        """Whether nothing is being looked at or fetched."""
        return self._library.idle

    @property
    def replacing(self) -> bool:
        """Whether the worker is loading a model; False while one is still being fetched."""
        return self._replacing

    def shut_down(self) -> None:
        """Break off what is being fetched and end the library's thread; returns when it has ended."""
        self._memory_pause.stop()
        self._library.stop()

    # -- loading ------------------------------------------------------------------------------------

    @Slot(str)
    def load(self, name: str) -> None:
        """Load a model where and as models are wanted."""
        self.load_request(replace(self._models.wanted, name=name, unload_first=False))

    @Slot(object)
    def load_request(self, request: LoadRequest) -> None:
        """Fetch a model if need be, then load it; the one in force stays until the new one is ready."""
        self._models.set_refusal(None)
        self._start(request)

    def _start(self, request: LoadRequest) -> None:
        model = self._state.model
        if request.unload_first and model is not None:
            self._given_up = LoadRequest(
                model.name if model.bundled else model.source,
                model.device if len(model.placement) < 2 else "auto",
                model.dtype,
                self._models.wanted.allow_pickle,
            )
        self._models.set_loading(request)
        self._fetching = Task(
            lambda library, task: library.fetch(request.name, request.allow_pickle, task),
            lambda _: self._on_fetched(request),
            slot="fetch",
            failed=partial(self._on_failed, request),
        )
        self._library.submit(self._fetching)
        self._state.set_activity(Activity(f"Looking for {request.name} …"))

    def _on_fetched(self, request: LoadRequest) -> None:
        self._fetching = None
        self._replacing = True
        self.replacing_began.emit()
        self._models.set_download(None)
        self._worker.submit(
            Task(
                lambda engine, task: engine.load(request, task),
                partial(self._on_loaded, request),
                slot="model",
                label=f"Loading {request.name} …",
                failed=partial(self._on_failed, request),
            )
        )

    def _on_loaded(self, request: LoadRequest, model: ModelInfo) -> None:
        self._replacing = False
        self._given_up = None
        self._models.set_loading(None)
        self._models.set_wanted(replace(request, name="", unload_first=False))
        self._models.set_memory(None)
        self.loaded.emit(model)
        said = self._state.notice
        languages = self._state.languages
        notes = " ".join(filter(None, (*model.notes, languages.remark)))
        if notes:
            self._state.set_notice(Notice(notes, error=languages.refused))
        elif said is not None and not said.error:
            self._state.set_notice(None)  # a remark about the model before
        self._memory_pause.start()

    def _on_failed(self, request: LoadRequest, error: BaseException) -> None:
        self._fetching = None
        replacing = self._replacing
        self._replacing = False
        self._models.set_loading(None)
        self._models.set_download(None)
        back, self._given_up = self._given_up, None
        room = self._room(request, error)
        if replacing and request.unload_first:
            self.gone.emit()
        self._models.set_refusal(Refusal(request, errors.describe(error).text, room))
        if replacing and back is not None:
            self._start(back)

    def _room(self, request: LoadRequest, error: BaseException) -> bool:
        """Whether a model that did not fit would, were the one in force given up."""
        needed, free = getattr(error, "needed_bytes", None), getattr(error, "free_bytes", None)
        model = self._state.model
        if needed is None or free is None or model is None or request.unload_first:
            return False
        there = model.placement.get(getattr(error, "device", ""), 0)
        return bool(needed <= free + there)

    @Slot()
    def _on_cancel_requested(self) -> None:
        """Break off the download; loading itself cannot be broken off, and is over soon."""
        request = self._models.loading
        if self._fetching is None or request is None:
            return
        self._fetching.cancel()
        self._fetching = None
        part = self._models.download
        self._models.set_loading(None)
        self._models.set_download(None)
        self._state.set_activity(None)
        kept = f"; the {in_bytes(part.done_bytes)} that are there are kept" if part is not None else ""
        self._state.set_notice(Notice(f"The download of {request.name} was broken off{kept}.", error=False))

    # -- looking ------------------------------------------------------------------------------------

    @Slot(str)
    def _on_look_requested(self, name: str) -> None:
        self._models.set_looked(Looked(name))
        self._library.submit(
            Task(
                lambda library, _: library.look(name),
                self._models.set_looked,
                slot="look",
                failed=lambda error: self._models.set_looked(
                    Looked(name, problem=errors.describe(error).text)
                ),
            )
        )

    @Slot()
    def _on_surroundings_requested(self) -> None:
        self._library.submit(
            Task(lambda library, _: library.surroundings(), self._on_surroundings_read, slot="surroundings")
        )

    def _on_surroundings_read(self, surroundings: Surroundings) -> None:
        self._models.set_surroundings(surroundings)

    # -- memory ---------------------------------------------------------------------------------------

    def _on_run_changed(self) -> None:
        # Not after every slice of a run: a few times a second is as much as anybody reads.
        if self._state.model is not None and not self._memory_pause.isActive():
            self._memory_pause.start()

    def _read_memory(self) -> None:
        if self._state.model is not None:
            self._worker.submit(Task(lambda engine, _: engine.memory(), self._on_memory_read, slot="memory"))

    def _on_memory_read(self, memory: MemoryReading | None) -> None:
        self._models.set_memory(memory)

    # -- the library's reports --------------------------------------------------------------------------

    @Slot(object, object)
    def _on_library_reported(self, task: Task, progress: DownloadProgress) -> None:
        if task.cancelled.is_set():
            return
        self._models.set_download(progress)
        left = progress.seconds_left
        rest = f", {in_time(left)} left" if left is not None else ""
        self._state.set_activity(
            Activity(
                f"Downloading {progress.name}: {in_bytes(progress.done_bytes)} of "
                f"{in_bytes(progress.total_bytes)} at {in_bytes(progress.bytes_per_second)}/s{rest} …",
                progress.fraction,
            )
        )

    @Slot(object, object)
    def _on_library_succeeded(self, task: Task, result: Any) -> None:
        if not task.cancelled.is_set():
            task.done(result)

    @Slot(object, object)
    def _on_library_failed(self, task: Task, error: BaseException) -> None:
        if task.cancelled.is_set():
            return
        if task.failed is not None:
            task.failed(error)
        if task.slot != "look":
            self._state.set_activity(None)
            self._state.set_notice(errors.describe(error))
