"""The one inference worker: a thread that does one task after another, latest wins."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QThread, Signal, Slot

if TYPE_CHECKING:
    from explorer.app.state import ActivityKind

WORKER_NICENESS = 5


class Task:
    """One request to the worker, made of immutable inputs.

    Parameters
    ----------
    work : callable
        ``work(engine, task)``, called on the worker's thread; its result crosses to the GUI thread.
    done : callable
        ``done(result)``, called on the GUI thread unless the task was cancelled meanwhile.
    slot : str or None
        A newer task of the same slot replaces an older one, waiting or running; None never does.
    label : str
        What the progress line says while it runs; empty for work too short to speak of.
    kind : str
        What sort of work that is: an `explorer.app.state.ActivityKind`.
    failed : callable or None
        ``failed(error)``, on the GUI thread, before the error becomes a notice.
    """

    def __init__(
        self,
        work: Callable[[Any, Task], Any],
        done: Callable[[Any], None],
        *,
        slot: str | None = None,
        label: str = "",
        kind: ActivityKind = "other",
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.work = work
        self.done = done
        self.slot = slot
        self.label = label
        self.kind: ActivityKind = kind
        self.failed = failed
        self.cancelled = threading.Event()
        self.report: Callable[[object], None] = lambda progress: None

    def cancel(self) -> None:
        """Nobody wants the result any more; the worker gives up at the next layer or step."""
        self.cancelled.set()


class Worker(QThread):
    """Runs tasks in order on its own thread, and reports on the thread that made it.

    Parameters
    ----------
    engine : object
        What tasks work on.
    name : str
        The thread's.
    recover : callable or None
        ``recover(error)``, on the worker's thread, after a task failed: brings the engine back to where
        it can go on, and gives the error that is to be told.

    Everything but `run` is called on the GUI thread. The engine, the model and all its tensors live
    on the worker's side; only results cross. The worker hands the engine to each task and knows
    nothing else of it.
    """

    task_started = Signal(object)
    task_reported = Signal(object, object)
    task_succeeded = Signal(object, object)
    task_failed = Signal(object, object)
    drained = Signal()
    _task_ended = Signal()

    def __init__(
        self,
        engine: object,
        parent: QObject | None = None,
        *,
        name: str = "inference",
        recover: Callable[[BaseException], BaseException] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._recover = recover
        self._engine = engine
        self._waiting: deque[Task] = deque()
        self._running: Task | None = None
        self._changed = threading.Condition()
        self._stopping = False
        # Of the GUI thread alone: a task is over when its result has been answered there, in their order.
        self._unanswered: deque[Task] = deque()
        self._task_ended.connect(self._on_task_ended)

    def submit(self, task: Task) -> None:
        """Queue ``task``; a waiting or running one of its slot is cancelled. The first starts the thread."""
        with self._changed:
            if task.slot is not None:
                for other in [*self._waiting, *([self._running] if self._running else [])]:
                    if other.slot == task.slot:
                        other.cancel()
            self._waiting.append(task)
            self._changed.notify()
        self._unanswered.append(task)
        if not self.isRunning():
            self.start()

    def cancel_all(self, *, but: frozenset[str] = frozenset()) -> None:
        """Cancel everything that has not been answered, except tasks of the slots in ``but``.

        A task that has ended may be among them, its result on the way: nobody wants that either.
        """
        for task in self._unanswered:
            if task.slot not in but:
                task.cancel()

    def cancel_slot(self, slot: str) -> None:
        """Cancel the tasks of one slot that have not been answered."""
        for task in self._unanswered:
            if task.slot == slot:
                task.cancel()

    @property
    def idle(self) -> bool:
        """Whether every task that was submitted has ended and been answered, or the worker was stopped."""
        return not self._unanswered or self._stopping

    def stop(self) -> None:
        """Cancel everything and end the thread; returns when it has ended."""
        with self._changed:
            self._stopping = True
            self.cancel_all()
            self._changed.notify()
        self.wait()

    def run(self) -> None:
        """Work until stopped; on the worker's own thread."""
        if sys.platform == "linux":
            # Threads have their own niceness on Linux; the window is to win whenever both want the CPU.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WORKER_NICENESS)
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                task = self._running = self._waiting.popleft()
            self._do(task)
            with self._changed:
                self._running = None
            self._task_ended.emit()

    @Slot()
    def _on_task_ended(self) -> None:
        self._unanswered.popleft()
        if not self._unanswered:
            self.drained.emit()

    def _do(self, task: Task) -> None:
        if task.cancelled.is_set():
            return
        task.report = lambda progress: self.task_reported.emit(task, progress)
        self.task_started.emit(task)
        try:
            result = task.work(self._engine, task)
        except BaseException as error:  # noqa: BLE001 - handed over whole: an error here must reach the window
            # With the traceback go the frames, and with them what they hold: tensors, after a lack of memory.
            told = error if self._recover is None else self._recover(error)
            self.task_failed.emit(task, told)
        else:
            self.task_succeeded.emit(task, result)
