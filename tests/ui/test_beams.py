"""Beam search by hand, in the whole window, on the bundled models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

import explorer
from explorer.app.state import Activity
from explorer.commands.window import Parts
from explorer.core.beams import BeamSearch
from explorer.core.selection import HeadRef
from explorer.panels.generation.beam_view import BeamView
from explorer.panels.generation_panel import GenerationPanel
from tests.ui.conftest import TIMEOUT_MS, settle

Open = Callable[..., Parts]
TEXT = "J'aime l'apprentissage automatique."


def open_beams(qtbot: QtBot, parts: Parts) -> BeamView:
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    qtbot.mouseClick(panel.chooser.button("beams"), Qt.MouseButton.LeftButton)
    return panel.beams


def search(qtbot: QtBot, parts: Parts, view: BeamView, width: int) -> BeamSearch:
    view.width_box.setCurrentText(f"{width} beams")
    qtbot.mouseClick(view.search_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    found = parts.state.generation.beams
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "text"), [("fr-en", TEXT), ("en-gpt", "The old man")])
def test_that_the_best_hypothesis_is_what_generate_returns(
    open_window: Open, qtbot: QtBot, name: str, text: str
) -> None:
    parts = open_window(text=text)
    if name != "fr-en":
        parts.state.model_requested.emit(name)
        settle(qtbot, parts)
    found = search(qtbot, parts, open_beams(qtbot, parts), 4)
    lm = explorer.load(name)
    source = torch.tensor([lm.tokenize(text).ids])
    with torch.inference_mode():
        ids = lm.model.generate(source, num_beams=4, do_sample=False, max_new_tokens=len(found.steps) + 40)[0]
    given = source.shape[1] if name == "en-gpt" else 1
    assert list(found.hypotheses[0].token_ids) == ids.tolist()[given:][: len(found.hypotheses[0].token_ids)]
    assert parts.state.run is not None
    assert parts.state.run.token_ids == found.hypotheses[0].token_ids
    for hypothesis in found.hypotheses:
        length = len(hypothesis.token_ids)
        expected = hypothesis.log_probability / length**found.length_penalty
        assert hypothesis.score == pytest.approx(expected, abs=1e-5)


def test_that_a_hypothesis_is_shown_in_all_panels_with_its_cross_attention(
    open_window: Open, qtbot: QtBot
) -> None:
    parts = open_window()
    view = open_beams(qtbot, parts)
    found = search(qtbot, parts, view, 3)
    assert view.lanes.content.labels[0].name == "best"
    names = [label.name for label in view.lanes.content.labels]
    assert set(names) == {"best", "1", "2"}
    qtbot.mouseClick(view.dropped_button, Qt.MouseButton.LeftButton)
    names = [label.name for label in view.lanes.content.labels]
    assert {"best", "1", "2", "dropped"} == set(names)
    row = names.index("1")
    rect = view.lanes.label_rect(row)
    view.lanes.verticalScrollBar().setValue(max(0, rect.bottom() - view.lanes.viewport().height()))
    qtbot.mouseClick(
        view.lanes.viewport(), Qt.MouseButton.LeftButton, pos=view.lanes.label_rect(row).center()
    )
    state = parts.state
    assert state.run is not None
    assert state.run.token_ids == found.hypotheses[1].token_ids
    settle(qtbot, parts)
    assert state.run.text == found.hypotheses[1].text
    state.set_head(HeadRef("cross", 1, 2))
    settle(qtbot, parts)
    assert state.attention is not None
    # The same tokens, forced one after another in a run of their own.
    run = explorer.load("fr-en").generate(TEXT)
    for token_id in found.hypotheses[1].token_ids:
        run.step(force=token_id)
    assert np.allclose(state.attention.weights, run.attention("cross", 1, 2), atol=1e-5)
    assert view.reading.text().startswith("rank 1: ")


def test_that_a_search_is_cancelled_and_the_window_goes_on(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="Je ne sais pas ce que tu veux dire, mais je t'écoute depuis longtemps.")
    view = open_beams(qtbot, parts)
    state = parts.state
    qtbot.mouseClick(parts.window.top_bar.step_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    view.width_box.setCurrentText("8 beams")
    qtbot.mouseClick(view.search_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: view.searching, timeout=TIMEOUT_MS)
    assert view.search_button.text() == "Cancel"
    qtbot.mouseClick(view.search_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert view.search_button.text() == "Search"
    assert state.generation.beams is None
    assert state.notice is None
    qtbot.mouseClick(parts.window.top_bar.step_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)
    assert state.run is not None
    assert len(state.run.steps) == 2


def test_that_closing_while_a_search_runs_ends_it(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    view = open_beams(qtbot, parts)
    qtbot.mouseClick(view.search_button, Qt.MouseButton.LeftButton)
    parts.window.close()
    assert parts.controller.idle


def test_that_an_encoder_only_model_is_said_to_have_none(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="I like [MASK] a lot.")
    view = open_beams(qtbot, parts)
    parts.state.model_requested.emit("en-mlm")
    settle(qtbot, parts)
    assert not view.search_button.isEnabled()
    label = view.hint.findChild(QLabel)
    assert label is not None
    assert "there is no beam search" in label.text()
    parts.state.set_activity(Activity("Searching …", kind="searching"))
    assert view.progress.text() == "Searching …"
