from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.beams import BeamSearch, Hypothesis
from explorer.core.branch_lanes import run_at
from explorer.core.branches import ROOT, Node, RunTree
from explorer.core.records import RunSnapshot
from explorer.core.selection import TokenRef
from explorer.core.tokens import Token
from explorer.panels.generation.tree_view import TreeView
from explorer.panels.generation_panel import GenerationPanel
from explorer.theme import Theme
from tests.support import fill, make_branched_run


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> GenerationPanel:
    panel = GenerationPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 260)
    panel.show()
    qtbot.mouseClick(panel.chooser.button("tree"), Qt.MouseButton.LeftButton)
    return panel


def fill_tree(state: AppState) -> RunSnapshot:
    fill(state)
    run = make_branched_run(run_id=2)
    state.set_run(run)
    return run


def click(qtbot: QtBot, view: TreeView, node: int) -> None:
    qtbot.mouseClick(
        view.lanes.viewport(), Qt.MouseButton.LeftButton, pos=view.lanes.node_rect(node).center()
    )


def test_that_each_branch_has_a_row_and_the_shared_stem_is_drawn_once(
    panel: GenerationPanel, state: AppState
) -> None:
    fill_tree(state)
    lanes = panel.tree.lanes
    assert [lane.nodes for lane in lanes.content.layout.lanes] == [(1, 2, 3, 4, 5, 6), (7, 8, 9), (10,)]
    # The fork stands where it was taken: after step 1.
    assert lanes.node_rect(7).left() == lanes.node_rect(3).left()
    assert lanes.node_rect(7).top() > lanes.node_rect(3).bottom()
    assert panel.facts == "3 branches · 10 steps"
    panel.grab()


def test_that_a_rows_numbers_are_the_sums_of_its_steps(panel: GenerationPanel, state: AppState) -> None:
    run = fill_tree(state)
    total = 0.0
    for node in run.tree.path(10):
        step = run.tree.nodes[node].step
        assert step is not None
        x = step.scores.astype(np.float64)
        total += float(x[step.token.id] - x.max() - math.log(np.exp(x - x.max()).sum()))
    label = panel.tree.lanes.content.labels[2]
    assert label.facts == f"5 · {total:.2f}".replace("-", "−")
    assert label.name == "C"


def test_that_a_click_asks_for_the_node_and_marks_what_is_on_show(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill_tree(state)
    asked = QSignalSpy(state.generation.node_requested)
    click(qtbot, panel.tree, 8)
    assert [asked.at(i) for i in range(asked.count())] == [[8, 9]]
    state.set_run(run_at(run, 10), viewed=3)
    assert panel.tree.lanes.cursor_node == 8
    assert panel.tree.lanes._on_show == {1, 2, 7, 8, 10}


def test_that_arrow_keys_walk_along_a_branch_and_to_the_next(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill_tree(state)
    state.set_viewed_step(2)
    asked = QSignalSpy(state.generation.node_requested)
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Up):
        qtbot.keyClick(panel.tree.lanes, key)
    assert [asked.at(i) for i in range(asked.count())] == [[2, 6], [4, 6], [7, 9]]


def test_that_a_branch_is_renamed_in_place_and_escape_leaves_it(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill_tree(state)
    named = QSignalSpy(state.generation.name_requested)
    viewport = panel.tree.lanes.viewport()
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=panel.tree.lanes.label_rect(1).center())
    field = panel.findChild(QLineEdit, "branch_name")
    assert field.isVisible()
    qtbot.keyClicks(field, "with deep")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert not field.isVisible()
    assert (named.at(0)[0], named.at(0)[1]) == (7, "with deep")
    tree = dataclasses.replace(run.tree, names={7: "with deep"})
    state.set_run(dataclasses.replace(run, tree=tree))
    assert panel.tree.lanes.content.labels[1].name == "with deep"
    assert panel.tree.lanes.content.labels[2].name == "C"
    state.set_viewed_step(3)
    qtbot.keyClick(panel.tree.lanes, Qt.Key.Key_F2)
    assert field.isVisible()
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert not field.isVisible()
    assert named.count() == 1


def test_that_the_line_below_reads_the_branch_pointed_at(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill_tree(state)
    state.set_run(dataclasses.replace(run_at(run, 10), text="I love deep learning!"))
    state.set_run(run)
    assert panel.tree.reading.text().startswith("A: Σ ln p −1.41 · p 0.2")
    assert panel.tree.reading.text().endswith("I love machine learning.")
    qtbot.mouseMove(panel.tree.lanes.viewport(), panel.tree.lanes.node_rect(10).center())
    assert panel.tree.reading.text().startswith("C: ")
    assert panel.tree.reading.text().endswith("I love deep learning!")
    assert state.hover == TokenRef("vocabulary", 33)
    assert "(now: greedy)" in panel.tree.lanes.describe(panel.tree.lanes.node_rect(10).center())
    assert "forced by hand" in panel.tree.lanes.describe(panel.tree.lanes.node_rect(7).center())


def test_that_comparing_is_offered_for_another_branch_only(panel: GenerationPanel, state: AppState) -> None:
    fill_tree(state)
    wanted = QSignalSpy(panel.tree.comparison_wanted)

    def compare(row: int) -> bool:
        menu = panel.tree.make_menu(row)
        action = next(a for a in menu.actions() if a.text().startswith("Compare"))
        action.trigger()
        return action.isEnabled()

    assert not compare(0)
    assert compare(1)
    assert [wanted.at(i) for i in range(wanted.count())] == [[9, "branch B"]]
    assert panel.view == "compare"
    assert panel.compare.rows.isVisible()


def test_that_what_a_beam_search_dropped_does_not_crowd_the_tree(
    panel: GenerationPanel, state: AppState
) -> None:
    run = fill_tree(state)
    nodes = list(run.tree.nodes)
    beam = [
        dataclasses.replace(run.steps[2], beam=True, token=Token(i, f"b{i}", "", None, False))
        for i in range(4)
    ]
    nodes += [Node(11, 2, beam[0]), Node(12, 11, beam[1]), Node(13, 2, beam[2]), Node(14, 2, beam[3])]
    state.set_run(dataclasses.replace(run, tree=RunTree(tuple(nodes), 6, {13: "kept"})))
    lanes = panel.tree.lanes.content.layout
    assert set(lanes.row_of) == {*range(1, 11), 13}
    assert panel.facts == "4 branches · 11 steps · 3 more that beam search dropped"
    found = Hypothesis(12, (), "", -1.0, -0.5, finished=True)
    state.generation.set_beams(BeamSearch(2, 2, 1.0, (), (found,)))
    assert set(panel.tree.lanes.content.layout.row_of) == {*range(1, 14)}


def test_that_pieces_of_any_script_are_painted(panel: GenerationPanel, state: AppState) -> None:
    run = fill_tree(state)
    nodes = list(run.tree.nodes)
    for node, piece in ((7, "▁<b>"), (8, "\n"), (9, "👩‍👩‍👧"), (10, "مرحبا")):
        step = nodes[node].step
        assert step is not None
        nodes[node] = Node(
            node, nodes[node].parent, dataclasses.replace(step, token=Token(node, piece, piece, None, False))
        )
    state.set_run(dataclasses.replace(run, tree=RunTree(tuple(nodes), 6)))
    assert "<b>" in panel.tree.lanes.describe(panel.tree.lanes.node_rect(7).center())
    panel.grab()


def test_that_only_what_is_in_sight_of_a_large_tree_is_painted(
    panel: GenerationPanel, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fill_tree(state)
    step = run.steps[0]
    nodes = [Node(ROOT, ROOT, None)]
    nodes += [Node(i + 1, i, dataclasses.replace(step, index=i)) for i in range(1000)]
    for fork in range(40):
        parent = 20 * fork + 10
        for i in range(30):
            nodes.append(Node(len(nodes), parent, dataclasses.replace(step, index=20 * fork + 10 + i)))
            parent = nodes[-1].id
    big = RunTree(tuple(nodes), current=1000)
    steps = tuple(node.step for node in nodes[1:1001] if node.step is not None)
    state.set_run(dataclasses.replace(run, steps=steps, tree=big))
    painted: list[int] = []
    lanes = panel.tree.lanes
    paint = lanes._paint_node
    monkeypatch.setattr(
        lanes, "_paint_node", lambda p, node, rect: (painted.append(node), paint(p, node, rect))
    )
    lanes.viewport().grab()
    assert 0 < len(painted) < 200
    assert 1000 in painted  # the viewed step came into sight
    assert len(lanes.content.layout.lanes) == 41
    assert lanes.node_at(QPoint(lanes.node_rect(1000).center())) == 1000
