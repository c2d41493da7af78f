"""Answers what is asked of a run's branches and of the inside of its steps, by way of the one worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.worker import Worker
from explorer.core.branches import ROOT
from explorer.core.records import RunSnapshot
from explorer.core.selection import TokenRef

if TYPE_CHECKING:
    from explorer.app.controller import Controller
    from explorer.app.state import AppState


class GenerationController(QObject):
    """Part of the controller; lives on the GUI thread. What belongs to another run is dropped."""

    def __init__(self, state: AppState, worker: Worker, controller: Controller) -> None:
        super().__init__(controller)
        self._state = state
        self._worker = worker
        self._controller = controller
        generation = state.generation
        generation.node_requested.connect(self._on_node_requested)
        generation.name_requested.connect(self._on_name_requested)

    def _run(self) -> RunSnapshot | None:
        """The run on show, where it is the current one."""
        run = self._state.run
        current = run is not None and run.run_id == self._controller.run_id and not self._state.stale
        return run if current else None

    # -- branches -------------------------------------------------------------------------------

    def _on_node_requested(self, node: int) -> None:
        run = self._run()
        step = run.tree.nodes[node].step if run is not None and ROOT < node < len(run.tree.nodes) else None
        if run is None or step is None:
            return
        if node in run.nodes:
            self._state.set_viewed_step(step.index)
        else:
            self._controller.go_to(run.tree.end_of(node), step.index)
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
