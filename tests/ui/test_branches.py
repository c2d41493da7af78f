"""Branches by hand, in the whole window, on the bundled model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from explorer.commands.window import Parts
from explorer.core.sampling import SamplingParams
from explorer.core.selection import TokenRef
from explorer.panels.generation.force_menu import ForceMenu
from explorer.panels.generation_panel import GenerationPanel
from tests.ui.conftest import settle

Open = Callable[..., Parts]


def generation(parts: Parts) -> GenerationPanel:
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    return panel


def force_by_hand(qtbot: QtBot, parts: Parts, step: int, number: int) -> int:
    """Double-click an alternative on a step's card; returns its token ID."""
    run, strip = parts.state.run, generation(parts).steps.strip
    assert run is not None
    parts.state.set_viewed_step(step)
    strip.ensure_visible(step)
    ids = [token_id for token_id, _ in run.steps[step].best if token_id != run.steps[step].token.id]
    rect = strip.part_rect(step, "alternative", ids[number])
    qtbot.mouseDClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    settle(qtbot, parts)
    return ids[number]


def open_view(qtbot: QtBot, parts: Parts, name: str) -> None:
    qtbot.mouseClick(generation(parts).chooser.button(name), Qt.MouseButton.LeftButton)


def run_to_the_end(qtbot: QtBot, parts: Parts) -> None:
    qtbot.mouseClick(parts.window.top_bar.run_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)


def click_node(qtbot: QtBot, parts: Parts, node: int) -> None:
    lanes = generation(parts).tree.lanes
    lanes.ensure_visible(node)
    qtbot.mouseClick(lanes.viewport(), Qt.MouseButton.LeftButton, pos=lanes.node_rect(node).center())


def test_that_forcing_a_token_branches_and_both_branches_are_walked(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    state = parts.state
    run_to_the_end(qtbot, parts)
    first = state.run
    assert first is not None
    before, thumbnails = parts.state.attention, parts.state.overview
    token_id = force_by_hand(qtbot, parts, 2, 0)
    run_to_the_end(qtbot, parts)
    second = state.run
    assert second is not None
    assert second.token_ids[:3] == (*first.token_ids[:2], token_id)
    assert second.text != first.text
    open_view(qtbot, parts, "tree")
    lanes = generation(parts).tree.lanes
    assert [label.name for label in lanes.content.labels] == ["A", "B"]
    # One click, and every panel is back on the first branch, without waiting for the worker.
    click_node(qtbot, parts, 4)
    assert state.run is not None
    assert state.run.token_ids == first.token_ids
    assert state.run.text == first.text
    assert (state.viewed_step, state.selection.token) == (3, TokenRef("generated", 3))
    settle(qtbot, parts)
    assert state.run.finished
    assert state.run.text == first.text
    assert state.viewed_step == 3
    assert [step.logits is other.logits for step, other in zip(state.run.steps, first.steps, strict=True)]
    assert state.attention is not None
    assert before is not None
    assert np.array_equal(state.attention.weights, before.weights)
    assert state.overview is not None
    assert thumbnails is not None
    assert np.array_equal(state.overview.weights, thumbnails.weights)


def test_that_many_quick_clicks_end_where_the_last_one_pointed(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    state = parts.state
    run_to_the_end(qtbot, parts)
    force_by_hand(qtbot, parts, 1, 0)
    run_to_the_end(qtbot, parts)
    force_by_hand(qtbot, parts, 3, 1)
    run_to_the_end(qtbot, parts)
    open_view(qtbot, parts, "tree")
    assert state.run is not None
    ends = state.run.tree.ends
    assert len(ends) == 3
    seen: list[int] = []
    state.run_changed.connect(lambda: seen.append(state.run.tree.current if state.run else -1))
    wanted = [ends[i % 3] for i in range(20)]
    for end in wanted:
        click_node(qtbot, parts, end)
    settle(qtbot, parts)
    assert state.run.tree.current == wanted[-1]
    # No late answer of the worker showed a branch again that had been left.
    assert seen[: len(wanted)] == wanted
    assert set(seen[len(wanted) :]) <= {wanted[-1]}


def test_that_back_and_step_walk_the_tree(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    state = parts.state
    run_to_the_end(qtbot, parts)
    assert state.run is not None
    nodes = len(state.run.tree.nodes)
    for _ in range(3):
        qtbot.mouseClick(parts.window.top_bar.back_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert len(state.run.steps) == 3
    assert len(state.run.tree.nodes) == nodes
    for _ in range(3):
        qtbot.mouseClick(parts.window.top_bar.step_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert state.run.finished
    assert len(state.run.tree.nodes) == nodes


def test_that_a_branch_keeps_its_name_through_steps_and_moves(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    run_to_the_end(qtbot, parts)
    force_by_hand(qtbot, parts, 2, 1)
    open_view(qtbot, parts, "tree")
    generation(parts).tree.rename(1)
    field = generation(parts).findChild(QLineEdit, "branch_name")
    qtbot.keyClicks(field, "what if")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    run_to_the_end(qtbot, parts)
    click_node(qtbot, parts, 6)
    settle(qtbot, parts)
    assert [label.name for label in generation(parts).tree.lanes.content.labels] == ["A", "what if"]


def test_that_reset_keeps_the_branches_and_a_replay_under_other_settings_is_one_more(
    open_window: Open, qtbot: QtBot
) -> None:
    parts = open_window()
    state = parts.state
    run_to_the_end(qtbot, parts)
    assert state.run is not None
    first, run_id = state.run, state.run.run_id
    qtbot.mouseClick(parts.window.top_bar.reset_button, Qt.MouseButton.LeftButton)
    assert state.run.steps == ()  # at once, before the worker has followed
    settle(qtbot, parts)
    assert (state.run.steps, state.run.run_id, state.run.text) == ((), run_id, "")
    assert not parts.window.top_bar.reset_button.isEnabled()
    state.set_sampling(SamplingParams(temperature=1.5, seed=4))
    run_to_the_end(qtbot, parts)
    assert state.run.token_ids != first.token_ids
    assert {step.params for step in state.run.steps} == {SamplingParams(temperature=1.5, seed=4)}
    open_view(qtbot, parts, "tree")
    assert len(generation(parts).tree.lanes.content.layout.lanes) == 2
    click_node(qtbot, parts, 6)
    assert state.run.token_ids == first.token_ids
    settle(qtbot, parts)
    assert state.run.text == first.text


def test_that_another_token_is_forced_from_the_tree_on_a_branch_that_is_not_on_show(
    open_window: Open, qtbot: QtBot
) -> None:
    parts = open_window()
    run_to_the_end(qtbot, parts)
    force_by_hand(qtbot, parts, 2, 0)
    assert parts.state.run is not None
    other = parts.state.run.token_ids
    open_view(qtbot, parts, "tree")
    tree = generation(parts).tree
    step = parts.state.run.tree.nodes[4].step  # step 3 of the first branch
    assert step is not None
    action = next(a for a in tree.make_menu(0, 4).actions() if a.text() == "Write another token at step 3 …")
    action.trigger()
    menu = tree.findChild(ForceMenu)
    token_id = next(token_id for token_id, _ in step.best if token_id != step.token.id)
    entry = menu.findChild(QLineEdit, "force_entry")
    qtbot.keyClicks(entry, str(token_id))
    qtbot.keyClick(entry, Qt.Key.Key_Return)
    settle(qtbot, parts)
    run = parts.state.run
    assert run.token_ids == (*[s.token.id for s in run.steps[:3]], token_id)
    assert run.token_ids[:3] != other
    assert parts.state.viewed_step == 3
    assert len(run.tree.ends) == 3
