"""State to worker to state: decides what is to be computed, and drops what is stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from explorer.app import errors
from explorer.app.attention_controller import AttentionController
from explorer.app.engine import Engine, RunUpdate
from explorer.app.generation_controller import GenerationController
from explorer.app.model_controller import ModelController
from explorer.app.reading_controller import ReadingController
from explorer.app.state import Activity, ActivityKind, AppState, Notice
from explorer.app.temperature_controller import GRID_SLOT, TemperatureController
from explorer.app.vector_controller import VectorController
from explorer.app.worker import Task, Worker
from explorer.core.branch_lanes import run_at
from explorer.core.branches import ROOT
from explorer.core.languages import LanguagePair
from explorer.core.model_facts import LoadRequest
from explorer.core.records import (
    ModelInfo,
    TokenCloud,
)
from explorer.core.tokens import TokenizedText

DEBOUNCE_MS = 250

RunWork = Callable[[Engine, Task], RunUpdate]
RunDone = Callable[[RunUpdate], None]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Where a model is to be loaded to.

    Attributes
    ----------
    device : str or None
        E.g. ``cuda:0``; None lets the program choose.
    dtype : str
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    threads : int
        CPU threads for the model.
    allow_pickle : bool
        Whether weights may be read from pickles.
    """

    device: str | None = None
    dtype: str = "auto"
    threads: int = 1
    allow_pickle: bool = False


class Controller(QObject):
    """Answers every change of the state that needs the model. Lives on the GUI thread.

    One run is current at a time, known by its id; whatever arrives for another is dropped.
    """

    settled = Signal()
    """Emitted when the worker has nothing left to do."""

    _notice_raised = Signal(object)

    def __init__(self, state: AppState, options: ModelOptions, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        engine = Engine(options.threads)
        self._worker = Worker(engine, self, recover=engine.recover)
        self._run_id = 0
        self._finishing = False
        # Text and languages of the current run.
        self._begun: tuple[str, LanguagePair] | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(DEBOUNCE_MS)
        self._pause.timeout.connect(self._begin)
        # Ways to another branch that the worker has not gone yet, while the state is there already.
        self._moves = 0
        state.models.set_wanted(
            LoadRequest("", options.device, options.dtype, allow_pickle=options.allow_pickle)
        )
        self._models = ModelController(state, self._worker, self)
        self._vectors = VectorController(state, self._worker, self)
        self._generation = GenerationController(state, self._worker, self)
        self._attention = AttentionController(state, self._worker, self)
        self._temperatures = TemperatureController(state, self._worker, self)
        self._readings = ReadingController(state, self._worker, self)
        self._connect()

    def _connect(self) -> None:
        state, worker = self._state, self._worker
        worker.task_started.connect(self._on_task_started)
        worker.task_reported.connect(self._on_task_reported)
        worker.task_succeeded.connect(self._on_task_succeeded)
        worker.task_failed.connect(self._on_task_failed)
        worker.drained.connect(self._on_worker_drained)
        self._notice_raised.connect(state.set_notice)
        self._models.loaded.connect(self._on_model_loaded)
        self._models.gone.connect(self._on_model_gone)
        self._models.drained.connect(self._on_worker_drained)
        self._models.replacing_began.connect(self._on_stop_requested)
        state.source_text_changed.connect(self._on_typed)
        state.languages.pair_changed.connect(self._on_typed)
        state.step_requested.connect(self._on_step_requested)
        state.force_requested.connect(self._on_force_requested)
        state.back_requested.connect(self._on_back_requested)
        state.finish_requested.connect(self._on_finish_requested)
        state.reset_requested.connect(self._on_reset_requested)
        state.stop_requested.connect(self._on_stop_requested)

    def install_error_hooks(self) -> None:
        """Show exceptions that nobody caught, from whichever thread, as a notice."""
        errors.install_hooks(self._notice_raised.emit)

    def shut_down(self) -> None:
        """Cancel what is going on and end the worker; returns when it has ended."""
        self._generation.stop()
        self._pause.stop()
        self._finishing = False
        self._models.shut_down()
        self._worker.stop()

    @property
    def idle(self) -> bool:
        """Whether nothing is going on or about to."""
        about_to = self._pause.isActive() or self._finishing or self._generation.waiting
        return self._worker.idle and self._models.idle and not about_to

    def tell_if_settled(self) -> None:
        """Something that was about to be asked is not wanted any more."""
        if self.idle:
            self.settled.emit()

    # -- loading ----------------------------------------------------------------------------------

    def load(self, name: str) -> None:
        """Load another model; the one in force stays until the new one is ready."""
        self._models.load(name)

    @property
    def _loading(self) -> bool:
        return self._models.replacing

    def _on_model_gone(self) -> None:
        self._abandon_run()
        self._state.set_model(None)

    @Slot(object)
    def _on_model_loaded(self, model: ModelInfo) -> None:
        self._abandon_run()
        self._state.set_model(model)
        self._worker.submit(
            Task(
                lambda engine, _: engine.cloud(),
                self._on_cloud_computed,
                slot="cloud",
                label="Computing the principal components of the whole vocabulary …",
                failed=lambda error: self._state.set_cloud_problem(str(error)),
            )
        )
        self._tokenize()
        self._begin()

    def _on_cloud_computed(self, cloud: TokenCloud) -> None:
        self._state.set_cloud(cloud)

    # -- typing -----------------------------------------------------------------------------------

    def _on_typed(self) -> None:
        """The text changed, or what it is read as and to be written in."""
        if self._state.model is None:
            return
        self._abandon_run()
        self._tokenize()
        self._pause.start()

    def _tokenize(self) -> None:
        text, language = self._state.source_text, self._state.languages.pair.source
        self._worker.submit(
            Task(lambda engine, _: engine.tokenize(text, language), self._on_tokenized, slot="tokenize")
        )

    def _on_tokenized(self, source: TokenizedText) -> None:
        typed = self._state.source_text, self._state.languages.pair.source
        if (source.text, source.language) == typed:
            self._state.set_source(source)

    # -- the run ----------------------------------------------------------------------------------

    def _abandon_run(self) -> None:
        """Give up the run in progress; what is on show of it stays until another lands."""
        self._finishing = False
        self._moves = 0
        self._pause.stop()
        self._begun = None
        self._worker.cancel_all(but=frozenset({"model", "cloud", GRID_SLOT}))

    def _begin(self) -> bool:
        """Encode the typed text now; says whether there is a text to encode."""
        self._pause.stop()
        text, languages = typed = self._state.source_text, self._state.languages.pair
        if self._state.model is None or not text.strip():
            return False
        if self._begun == typed:
            return True
        self._run_id += 1
        self._begun = typed
        run_id, params, head = self._run_id, self._state.sampling, self._state.head
        stopping = self._state.generation.stopping
        self._submit_run(
            lambda engine, task: engine.begin(run_id, text, params, head, task, stopping, languages),
            label="Encoding …",
            slot="begin",
        )
        return True

    def ensure_run(self) -> bool:
        """Before a step: see to it that a run of the typed text is there or on its way."""
        if self._loading or self._state.model is None:
            self._state.set_notice(Notice("The model is still loading; step when it is there.", error=False))
            return False
        if not self._begin():
            self._state.set_notice(Notice("The text is empty: type a sentence for the model to read."))
            return False
        return True

    def _submit_run(
        self,
        work: RunWork,
        *,
        label: str,
        slot: str | None = None,
        done: RunDone | None = None,
        kind: ActivityKind = "other",
    ) -> None:
        done = partial(self._on_run_updated, self._run_id) if done is None else done
        failed = self._on_begin_failed if slot == "begin" else self._on_run_failed
        self._worker.submit(Task(work, done, slot=slot, label=label, kind=kind, failed=failed))

    @property
    def run_id(self) -> int:
        """Which run is current."""
        return self._run_id

    def show_update(self, run_id: int, update: RunUpdate) -> None:
        """Show what a task of the current run came to; of another run it is dropped."""
        self._on_run_updated(run_id, update)

    def submit_run(self, work: RunWork, *, label: str = "") -> None:
        """Do something to the current run; the state shows what it came to."""
        self._submit_run(work, label=label)

    def go_to(self, node: int, viewed: int) -> None:
        """Show another branch at one of its steps: at once from what is known, then from the worker."""
        params = self._state.sampling
        self._move(node, viewed, lambda engine, task: engine.go_to(node, params, None, task))

    def _move(self, node: int, viewed: int | None, work: RunWork) -> bool:
        """Stand at ``node`` at once, and have the worker follow; says whether there is such a run."""
        run = self._state.run
        if self._loading or run is None or self._begun is None or run.run_id != self._run_id:
            return False
        self._finishing = False
        known = self._state.generation.outcome_at(node)
        self._state.set_run(run_at(run, node, known.text, known.stop_reason), viewed)
        self._moves += 1
        run_id = self._run_id
        done, failed = partial(self._on_moved, run_id), partial(self._on_move_failed, run_id)
        self._worker.submit(Task(work, done, failed=failed))
        return True

    def _on_moved(self, run_id: int, update: RunUpdate) -> None:
        if run_id == self._run_id:
            self._moves -= 1
            self._on_run_updated(run_id, update, self._state.viewed_step)

    def _on_move_failed(self, run_id: int, _: BaseException) -> None:
        if run_id == self._run_id:
            self._moves -= 1

    def _on_run_updated(self, run_id: int, update: RunUpdate, viewed: int | None = None) -> None:
        # What was computed before a person went to another branch is in the tree that is to come.
        if run_id != self._run_id or self._moves:
            return
        self._state.set_run(update.run, viewed)
        self._readings.show(update)

    def _on_begin_failed(self, _: BaseException) -> None:
        # There is no run; the next step encodes anew.
        self._finishing = False
        self._begun = None

    def _on_run_failed(self, _: BaseException) -> None:
        # The run stands where it stood before what failed.
        self._finishing = False

    def _go_on(self) -> None:
        """Submit the next slice of a run to the end."""
        params, head = self._state.sampling, self._state.head
        self._submit_run(
            lambda engine, task: engine.step_on(params, head, task),
            label="Generating …",
            kind="generating",
            done=partial(self._on_slice_done, self._run_id),
        )

    def _on_slice_done(self, run_id: int, update: RunUpdate) -> None:
        self._on_run_updated(run_id, update)
        if self._finishing and run_id == self._run_id:
            if update.run.finished:
                self._finishing = False
            else:
                self._go_on()

    def _on_step_requested(self) -> None:
        self._finishing = False
        if self.ensure_run() and not self._ended():
            params, head = self._state.sampling, self._state.head
            self._submit_run(lambda engine, task: engine.step(params, head, task), label="Stepping …")

    def _on_force_requested(self, token_id: int) -> None:
        run, viewed = self._state.run, self._state.viewed_step
        if not self.ensure_run():
            return
        params, head = self._state.sampling, self._state.head
        self._finishing = False
        at = None
        if run is not None and viewed is not None and run.run_id == self._run_id:
            at = (ROOT, *run.nodes)[viewed]  # what the viewed step was chosen after
        self._submit_run(
            lambda engine, task: engine.step(params, head, task, force=token_id, at=at),
            label="Forcing a token …",
        )

    def _on_back_requested(self) -> None:
        run = self._state.run
        self._finishing = False
        if self._loading or run is None or not run.steps or self._begun is None or run.run_id != self._run_id:
            return
        params, head = self._state.sampling, self._state.head
        self._submit_run(lambda engine, task: engine.back(params, head, task), label="Going back …")

    def _on_finish_requested(self) -> None:
        if self._finishing or not self.ensure_run() or self._ended():
            return
        self._finishing = True
        self._go_on()

    def _on_reset_requested(self) -> None:
        state, params = self._state, self._state.sampling
        if self._begun == (state.source_text, state.languages.pair):
            state.generation.beams_cancelled.emit()
            if self._move(ROOT, None, lambda engine, task: engine.restart(params, task)):
                return
        self._abandon_run()
        if not self._begin() and self._state.model is not None:
            self._state.set_run(None)

    def _on_stop_requested(self) -> None:
        """Stop after the step in progress; what was computed stays."""
        self._finishing = False

    def _ended(self) -> bool:
        run = self._state.run
        if run is None or run.run_id != self._run_id or not run.finished:
            return False
        self._state.set_notice(
            Notice(f"The run has ended ({run.stop_reason}); go Back or Reset to step again.", error=False)
        )
        return True

    # -- the worker's reports ------------------------------------------------------------------------

    @Slot(object)
    def _on_task_started(self, task: Task) -> None:
        if task.label:
            self._state.set_activity(Activity(task.label, kind=task.kind))

    @Slot(object, object)
    def _on_task_reported(self, task: Task, text: str) -> None:
        if not task.cancelled.is_set():
            self._state.set_activity(Activity(text, kind=task.kind))

    @Slot(object, object)
    def _on_task_succeeded(self, task: Task, result: Any) -> None:
        if not task.cancelled.is_set():
            task.done(result)

    @Slot(object, object)
    def _on_task_failed(self, task: Task, error: BaseException) -> None:
        if not task.cancelled.is_set():
            if task.failed is not None:
                task.failed(error)
            self._state.set_notice(errors.describe(error))

    @Slot()
    def _on_worker_drained(self) -> None:
        # A result handled just now may have given the worker more to do.
        if self._worker.idle and self._state.models.loading is None:
            self._state.set_activity(None)
            self.tell_if_settled()
