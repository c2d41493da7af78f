"""The softmax panel, driven as a hand would drive it; its numbers against float64."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.records import StepRecord
from explorer.core.sampling import GREEDY, RankedLogits, SamplingParams
from explorer.core.selection import Selection, TokenRef
from explorer.panels.softmax import bar_content
from explorer.panels.softmax.bar_geometry import make_axis
from explorer.panels.softmax.distribution_bars import describe
from explorer.panels.softmax_panel import SoftmaxPanel
from explorer.theme import Theme
from tests.panels.softmax_hands import OPEN, bar_point, current_step, handle, reference, slider, type_into
from tests.support import GENERATED, VOCABULARY, fill


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> SoftmaxPanel:
    panel = SoftmaxPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(1200, 420)
    panel.show()
    fill(state)
    state.set_sampling(OPEN)
    qtbot.waitExposed(panel)
    QApplication.processEvents()
    return panel


# -- sliders, boxes, presets ----------------------------------------------------------------------


def test_that_dragging_the_temperature_slider_reshapes(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    widget, start = slider(panel, "temperature").slider, handle(panel, "temperature")
    seen: list[float] = []
    state.sampling_changed.connect(lambda: seen.append(state.sampling.temperature))
    before = panel.bars.content
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start)
    for x in (10, 20, 30, 40):
        qtbot.mouseMove(widget, start + QPoint(x, 0))
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=start + QPoint(40, 0))
    assert state.sampling.temperature > 1.0
    assert seen == sorted(seen)
    assert panel.bars.content is not before
    assert float(slider(panel, "temperature").entry.text()) == state.sampling.temperature
    p = reference(current_step(state), state.sampling.temperature)
    for bar in panel.bars.content.bars:
        assert bar.after == pytest.approx(p[bar.token_id], abs=1e-6)


def test_that_a_move_sorts_nothing(
    panel: SoftmaxPanel, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("logits were ranked again")

    monkeypatch.setattr(RankedLogits, "__init__", refuse)
    state.set_sampling(SamplingParams(1.7, top_k=30, top_p=0.9, min_p=0.01))
    assert panel.bars.content.bars[-1].after == 0.0


@pytest.mark.parametrize(
    ("name", "text", "value", "shown"),
    [
        ("temperature", "0.73", 0.73, "0.73"),
        ("temperature", "1,5", 1.5, "1.50"),
        ("temperature", "0.0123", 0.0123, "0.0123"),
        ("temperature", "greedy", 0.0, "greedy"),
        ("temperature", "0", 0.0, "greedy"),
        ("temperature", "99", 10.0, "10.00"),
        ("top_k", "40", 40, "40"),
        ("top_k", "999999", VOCABULARY, str(VOCABULARY)),
        ("top_k", "0", 1, "1"),
        ("top_k", "off", None, "off"),
        ("top_p", "0.9", 0.9, "0.900"),
        ("top_p", "0", 0.0, "0.000"),
        ("top_p", "-3", 0.0, "0.000"),
        ("top_p", "1", 1.0, "1.000"),
        ("min_p", "0.05", 0.05, "0.050"),
        ("min_p", "1e-9", 1e-9, "1e-09"),
        ("min_p", "off", None, "off"),
    ],
)
def test_that_an_exact_number_can_be_typed(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState, name: str, text: str, value: float | None, shown: str
) -> None:
    type_into(qtbot, panel, name, text)
    assert getattr(state.sampling, name) == value
    assert slider(panel, name).entry.text() == shown


@pytest.mark.parametrize("text", ["much", "nan", "inf", "1.2.3", "1 2"])
def test_that_nonsense_changes_nothing(qtbot: QtBot, panel: SoftmaxPanel, state: AppState, text: str) -> None:
    type_into(qtbot, panel, "temperature", text)
    assert state.sampling == OPEN
    assert slider(panel, "temperature").entry.text() == "1.00"


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p"])
def test_that_sliders_at_their_ends_never_fail(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState, name: str
) -> None:
    widget = slider(panel, name).slider
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Left, Qt.Key.Key_End, Qt.Key.Key_Right, Qt.Key.Key_Home):
        for _ in range(3):
            qtbot.keyClick(widget, key)
        assert 1 <= current_step(state).distribution(state.sampling).kept_count <= VOCABULARY
        assert sum(bar.after for bar in panel.bars.content.bars) <= 1.0 + 1e-6


def test_that_arrow_keys_step_by_round_numbers(qtbot: QtBot, panel: SoftmaxPanel, state: AppState) -> None:
    type_into(qtbot, panel, "temperature", "0.83")
    for key, value in ((Qt.Key.Key_Right, 0.85), (Qt.Key.Key_Up, 0.9), (Qt.Key.Key_Left, 0.85)):
        qtbot.keyClick(slider(panel, "temperature").slider, key)
        assert state.sampling.temperature == pytest.approx(value)
    type_into(qtbot, panel, "temperature", "0.05")
    qtbot.keyClick(slider(panel, "temperature").entry, Qt.Key.Key_Down)
    assert state.sampling.greedy
    qtbot.keyClick(slider(panel, "temperature").entry, Qt.Key.Key_Up)
    assert state.sampling.temperature == 0.05


def test_that_escape_in_the_box_takes_the_typing_back(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    entry = slider(panel, "top_p").entry
    qtbot.keyClicks(entry, "0.3")
    qtbot.keyClick(entry, Qt.Key.Key_Escape)
    assert entry.text() == "off"
    assert state.sampling == OPEN


def test_that_a_double_click_on_the_name_resets(qtbot: QtBot, panel: SoftmaxPanel, state: AppState) -> None:
    state.set_sampling(SamplingParams(3.0, top_k=5))
    qtbot.mouseDClick(slider(panel, "temperature").label, Qt.MouseButton.LeftButton)
    assert state.sampling == SamplingParams(1.0, top_k=5)
    qtbot.mouseDClick(slider(panel, "top_k").label, Qt.MouseButton.LeftButton)
    assert state.sampling == OPEN


def test_that_presets_set_the_shape_and_keep_the_seed(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    state.set_sampling(SamplingParams(seed=4, repetition_penalty=1.1))
    for name in ("Greedy", "Focused", "Balanced", "Creative"):
        button = panel.controls.presets[name]
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert button.isChecked()
        assert [n for n, b in panel.controls.presets.items() if b.isChecked()] == [name]
        assert (state.sampling.seed, state.sampling.repetition_penalty) == (4, 1.1)
        assert state.sampling.summary.split(" · ")[0] in button.toolTip()
    qtbot.mouseClick(panel.controls.presets["Greedy"], Qt.MouseButton.LeftButton)
    assert state.sampling.greedy
    slider(panel, "temperature").slider.setValue(300)
    assert not panel.controls.presets["Greedy"].isChecked()


def test_that_settings_changed_elsewhere_show_without_an_echo(panel: SoftmaxPanel, state: AppState) -> None:
    written: list[SamplingParams] = []
    panel.controls.params_edited.connect(written.append)
    state.set_sampling(SamplingParams(0.123456, top_k=7, top_p=0.5, min_p=0.25))
    texts = [slider(panel, name).entry.text() for name in ("temperature", "top_k", "top_p", "min_p")]
    assert texts == ["0.123456", "7", "0.500", "0.250"]
    assert written == []
    assert state.sampling.temperature == 0.123456


# -- numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [700, 1200, 1900])
def test_that_the_bars_are_the_most_likely_with_exact_numbers_and_as_many_as_fit(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState, width: int
) -> None:
    state.set_sampling(SamplingParams(1.6, top_k=20))
    panel.resize(width, 420)
    qtbot.wait(20)
    step = current_step(state)
    p, reshaped = reference(step), reference(step, 1.6)
    order = np.argsort(-step.scores)
    reshaped[order[20:]] = 0
    reshaped /= reshaped.sum()
    bars = panel.bars.content.bars
    count = len(bars)
    assert count == panel.bars.room == min(50, panel.bars.width() // 28)
    assert [bar.token_id for bar in bars] == order[:count].tolist()
    for rank, bar in enumerate(bars):
        assert bar.rank == rank
        assert bar.before == pytest.approx(p[bar.token_id], abs=1e-6)
        assert bar.after == pytest.approx(reshaped[bar.token_id], abs=1e-6)
        assert bar.kept == (rank < 20)
    assert panel.bars.content.rest_before == pytest.approx(p[order[count:]].sum(), abs=1e-5)
    assert panel.rest_line.text().startswith(f"{8000 - count:,} more tokens")
    assert panel.bars.content.rest_after == 0.0


def test_that_the_facts_are_those_of_the_reshaped_distribution(panel: SoftmaxPanel, state: AppState) -> None:
    state.set_sampling(SamplingParams(1.6, top_k=14))
    p = reference(current_step(state), 1.6)
    kept = np.sort(p)[::-1][:14]
    mass_cut = 1.0 - kept.sum()
    kept /= kept.sum()
    entropy, choices = -(kept * np.log2(kept)).sum(), 1.0 / (kept**2).sum()
    assert panel.facts == (
        f"whole vocabulary 8,000 · 14 tokens stay · mass cut {mass_cut * 100:.1f} % · "
        f"entropy {entropy:.2f} bits · {choices:.1f} effective choices · perplexity {2**entropy:.1f}"
    )


def test_that_the_reading_gives_six_digits(panel: SoftmaxPanel, state: AppState) -> None:
    state.set_sampling(SamplingParams(0.8))
    step = current_step(state)
    bar = panel.bars.content.bars[4]
    state.set_hover(TokenRef("vocabulary", bar.token_id))
    found = re.fullmatch(r"(\S+) · ID (\d+) · rank (\d+) · model (\S+) → (\S+)", panel.reading.text())
    assert found is not None
    assert found[1] == state.piece(bar.token_id)
    assert (int(found[2]), int(found[3])) == (bar.token_id, 4)
    assert float(found[4]) == pytest.approx(reference(step)[bar.token_id], rel=1e-5)
    assert float(found[5]) == pytest.approx(reference(step, 0.8)[bar.token_id], rel=1e-5)


def test_that_a_token_selected_elsewhere_is_read_also_without_a_bar(
    panel: SoftmaxPanel, state: AppState
) -> None:
    state.select(TokenRef("source", 3))
    token_id = state.token_id(TokenRef("source", 3))
    assert panel.reading.text().startswith(f"apprentissage · ID {token_id} · rank ")


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1e-9, "< 0.1 %"), (0.0321, "3.2 %"), (1.0, "100 %")]
)
def test_that_small_shares_are_not_called_nothing(share: float, text: str) -> None:
    assert bar_content.percent_text(share) == text


# -- the step ---------------------------------------------------------------------------------------


def test_that_the_panel_follows_the_viewed_step(panel: SoftmaxPanel, state: AppState) -> None:
    assert panel.step_line.text() == "step 3 · after ▁machine · chose ▁learning under: greedy"
    state.set_viewed_step(0)
    assert panel.step_line.text().startswith("step 0 · after <pad> · chose ▁I")
    assert panel.bars.content.bars[0].token_id == GENERATED[0].id
    state.set_sampling(GREEDY)
    assert "under:" not in panel.step_line.text()


def test_that_cut_lines_say_which_setting_cut_where(panel: SoftmaxPanel, state: AppState) -> None:
    state.set_sampling(SamplingParams(3.0, top_k=30, top_p=0.6, min_p=0.9))
    cuts = current_step(state).distribution(state.sampling).cuts
    assert [(line.rank, line.text) for line in panel.bars.content.cut_lines] == [
        (cut.end_rank, text) for cut, text in zip(cuts, ("top-k 30", "top-p 0.6", "min-p 0.9"), strict=True)
    ]


def test_that_a_chosen_token_far_down_has_its_bar_behind_a_gap(panel: SoftmaxPanel, state: AppState) -> None:
    step = current_step(state)
    far = int(step.ranked.order[500])
    assert state.run is not None
    forced = StepRecord(
        0,
        type(step.token)(far, "far", "far", None, False),
        step.logits,
        step.scores,
        step.previous_ids,
        GREEDY,
        True,
        0.0,
    )
    state.set_run(type(state.run)(**{**vars(state.run), "run_id": 2, "steps": (forced,)}))
    content = panel.bars.content
    assert content.gap
    assert [content.bars[-1].rank, content.bars[-1].chosen, len(content.bars)] == [
        500,
        True,
        panel.bars.room + 1,
    ]
    assert "by hand" in panel.step_line.text()
    panel.grab()


def test_that_without_a_run_one_sentence_says_what_to_do(qtbot: QtBot, state: AppState, theme: Theme) -> None:
    panel = SoftmaxPanel(state, theme)
    qtbot.addWidget(panel)
    panel.show()
    assert not panel.body.isVisible()
    assert panel.facts == ""
    fill(state)
    assert panel.body.isVisible()
    assert panel.bars.content.bars
    # Settings can be chosen before the first step, and the grid filled.
    state.set_run(None)
    assert panel.controls.isVisible()
    assert panel.bars.content.bars == ()
    assert panel.bars.message.startswith("Press Step")
    assert panel.facts == panel.reading.text() == panel.step_line.text() == panel.rest_line.text() == ""
    panel.grab()


def test_that_settings_which_leave_no_token_say_so_and_harm_nothing(
    panel: SoftmaxPanel, state: AppState
) -> None:
    step = current_step(state)
    assert state.run is not None
    scores = np.full(VOCABULARY, -np.inf, dtype=np.float32)
    scores[5] = 1.0
    only = StepRecord(0, step.token, step.logits, scores, np.array([5, 5]), GREEDY, False, 0.0)
    state.set_run(type(state.run)(**{**vars(state.run), "run_id": 3, "steps": (only,)}))
    assert panel.facts.startswith("whole vocabulary 8,000 · 1 token stays · mass cut 0 %")
    state.set_sampling(SamplingParams(no_repeat_ngram_size=1))
    assert panel.bars.content.bars == ()
    assert panel.facts == panel.reading.text() == ""
    assert panel.controls.isVisible()
    panel.grab()
    state.set_sampling(SamplingParams())
    assert len(panel.bars.content.bars) == panel.bars.room + 1


# -- pointing ---------------------------------------------------------------------------------------


def test_that_hovering_a_bar_points_at_its_token(qtbot: QtBot, panel: SoftmaxPanel, state: AppState) -> None:
    qtbot.mouseMove(panel.bars, bar_point(panel, 2))
    assert state.hover == TokenRef("vocabulary", panel.bars.content.bars[2].token_id)
    qtbot.mouseMove(panel.bars, bar_point(panel, 0))
    assert state.hover == TokenRef("generated", 3)
    QApplication.sendEvent(panel.bars, QEvent(QEvent.Type.Leave))
    assert state.hover is None


def test_that_a_slanted_label_is_its_bar_too(qtbot: QtBot, panel: SoftmaxPanel, state: AppState) -> None:
    geometry = panel.bars.geometry_of_bars()
    point = QPointF(geometry.middle(6) + 10, geometry.plot.bottom() + 10 * 1.732)
    qtbot.mouseMove(panel.bars, point.toPoint())
    assert state.hover == TokenRef("vocabulary", panel.bars.content.bars[6].token_id)


def test_that_a_click_selects_a_pair_with_ctrl_and_nothing_beside_the_bars(
    qtbot: QtBot, panel: SoftmaxPanel, state: AppState
) -> None:
    first, other = (TokenRef("vocabulary", panel.bars.content.bars[i].token_id) for i in (1, 5))
    qtbot.mouseClick(panel.bars, Qt.MouseButton.LeftButton, pos=bar_point(panel, 1))
    assert state.selection == Selection(first)
    control = Qt.KeyboardModifier.ControlModifier
    qtbot.mouseClick(panel.bars, Qt.MouseButton.LeftButton, control, bar_point(panel, 5))
    assert state.selection == Selection(first, other)
    qtbot.mouseClick(panel.bars, Qt.MouseButton.LeftButton, pos=bar_point(panel, 0))
    assert state.selection == Selection(TokenRef("generated", 3))
    qtbot.mouseClick(panel.bars, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert state.selection == Selection()


def amber_pixels(panel: SoftmaxPanel, theme: Theme) -> int:
    image = panel.bars.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits = np.frombuffer(image.constBits(), dtype=np.uint32).reshape(image.height(), -1)
    return int((bits == theme.color("selection").rgb()).sum())


def test_that_a_selected_token_stands_out_more_than_a_hovered_one(
    panel: SoftmaxPanel, state: AppState, theme: Theme
) -> None:
    ref = TokenRef("vocabulary", panel.bars.content.bars[3].token_id)
    plain = amber_pixels(panel, theme)
    state.set_hover(ref)
    hovered = amber_pixels(panel, theme)
    state.set_hover(None)
    state.select(ref)
    assert plain < hovered < amber_pixels(panel, theme)


def test_that_hostile_pieces_are_shown_letter_for_letter() -> None:
    bar = bar_content.Bar(7, "<b>\t\u202e" + "x" * 300, 3, 0.5, 0.0, False, False)
    text = describe(bar)
    assert text.startswith("<b>⇥�xxx")
    assert text.endswith("ID 7 · rank 3\nmodel 0.500000\nreshaped cut")


# -- looks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1.35])
@pytest.mark.parametrize(("width", "height"), [(380, 260), (420, 460), (900, 420), (1200, 800), (1900, 260)])
def test_that_no_control_is_cut_at_any_size(
    qtbot: QtBot, panel: SoftmaxPanel, theme: Theme, state: AppState, width: int, height: int, scale: float
) -> None:
    theme.set_scale(scale)
    panel.resize(width, height)
    content = panel.controls.parentWidget()
    assert content is not None
    widgets = (panel.bars, panel.controls, panel.log_axis, panel.fit_axis)

    def all_inside() -> bool:
        places = [QRect(widget.mapTo(content, QPoint(0, 0)), widget.size()) for widget in widgets]
        return content.width() <= width and all(content.rect().contains(place) for place in places)

    qtbot.waitUntil(all_inside)
    assert panel.bars.geometry_of_bars().plot.height() > 40
    for button in panel.controls.presets.values():
        assert button.geometry().right() < panel.controls.width()
    panel.grab()


def test_that_controls_stand_beside_a_wide_chart_and_below_a_narrow_one(panel: SoftmaxPanel) -> None:
    assert panel.controls.x() > panel.bars.geometry().right()
    panel.resize(420, 600)
    QApplication.processEvents()
    assert panel.controls.y() > panel.bars.geometry().bottom()


@pytest.mark.parametrize(
    ("probabilities", "logarithmic", "fitted", "ends"),
    [
        ([0.9, 0.0], False, False, (0.0, 1.0)),
        ([0.31, 0.1], False, True, (0.0, 0.4)),
        ([0.9, 1e-9], True, False, (1e-6, 1.0)),
        ([0.05, 2e-4], True, True, (1e-4, 0.1)),
        ([1.0], True, True, (0.1, 1.0)),
        ([0.0], False, True, (0.0, 1.0)),
        ([1e-45], True, True, (1e-13, 1e-12)),
    ],
)
def test_that_the_axis_is_fixed_or_fits_the_bars(
    probabilities: list[float], logarithmic: bool, fitted: bool, ends: tuple[float, float]
) -> None:
    axis = make_axis(probabilities, logarithmic=logarithmic, fitted=fitted)
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert len(axis.ticks(5)) >= 2
    assert axis.way(0.0) == 0.0
    assert axis.way(1.0) == 1.0


def test_that_axis_buttons_change_the_axis(qtbot: QtBot, panel: SoftmaxPanel) -> None:
    qtbot.mouseClick(panel.fit_axis, Qt.MouseButton.LeftButton)
    assert panel.bars.axis.high < 1.0
    qtbot.mouseClick(panel.log_axis, Qt.MouseButton.LeftButton)
    assert panel.bars.axis.logarithmic
    panel.grab()


def test_that_bars_of_an_older_text_are_faded(panel: SoftmaxPanel, state: AppState) -> None:
    fresh = panel.bars.grab().toImage()
    state.set_source_text("another")
    assert panel.bars.grab().toImage() != fresh
    state.set_source_text("J'aime l'apprentissage automatique.")
    assert panel.bars.grab().toImage() == fresh
