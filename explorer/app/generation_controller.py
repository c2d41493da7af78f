"""Answers what is asked of a run's branches and of the inside of its steps, by way of the one worker."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from explorer.app.player import Player
from explorer.app.worker import Task, Worker
from explorer.core.beams import BeamSearch
from explorer.core.branches import ROOT
from explorer.core.inside import InsideReading
from explorer.core.records import ModelInfo, RunSnapshot
from explorer.core.selection import AttentionKind, HeadRef, TokenRef

if TYPE_CHECKING:
    from explorer.app.controller import Controller
    from explorer.app.engine import RunUpdate
    from explorer.app.state import AppState

# A run that goes on changes many times a second; its inside is read when it stands still for so long.
READING_PAUSE_MS = 120


class GenerationController(QObject):
    """Part of the controller; lives on the GUI thread. What belongs to another run is dropped."""

    def __init__(self, state: AppState, worker: Worker, controller: Controller) -> None:
        super().__init__(controller)
        self._state = state
        self._worker = worker
        self._controller = controller
        self._player = Player(state, self)
        self._search: Task | None = None
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(READING_PAUSE_MS)
        self._pause.timeout.connect(self._read_inside)
        # Run and nodes that could not be looked into: not to be tried again and again.
        self._unreadable: tuple[int, tuple[int, ...]] | None = None
        generation = state.generation
        for changed in (generation.watched_changed, state.run_changed, state.activity_changed):
            changed.connect(self._on_inside_wanted)
        generation.moment_changed.connect(self._on_moment_changed)
        generation.node_requested.connect(self._on_node_requested)
        generation.name_requested.connect(self._on_name_requested)
        generation.stopping_changed.connect(self._on_stopping_changed)
        generation.beams_requested.connect(self._on_beams_requested)
        generation.beams_cancelled.connect(self._on_beams_cancelled)

    def stop(self) -> None:
        """Ask for nothing any more: no timer is to wake a worker that has ended."""
        self._state.generation.set_playing(False)
        self._state.generation.set_watched(False)
        self._pause.stop()

    def _run(self) -> RunSnapshot | None:
        """The run on show, where it is the current one."""
        run = self._state.run
        current = run is not None and run.run_id == self._controller.run_id and not self._state.stale
        return run if current else None

    # -- inside a step --------------------------------------------------------------------------

    def _on_moment_changed(self) -> None:
        """Standing at a layer opens its attention, in the head that is open, so that all panels follow."""
        moment, head, model = self._state.generation.moment, self._state.head, self._state.model
        if moment is None or moment.layer is None or head is None or model is None:
            return
        kind: AttentionKind = "encoder"
        if moment.stage == "decoder":
            kind = head.kind if head.kind != "encoder" else _first_head_kind(model)
        if moment.layer < model.layers.get(kind, 0):
            self._state.set_head(HeadRef(kind, moment.layer, min(head.head, model.heads[kind] - 1)))

    @property
    def waiting(self) -> bool:
        """Whether a reading is about to be asked for."""
        return self._pause.isActive()

    def _on_inside_wanted(self) -> None:
        if self._wants_inside():
            self._pause.start()

    def _wants_inside(self) -> bool:
        """Whether somebody looks at the inside of steps that have not been read, and nothing goes on."""
        run, generation, activity = self._run(), self._state.generation, self._state.activity
        if not generation.watched or run is None or not run.steps:
            return False
        if activity is not None and activity.kind != "other":
            return False  # read when the run has come to its end, not at each of its steps
        known = generation.inside
        here = (run.run_id, run.nodes)
        return here != self._unreadable and (known is None or (known.run_id, known.nodes) != here)

    def _read_inside(self) -> None:
        run = self._run()
        if run is None or not self._wants_inside():
            self._controller.tell_if_settled()
            return
        here = (run.run_id, run.nodes)
        self._worker.submit(
            Task(
                lambda engine, task: engine.inside(task),
                self._on_inside_read,
                slot="inside",
                label="Reading the inside of the steps …",
                failed=partial(self._on_inside_failed, here),
            )
        )

    def _on_inside_read(self, inside: InsideReading | None) -> None:
        if inside is not None and inside.run_id == self._controller.run_id:
            self._unreadable = None
            self._state.generation.set_inside_problem("")
            self._state.generation.set_inside(inside)

    def _on_inside_failed(self, here: tuple[int, tuple[int, ...]], error: BaseException) -> None:
        self._unreadable = here
        self._state.generation.set_inside_problem(f"The inside of the steps could not be read: {error}")

    def _on_stopping_changed(self) -> None:
        # A run that is still to begin takes the new conditions along; one that is on is told.
        stopping = self._state.generation.stopping
        if self._run() is not None:
            self._controller.submit_run(lambda engine, _: engine.stop_when(stopping))

    # -- beam search ----------------------------------------------------------------------------

    def _on_beams_requested(self, width: int) -> None:
        if not self._controller.ensure_run():
            return
        self._state.stop_requested.emit()
        params, head, run_id = self._state.sampling, self._state.head, self._controller.run_id
        self._search = Task(
            lambda engine, task: engine.beam_search(width, params, head, task),
            partial(self._on_beams_found, run_id),
            slot="beams",
            label=f"Searching with {width} beams …",
            kind="searching",
        )
        self._worker.submit(self._search)

    def _on_beams_found(self, run_id: int, found: tuple[BeamSearch, RunUpdate]) -> None:
        if run_id == self._controller.run_id:
            search, update = found
            self._controller.show_update(run_id, update)
            self._state.generation.set_beams(search)

    def _on_beams_cancelled(self) -> None:
        if self._search is not None:
            self._search.cancel()

    # -- branches -------------------------------------------------------------------------------

    def _on_node_requested(self, node: int, end: int) -> None:
        run = self._run()
        if run is None or not ROOT < node <= end < len(run.tree.nodes):
            return
        step = run.tree.nodes[node].step
        assert step is not None
        if node in run.nodes:
            self._state.set_viewed_step(step.index)
        else:
            self._controller.go_to(end, step.index)
        self._state.select(TokenRef("generated", step.index))

    def _on_name_requested(self, node: int, name: str) -> None:
        run = self._run()
        if run is None or not ROOT < node < len(run.tree.nodes):
            return
        names = {place: given for place, given in run.tree.names.items() if place != node}
        if name:
            names[node] = name
        self._state.set_run(replace(run, tree=replace(run.tree, names=names)), self._state.viewed_step)
        self._controller.submit_run(lambda engine, _: engine.name_branch(node, name))


def _first_head_kind(model: ModelInfo) -> AttentionKind:
    return "cross" if "cross" in model.layers else "decoder"
