"""Answers what is asked of a run's branches and of the inside of its steps, by way of the one worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from explorer.app.player import Player
from explorer.app.worker import Worker
from explorer.core.branches import ROOT
from explorer.core.records import ModelInfo, RunSnapshot
from explorer.core.selection import AttentionKind, HeadRef, TokenRef

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
        self._player = Player(state, self)
        generation = state.generation
        generation.moment_changed.connect(self._on_moment_changed)
        generation.node_requested.connect(self._on_node_requested)
        generation.name_requested.connect(self._on_name_requested)

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


def _first_head_kind(model: ModelInfo) -> AttentionKind:
    return "cross" if "cross" in model.layers else "decoder"
