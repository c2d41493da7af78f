"""Two runs side by side by hand, in the whole window, on the bundled models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from scipy import stats

from explorer.commands.window import Parts
from explorer.core.model_facts import LoadRequest
from explorer.core.sampling import SamplingParams
from explorer.panels.generation.compare_view import CompareView
from explorer.panels.generation_panel import GenerationPanel
from tests.ui.conftest import settle

Open = Callable[..., Parts]


def open_compare(qtbot: QtBot, parts: Parts) -> CompareView:
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    qtbot.mouseClick(panel.chooser.button("compare"), Qt.MouseButton.LeftButton)
    return panel.compare


def run_again(qtbot: QtBot, parts: Parts, params: SamplingParams) -> None:
    parts.state.set_sampling(params)
    if parts.window.top_bar.reset_button.isEnabled():
        qtbot.mouseClick(parts.window.top_bar.reset_button, Qt.MouseButton.LeftButton)
        settle(qtbot, parts)
    qtbot.mouseClick(parts.window.top_bar.run_button, Qt.MouseButton.LeftButton)
    settle(qtbot, parts)


def keep(qtbot: QtBot, view: CompareView) -> None:
    qtbot.mouseClick(view.keep_button, Qt.MouseButton.LeftButton)


def test_that_two_seeds_are_compared_up_to_and_from_their_first_difference(
    open_window: Open, qtbot: QtBot
) -> None:
    parts = open_window()
    view = open_compare(qtbot, parts)
    run_again(qtbot, parts, SamplingParams(temperature=1.5, seed=1))
    keep(qtbot, view)
    kept = parts.state.generation.kept
    assert kept is not None
    run_again(qtbot, parts, SamplingParams(temperature=1.5, seed=4))
    run, alignment = parts.state.run, view.alignment
    assert run is not None
    assert alignment is not None
    first = alignment.first_difference
    assert first is not None
    i, j = alignment.pairs[first]
    assert i == j
    assert i is not None
    assert run.token_ids[:i] == kept.run.token_ids[:i]
    assert run.token_ids[i] != kept.run.token_ids[i]
    cell = view.rows.cell_rect(1, first)
    view.rows.horizontalScrollBar().setValue(0)
    cell = view.rows.cell_rect(1, first)
    qtbot.mouseClick(view.rows.viewport(), Qt.MouseButton.LeftButton, pos=cell.center())
    assert parts.state.viewed_step == first
    # The same text before it, the same model: the very same distribution.
    assert view.line.text().startswith("TV 0.000 · KL 0.000, back 0.000 bits · step ")
    assert view.line.text().endswith("same text before it")


def test_that_the_numbers_are_those_of_the_two_distributions(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    view = open_compare(qtbot, parts)
    run_again(qtbot, parts, SamplingParams(temperature=0.5, seed=3))
    keep(qtbot, view)
    kept = parts.state.generation.kept
    assert kept is not None
    run_again(qtbot, parts, SamplingParams(temperature=1.2, seed=3))
    parts.state.set_viewed_step(0)
    qtbot.mouseClick(view.shapes.button("drawn"), Qt.MouseButton.LeftButton)
    run = parts.state.run
    assert run is not None

    def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
        x = logits.astype(np.float64) / temperature
        weights = np.exp(x - x.max())
        return weights / weights.sum()

    p, q = softmax(kept.run.steps[0].scores, 0.5), softmax(run.steps[0].scores, 1.2)
    expected = (0.5 * np.abs(p - q).sum(), stats.entropy(p, q, base=2), stats.entropy(q, p, base=2))
    words = view.line.text().split()
    shown = (float(words[1]), float(words[4].rstrip(",")), float(words[6]))
    assert shown == pytest.approx(expected, abs=2e-3)
    assert view.bars.bars[0].first == pytest.approx(p.max(), abs=1e-5)
    assert view.bars.bars[0].second == pytest.approx(q[p.argmax()], abs=1e-5)


def test_that_two_models_are_never_compared_by_a_wrong_number(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text="The old man")
    view = open_compare(qtbot, parts)
    parts.state.model_requested.emit("en-gpt")
    settle(qtbot, parts)
    run_again(qtbot, parts, SamplingParams(temperature=0))
    keep(qtbot, view)
    parts.state.model_requested.emit("fr-en")
    settle(qtbot, parts)
    kept = parts.state.generation.kept
    assert kept is not None
    assert kept.model.name == "en-gpt"
    run_again(qtbot, parts, SamplingParams(temperature=0))
    parts.state.set_viewed_step(0)
    assert "two vocabularies, no divergence · bars where pieces agree" in view.line.text()
    assert "TV" not in view.line.text()
    assert any(bar.first is None or bar.second is None for bar in view.bars.bars)
    assert parts.window.panels["generation"].facts.startswith(
        "kept: en-gpt · float32 · greedy | on show: fr-en"
    )
    qtbot.mouseClick(view.drop_button, Qt.MouseButton.LeftButton)
    assert parts.state.generation.kept is None
    assert not view.rows.isVisible()


def test_that_the_same_model_in_other_numbers_is_compared_whole(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window()
    view = open_compare(qtbot, parts)
    run_again(qtbot, parts, SamplingParams(temperature=0))
    keep(qtbot, view)
    parts.state.models.load_requested.emit(LoadRequest("fr-en", "cpu", "bfloat16"))
    settle(qtbot, parts)
    assert parts.state.model is not None
    assert parts.state.model.dtype == "bfloat16"
    run_again(qtbot, parts, SamplingParams(temperature=0))
    parts.state.set_viewed_step(0)
    words = view.line.text().split()
    assert words[0] == "TV"
    assert 0.0 < float(words[1]) < 0.1
    assert view.line.text().endswith("same text before it")
    facts = parts.window.panels["generation"].facts
    assert facts == "kept: fr-en · float32 · greedy | on show: fr-en · bfloat16 · greedy"
