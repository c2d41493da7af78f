from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QPushButton
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.records import RunSnapshot, StepRecord
from explorer.core.sampling import SamplingParams
from explorer.core.selection import Selection, TokenRef
from explorer.core.tokens import Token
from explorer.panels.generation.force_menu import ForceMenu
from explorer.panels.generation.step_card import CardPainter, how_chosen, under_other_settings
from explorer.panels.generation.step_strip import StepStrip, card_after, cards_before
from explorer.panels.generation_panel import GenerationPanel
from explorer.theme import Theme
from tests.support import VOCABULARY, fill, make_model, make_run


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> GenerationPanel:
    panel = GenerationPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 300)
    panel.show()
    return panel


def strip(panel: GenerationPanel) -> StepStrip:
    found = panel.findChild(StepStrip)
    assert found is not None
    return found


def click(
    qtbot: QtBot,
    panel: GenerationPanel,
    point: QPoint,
    modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    qtbot.mouseClick(strip(panel).viewport(), Qt.MouseButton.LeftButton, modifier, point)


def alternative(panel: GenerationPanel, step: int, number: int) -> tuple[int, QPoint]:
    """Token ID of an alternative of a step, and where it is."""
    run = panel.state.run
    assert run is not None
    strip(panel).ensure_visible(step)
    ids = [token_id for token_id, _ in run.steps[step].best if token_id != run.steps[step].token.id]
    rect = strip(panel).part_rect(step, "alternative", ids[number])
    assert not rect.isEmpty()
    return ids[number], rect.center()


def type_into(qtbot: QtBot, entry: QLineEdit, text: str) -> None:
    if text.isascii():
        qtbot.keyClicks(entry, text)
    else:
        entry.insert(text)  # as if pasted: Qt's test keyboard aborts on other letters


def softmax(step: StepRecord) -> np.ndarray:
    x = step.scores.astype(np.float64)
    e = np.exp(x - x.max())
    return e / e.sum()


def with_unlikely_choice(run: RunSnapshot, index: int, rank: int, *, forced: bool) -> RunSnapshot:
    steps = list(run.steps)
    token_id = int(np.argsort(-steps[index].scores, kind="stable")[rank])
    token = Token(token_id, f"▁piece{token_id}", "", None, False)
    steps[index] = dataclasses.replace(steps[index], token=token, forced=forced)
    return dataclasses.replace(run, steps=tuple(steps))


def test_that_without_a_run_the_panel_says_what_to_do(panel: GenerationPanel, state: AppState) -> None:
    label = panel._hint.findChild(QLabel)
    assert label is not None
    assert panel._stack.currentWidget() is panel._hint
    assert label.text() == "Type a sentence, then press Step."
    fill(state)
    assert panel._stack.currentWidget() is panel.body


def test_that_an_encoder_only_model_is_said_to_have_no_steps(panel: GenerationPanel, state: AppState) -> None:
    state.set_model(dataclasses.replace(make_model(), family="encoder-only", layers={"encoder": 3}))
    label = panel._hint.findChild(QLabel)
    assert label is not None
    assert "encoder only" in label.text()


def test_that_the_bars_are_explained_in_as_many_words_as_fit(panel: GenerationPanel, state: AppState) -> None:
    fill(state)
    for width, words in (
        (900, "temperature 1, nothing cut"),
        (360, "own probabilities"),
        (240, "own, T = 1"),
    ):
        panel.resize(width, 300)
        assert words in panel.steps.legend.text()
        assert panel.steps.legend.sizeHint().width() <= panel.steps.width()


def test_that_the_loop_begins_with_the_encoders_output_and_the_start_token() -> None:
    run = make_run(0)
    encoder, start = cards_before(run)
    assert (encoder.heading, encoder.main) == ("encoder pass", "7 × 256")
    assert (start.heading, start.main, start.ref) == ("start token", "<pad>", TokenRef("start", 0))
    to_come = card_after(run)
    assert (to_come.heading, to_come.main) == ("step 0", "?")
    assert to_come.note == "Press Step to write the first token."


def test_that_a_decoder_only_run_begins_with_its_prompt() -> None:
    (prompt,) = cards_before(make_run(0, family="decoder-only"))
    assert (prompt.heading, prompt.main) == ("prompt", "7 tokens")
    assert "J'aime" in prompt.note


def test_that_the_last_card_says_why_the_loop_ended() -> None:
    end = card_after(make_run(6))
    assert (end.heading, end.note) == ("loop ended", "end-of-sequence token")


def test_that_cards_show_the_models_own_probabilities_best_first(
    panel: GenerationPanel, state: AppState, theme: Theme
) -> None:
    run = with_unlikely_choice(fill(state), 2, 4, forced=True)
    state.set_run(run)
    for step in run.steps:
        p = softmax(step)
        order = np.argsort(-p, kind="stable")
        parts = CardPainter(state, theme).parts(step, 400)
        assert parts[0].kind == "chosen"
        assert parts[0].token_id == step.token.id
        assert parts[0].probability == pytest.approx(p[step.token.id], abs=1e-6)
        assert parts[0].rank == int(np.flatnonzero(order == step.token.id)[0])
        shown = [part for part in parts if part.kind == "alternative"]
        expected = [int(i) for i in order[:10] if i != step.token.id]
        assert [part.token_id for part in shown] == expected
        assert [part.probability for part in shown] == pytest.approx(p[expected].tolist(), abs=1e-6)
        assert [part.rank for part in shown] == [int(np.flatnonzero(order == i)[0]) for i in expected]


def test_that_a_choice_that_was_not_the_most_likely_says_so(state: AppState) -> None:
    run = fill(state)
    assert how_chosen(run.steps[0]) == "greedy · rank 0"
    drawn = with_unlikely_choice(run, 0, 3, forced=False).steps[0]
    drawn = dataclasses.replace(drawn, params=SamplingParams(temperature=0.7))
    assert how_chosen(drawn) == "T 0.7 · rank 3"
    assert how_chosen(with_unlikely_choice(run, 0, 3, forced=True).steps[0]) == "forced · rank 3"


@pytest.mark.parametrize("scale", [1.0, 1.35])
def test_that_three_alternatives_fit_into_a_low_panel(
    panel: GenerationPanel, state: AppState, theme: Theme, scale: float
) -> None:
    theme.set_scale(scale)
    panel.resize(480, round(175 * scale))
    fill(state, 6)
    card = strip(panel).step_rect(5)
    parts = strip(panel).cards.parts(make_run(6).steps[5], card.height())
    assert sum(part.kind == "alternative" for part in parts) >= 3
    boxes = [part.rect for part in parts if part.kind != "card"]
    for i, box in enumerate(boxes):
        assert card.translated(-card.topLeft()).contains(box)
        assert not any(box.intersects(other) for other in boxes[:i])


def test_that_clicking_a_card_views_its_step_and_selects_its_token(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    assert state.viewed_step == 3
    strip(panel).ensure_visible(1)
    click(qtbot, panel, strip(panel).step_rect(1).topLeft() + QPoint(8, 8))
    assert state.viewed_step == 1
    assert state.selection == Selection(TokenRef("generated", 1))
    state.select(TokenRef("source", 2))
    click(qtbot, panel, strip(panel).part_rect(2, "chosen").center(), Qt.KeyboardModifier.ControlModifier)
    assert state.selection == Selection(TokenRef("source", 2), TokenRef("generated", 2))


def test_that_clicking_an_alternative_selects_it_in_the_vocabulary(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    token_id, point = alternative(panel, 1, 2)
    click(qtbot, panel, point)
    assert state.viewed_step == 1
    assert state.selection == Selection(TokenRef("vocabulary", token_id))


def test_that_a_double_click_on_an_alternative_forces_it_at_its_step(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    token_id, point = alternative(panel, 1, 0)
    asked: list[tuple[int, int | None]] = []
    state.force_requested.connect(lambda token: asked.append((token, state.viewed_step)))
    viewport = strip(panel).viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=point)
    assert asked == []
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=point)
    assert asked == [(token_id, 1)]


def test_that_the_selected_alternative_can_be_forced_by_its_link(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    token_id, point = alternative(panel, 3, 1)
    click(qtbot, panel, point)
    link = strip(panel).part_rect(3, "force", token_id)
    spy = QSignalSpy(state.force_requested)
    click(qtbot, panel, link.center())
    assert [spy.at(i)[0] for i in range(spy.count())] == [token_id]


def test_that_the_menu_of_a_card_forces_any_of_its_alternatives(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    strip(panel).ensure_visible(2)
    click(qtbot, panel, strip(panel).part_rect(2, "force_other").center())
    menu = panel.findChild(ForceMenu)
    assert menu is not None
    spy = QSignalSpy(state.force_requested)
    action = menu.actions()[3]
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())
    best = [token_id for token_id, _ in run.steps[2].best if token_id != run.steps[2].token.id]
    assert spy.at(0)[0] == best[2]
    assert state.viewed_step == 2


@pytest.mark.parametrize(
    ("typed", "token_id"), [("2210", 2210), ("▁learning", 2210), ("learning", 2210), ("0", 0)]
)
def test_that_any_token_can_be_typed_by_id_or_by_piece(
    qtbot: QtBot, panel: GenerationPanel, state: AppState, typed: str, token_id: int
) -> None:
    fill(state)
    menu = strip(panel).open_force_menu(1)
    assert menu is not None
    entry, echo = menu.findChild(QLineEdit, "force_entry"), menu.findChild(QLabel, "force_echo")
    assert entry is not None
    assert echo is not None
    type_into(qtbot, entry, typed)
    assert f"token ID {token_id}" in echo.text()
    spy = QSignalSpy(state.force_requested)
    qtbot.keyClick(entry, Qt.Key.Key_Return)
    assert spy.at(0)[0] == token_id
    assert not menu.isVisible()


@pytest.mark.parametrize("typed", [str(VOCABULARY), "99999999999", "no such piece", "-1", "<b>"])
def test_that_a_token_that_does_not_exist_cannot_be_forced(
    qtbot: QtBot, panel: GenerationPanel, state: AppState, typed: str
) -> None:
    fill(state)
    menu = strip(panel).open_force_menu(1)
    assert menu is not None
    entry, echo = menu.findChild(QLineEdit, "force_entry"), menu.findChild(QLabel, "force_echo")
    button = menu.findChild(QPushButton, "force_button")
    assert entry is not None
    assert echo is not None
    assert button is not None
    spy = QSignalSpy(state.force_requested)
    type_into(qtbot, entry, typed)
    qtbot.keyClick(entry, Qt.Key.Key_Return)
    assert spy.count() == 0
    assert not button.isEnabled()
    assert echo.text() == "no such token (IDs go from 0 to 7,999)"
    menu.close()


def test_that_hovering_lights_up_tokens_everywhere(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    fill(state)
    token_id, point = alternative(panel, 3, 0)
    viewport = strip(panel).viewport()
    qtbot.mouseMove(viewport, point - QPoint(2, 2))
    qtbot.mouseMove(viewport, point)
    assert state.hover == TokenRef("vocabulary", token_id)
    qtbot.mouseMove(viewport, strip(panel).part_rect(3, "chosen").center())
    assert state.hover == TokenRef("generated", 3)


def test_that_the_card_to_come_asks_for_a_step(qtbot: QtBot, panel: GenerationPanel, state: AppState) -> None:
    fill(state, 0)
    spy = QSignalSpy(state.step_requested)
    click(qtbot, panel, strip(panel)._side_rect(-1).center())
    assert spy.count() == 1
    click(qtbot, panel, strip(panel)._side_rect(1).center())
    assert state.selection == Selection(TokenRef("start", 0))


def test_that_keys_walk_the_steps_and_the_alternatives(
    qtbot: QtBot, panel: GenerationPanel, state: AppState
) -> None:
    run = fill(state)
    keys = strip(panel)
    qtbot.keyClick(keys, Qt.Key.Key_Left)
    assert (state.viewed_step, state.selection.token) == (2, TokenRef("generated", 2))
    qtbot.keyClick(keys, Qt.Key.Key_Home)
    assert state.viewed_step == 0
    qtbot.keyClick(keys, Qt.Key.Key_Left)
    assert state.viewed_step == 0
    qtbot.keyClick(keys, Qt.Key.Key_Down)
    best = [token_id for token_id, _ in run.steps[0].best if token_id != run.steps[0].token.id]
    assert state.selection.token == TokenRef("vocabulary", best[0])
    qtbot.keyClick(keys, Qt.Key.Key_Up)
    assert state.selection.token == TokenRef("generated", 0)
    qtbot.keyClick(keys, Qt.Key.Key_End)
    assert state.viewed_step == 3


def test_that_the_newest_step_comes_into_sight_and_viewed_ones_too(
    panel: GenerationPanel, state: AppState
) -> None:
    panel.resize(480, 240)
    fill(state, 1)
    for steps in (2, 5, 6):
        state.set_run(make_run(steps))
        assert strip(panel).viewport().rect().contains(strip(panel).step_rect(steps - 1))
    state.set_viewed_step(0)
    assert strip(panel).viewport().rect().contains(strip(panel).step_rect(0))


def test_that_an_ordinary_wheel_scrolls_sideways(panel: GenerationPanel, state: AppState) -> None:
    panel.resize(480, 240)
    fill(state, 6)
    bar = strip(panel).horizontalScrollBar()
    before = bar.value()
    at = QPointF(50, 50)
    up = QWheelEvent(
        at,
        strip(panel).viewport().mapToGlobal(at),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(strip(panel).viewport(), up)
    assert bar.value() == before - 120


def test_that_only_cards_in_sight_are_painted_of_a_thousand(
    panel: GenerationPanel, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fill(state)
    steps = tuple(dataclasses.replace(run.steps[i % 4], index=i) for i in range(1000))
    state.set_run(dataclasses.replace(run, steps=steps))
    painted: list[int] = []
    original = CardPainter.paint

    def count(self: CardPainter, painter: object, rect: object, step: StepRecord, **flags: bool) -> None:
        painted.append(step.index)
        original(self, painter, rect, step, **flags)  # type: ignore[arg-type]

    monkeypatch.setattr(CardPainter, "paint", count)
    panel.grab()
    assert 999 in painted
    assert len(painted) < 12


@pytest.mark.parametrize(
    ("steps", "params", "facts"),
    [
        (0, SamplingParams(temperature=0.0), "greedy · 0 steps"),
        (4, SamplingParams(temperature=0.0), "greedy · 4 steps"),
        (
            6,
            SamplingParams(temperature=0.7, top_k=40, seed=1),
            "temperature 0.7 · top-k 40 · seed 1 · 6 steps · ended: end-of-sequence token",
        ),
    ],
)
def test_that_the_facts_give_settings_steps_and_the_reason_of_the_end(
    panel: GenerationPanel, state: AppState, steps: int, params: SamplingParams, facts: str
) -> None:
    run = fill(state, steps)
    taken = tuple(dataclasses.replace(step, params=params) for step in run.steps)
    state.set_run(dataclasses.replace(run, steps=taken, params=params))
    assert panel.facts == facts


def test_that_tooltips_give_exact_numbers_and_the_settings(panel: GenerationPanel, state: AppState) -> None:
    run = fill(state)
    text = strip(panel).describe(strip(panel).part_rect(3, "chosen").center())
    assert f"probability {softmax(run.steps[3])[2210]:.4f}"[:-1] in text
    assert "rank 0" in text
    assert "chosen under: greedy" in text
    _, point = alternative(panel, 3, 0)
    assert "double click writes it at step 3" in strip(panel).describe(point)


def test_that_an_old_run_is_dimmed_and_colours_follow_the_theme(
    panel: GenerationPanel, state: AppState, theme: Theme
) -> None:
    fill(state)
    fresh = panel.grab().toImage()
    state.set_source_text("something else")
    assert panel.grab().toImage() != fresh
    state.set_source_text("J'aime l'apprentissage automatique.")
    assert panel.grab().toImage() == fresh
    theme.set_scheme("dark")
    assert panel.grab().toImage() != fresh


def test_that_a_step_chosen_under_other_settings_is_told_so(panel: GenerationPanel, state: AppState) -> None:
    run = fill(state)
    rect = strip(panel).part_rect(2, "chosen")
    assert strip(panel).describe(rect.center()).endswith("chosen under: greedy")
    plain = strip(panel).viewport().grab().toImage()
    state.set_sampling(SamplingParams(temperature=0, seed=4))  # says the same while nothing is drawn
    assert strip(panel).viewport().grab().toImage() == plain
    state.set_sampling(SamplingParams(temperature=0.7))
    assert strip(panel).describe(rect.center()).endswith("chosen under: greedy (now: temperature 0.7)")
    assert strip(panel).viewport().grab().toImage() != plain
    assert not under_other_settings(dataclasses.replace(run.steps[2], forced=True), state.sampling)
