"""A hurried person: many gestures at once, without waiting for anything, on the bundled models."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

import explorer
from explorer.app.generation_state import SPEEDS
from explorer.commands.window import Parts
from explorer.core.selection import HeadRef
from explorer.panels.generation_panel import GenerationPanel
from tests.ui.conftest import settle

Open = Callable[..., Parts]
TEXT = "Il fait beau aujourd'hui, n'est-ce pas ?"
ACTIONS = 90


def act(rng: random.Random, parts: Parts, panel: GenerationPanel) -> None:
    state, generation, run = parts.state, parts.state.generation, parts.state.run

    def force() -> None:
        if run is not None and run.steps:
            state.set_viewed_step(rng.randrange(len(run.steps)))
            assert state.step is not None
            state.force_requested.emit(rng.choice(state.step.best)[0])

    def go() -> None:
        if run is not None and len(run.tree.nodes) > 1:
            node = rng.randrange(1, len(run.tree.nodes))
            generation.node_requested.emit(node, run.tree.end_of(node))

    def name() -> None:
        if run is not None and len(run.tree.nodes) > 1:
            generation.name_requested.emit(rng.randrange(1, len(run.tree.nodes)), rng.choice(["", "👩‍👩‍👧"]))

    rng.choice(
        [
            state.step_requested.emit,
            state.back_requested.emit,
            state.finish_requested.emit,
            state.stop_requested.emit,
            state.reset_requested.emit,
            lambda: generation.beams_requested.emit(rng.randint(2, 4)),
            generation.beams_cancelled.emit,
            lambda: panel.show_view(rng.choice(list(panel.views))),
            lambda: generation.set_playing(not generation.playing),
            lambda: generation.set_speed(rng.choice(SPEEDS)),
            lambda: generation.moment_move_requested.emit(rng.choice([-1, 1])),
            panel.compare.keep,
            force,
            go,
            name,
        ]
    )()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_that_what_is_on_show_in_the_end_is_what_the_model_says_of_these_tokens(
    open_window: Open, qtbot: QtBot, seed: int
) -> None:
    parts = open_window(text=TEXT)
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    rng = random.Random(seed)
    for _ in range(ACTIONS):
        act(rng, parts, panel)
        qtbot.wait(rng.choice([0, 0, 1, 4, 12]))
    parts.state.generation.set_playing(False)
    parts.state.stop_requested.emit()
    parts.state.generation.beams_cancelled.emit()
    settle(qtbot, parts)
    parts.state.step_requested.emit()
    parts.state.set_head(HeadRef("cross", 1, 3))
    settle(qtbot, parts)
    run = parts.state.run
    assert run is not None
    assert run.steps
    assert tuple(run.tree.nodes[node].step for node in run.nodes) == run.steps
    fresh = explorer.load("fr-en").generate(TEXT)
    for step in run.steps:
        again = fresh.step(force=step.token.id)
        if not step.beam:  # a search's scores are log-probabilities
            assert np.allclose(step.logits, again.logits, atol=1e-4)
    assert run.text == fresh.text
    assert parts.state.attention is not None
    assert np.allclose(parts.state.attention.weights, fresh.attention("cross", 1, 3), atol=1e-5)


def test_that_models_and_texts_change_under_a_hurried_hand(open_window: Open, qtbot: QtBot) -> None:
    parts = open_window(text=TEXT)
    panel = parts.window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    rng = random.Random(4)
    texts = ["J'aime 👩‍👩‍👧 <b>&amp;</b>", "", "مرحبا\n\tfoo", "Merci.", "I like [MASK] a lot."]
    for number in range(60):
        if number % 6 == 5:
            parts.state.set_source_text(rng.choice(texts))
        elif number % 20 == 9:
            parts.state.model_requested.emit(rng.choice(["en-gpt", "en-mlm", "fr-en"]))
        else:
            act(rng, parts, panel)
        qtbot.wait(rng.choice([0, 1, 8]))
    parts.state.generation.set_playing(False)
    parts.state.stop_requested.emit()
    parts.state.model_requested.emit("en-mlm")
    settle(qtbot, parts)
    parts.state.set_source_text("I like [MASK] a lot.")
    parts.state.finish_requested.emit()
    settle(qtbot, parts)
    assert parts.state.run is not None
    assert parts.state.run.stop_reason == "every mask is filled in"
