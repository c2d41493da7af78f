"""The inside of steps by hand, in the whole window, on the bundled models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

import explorer
from explorer.commands.window import Parts
from explorer.core.moments import Moment
from explorer.panels.bars.pipeline_strip import PipelineStrip
from explorer.panels.generation_panel import GenerationPanel
from tests.ui.conftest import settle

Open = Callable[..., Parts]
TEXT = "J'aime l'apprentissage automatique."


def open_view(qtbot: QtBot, parts: Parts, name: str) -> GenerationPanel:
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    qtbot.mouseClick(panel.chooser.button(name), Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    return panel


def press(qtbot: QtBot, parts: Parts, name: str) -> None:
    qtbot.mouseClick(getattr(parts.window.top_bar, f"{name}_button"), Qt.MouseButton.LeftButton)
    settle(qtbot, parts)


def test_that_the_inside_is_read_when_a_view_of_it_opens_and_once_for_a_branch(
    open_window: Open, qtbot: QtBot
) -> None:
    parts = open_window()
    press(qtbot, parts, "run")
    assert parts.state.generation.inside is None
    panel = open_view(qtbot, parts, "layers")
    first = parts.state.generation.inside
    assert first is not None
    assert panel.lens.known_steps == 6
    open_view(qtbot, parts, "inside")
    parts.state.set_viewed_step(2)
    settle(qtbot, parts)
    assert parts.state.generation.inside is first
    press(qtbot, parts, "back")
    assert parts.state.generation.inside is not first
    open_view(qtbot, parts, "steps")
    press(qtbot, parts, "step")
    assert parts.state.generation.inside is not None
    assert len(parts.state.generation.inside.nodes) == 5  # nobody looks: nothing is read


def test_that_the_lens_ends_in_what_the_model_says(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    press(qtbot, parts, "run")
    panel = open_view(qtbot, parts, "layers")
    lens, run = panel.lens.canvas.lens, parts.state.run
    assert lens is not None
    assert run is not None
    for step in run.steps:
        x = torch.from_numpy(step.logits.astype(np.float64))
        p = torch.softmax(x, 0)
        assert float(lens.top_probabilities[step.index, -1, 0]) == pytest.approx(float(p.max()), abs=1e-4)
        assert int(lens.top_ids[step.index, -1, 0]) == int(x.argmax())
        assert int(lens.chosen_ranks[step.index, -1]) == 0
    assert " on top from " in panel.lens.line.text()


def test_that_bars_equal_hidden_states_of_the_model_itself(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="The old man")
    parts.state.model_requested.emit("en-gpt")
    settle(qtbot, parts)
    press(qtbot, parts, "run")
    panel = open_view(qtbot, parts, "inside")
    parts.state.set_viewed_step(1)
    run = parts.state.run
    assert run is not None
    lm = explorer.load("en-gpt")
    ids = torch.tensor([[*run.source.ids, *run.token_ids[:1]]])
    with torch.inference_mode():
        hidden = lm.model(ids, output_hidden_states=True).hidden_states
    rows = panel.inside.canvas.rows
    assert rows[0].stream == pytest.approx(float(hidden[0][0, -1].norm()), rel=1e-4)
    # The last hidden state is normed already; the one before it is the stream after the last layer but one.
    after = [row for row in rows if row.kind == "feed-forward"]
    for layer in range(len(after) - 1):
        assert after[layer].stream == pytest.approx(float(hidden[layer + 1][0, -1].norm()), rel=1e-4)


def test_that_the_moment_of_the_strip_is_highlighted_inside(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    press(qtbot, parts, "run")
    panel = open_view(qtbot, parts, "inside")
    strip = parts.window.findChild(PipelineStrip)
    pill = next(i for i, stage in enumerate(strip.stages) if stage.holds(Moment("decoder", 2)))
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(pill).center())
    assert panel.inside.canvas._layer == 2


def test_that_masks_have_an_inside_too(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="I like [MASK] and [MASK] a lot.")
    parts.state.model_requested.emit("en-mlm")
    settle(qtbot, parts)
    press(qtbot, parts, "run")
    panel = open_view(qtbot, parts, "inside")
    assert {row.kind for row in panel.inside.canvas.rows} == {"input", "self-attention", "feed-forward"}
    assert panel.inside.line.text().startswith("at the mask that ")
    qtbot.keyClick(panel.inside.canvas, Qt.Key.Key_Down)
    assert parts.state.generation.moment == Moment("encoder", 0)
    panel = open_view(qtbot, parts, "layers")
    assert panel.lens.known_steps == 2
