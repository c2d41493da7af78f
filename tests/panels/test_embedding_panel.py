from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState, Emphasis
from explorer.core import geometry
from explorer.core.records import PairReading
from explorer.core.selection import Selection, TokenRef
from explorer.panels.embedding_panel import EmbeddingPanel
from explorer.panels.widgets.label_layout import place_labels
from explorer.panels.widgets.raster_canvas import splat
from explorer.panels.widgets.scatter3d import Scatter3D
from explorer.panels.widgets.scatter_overlay import Mark
from explorer.theme import DARK, Theme
from tests.support import TEXT, fill, make_cloud, make_model

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


def make_panel(qtbot: QtBot, state: AppState, theme: Theme) -> EmbeddingPanel:
    panel = EmbeddingPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(700, 620)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> EmbeddingPanel:
    fill(state)
    return make_panel(qtbot, state, theme)


def spot(scatter: Scatter3D, token_id: int) -> QPoint:
    x, y, _ = scatter.screen_positions([token_id])[:, 1]
    return QPoint(round(float(x)), round(float(y)))


def settle(qtbot: QtBot, panel: EmbeddingPanel) -> None:
    qtbot.waitUntil(lambda: not panel.scatter.flying)


def mark(panel: EmbeddingPanel, token_id: int) -> Mark:
    return next(m for m in panel.scatter.marks if m.index == token_id)


def test_that_an_empty_panel_says_what_to_do(qtbot: QtBot, state: AppState, theme: Theme) -> None:
    panel = make_panel(qtbot, state, theme)
    assert not panel.body.isVisible()
    state.set_model(make_model())
    assert not panel.body.isVisible()
    state.set_cloud(make_cloud())
    assert panel.body.isVisible()


def test_that_the_facts_state_the_variance_and_how_it_is_drawn(panel: EmbeddingPanel) -> None:
    assert panel.facts.startswith("8,000 tokens · exact PCA · 3 axes explain 6.1 % of variance")
    offscreen = QGuiApplication.platformName() == "offscreen"
    assert panel.facts.endswith("drawn without OpenGL") == offscreen


def test_that_every_token_of_the_sentence_is_marked_in_its_colour(
    panel: EmbeddingPanel, state: AppState
) -> None:
    ids = {state.token_id(ref) for ref in state.refs()}
    assert {m.index for m in panel.scatter.marks} == ids
    assert mark(panel, 5120).sides == ("source",)
    assert mark(panel, 2210).sides == ("generated",)
    state.set_source_text(TEXT + " Oui.")
    assert not mark(panel, 5120).pale
    assert mark(panel, 2210).pale


def test_that_a_click_on_a_point_selects_its_token(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    qtbot.mouseClick(panel.scatter, LEFT, pos=spot(panel.scatter, 5120))
    assert state.selection == Selection(TokenRef("source", 3))
    assert mark(panel, 5120).emphasis is Emphasis.SELECTED
    assert not panel.tools.card.isVisible()


def test_that_a_control_click_measures_the_angle_of_a_pair(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    qtbot.mouseClick(panel.scatter, LEFT, pos=spot(panel.scatter, 5120))
    settle(qtbot, panel)
    qtbot.mouseClick(panel.scatter, LEFT, CONTROL, pos=spot(panel.scatter, 2210))
    assert state.selection == Selection(TokenRef("source", 3), TokenRef("generated", 3))
    assert panel.tools.card.isVisible()
    assert panel.tools.card.text is not None
    assert panel.tools.card.text.reading is None
    state.set_pair(PairReading((5120, 2210), 0.479, 61.4, 0.3, 0.8, (0.7, 0.9)))
    settle(qtbot, panel)
    text = panel.tools.card.text
    assert text.reading is state.pair
    assert [piece for piece, _ in text.pieces] == ["apprentissage", "▁learning"]
    assert "true angle 61.4" in panel.tools.card.accessibleName()
    assert "6.1 % of the variance" in text.reason


def test_that_a_reading_of_another_pair_is_not_shown(panel: EmbeddingPanel, state: AppState) -> None:
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    state.set_pair(PairReading((1, 2), 0.9, 10.0, 0.3, 0.8, (0.7, 0.9)))
    assert panel.tools.card.text is not None
    assert panel.tools.card.text.reading is None


def test_that_the_angle_on_screen_follows_the_camera(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    settle(qtbot, panel)
    before = panel.tools.card.text
    assert before is not None
    seen = panel.scatter.screen_positions([5120, 2210])[:2].T
    assert before.on_screen_degrees == pytest.approx(geometry.on_screen_angle(*seen))
    drag(panel.scatter, QPoint(300, 200), QPoint(420, 230))
    assert panel.tools.card.text is not None
    assert panel.tools.card.text.on_screen_degrees != before.on_screen_degrees


def drag(scatter: Scatter3D, start: QPoint, end: QPoint, button: Qt.MouseButton = LEFT) -> None:
    QTest.mousePress(scatter, button, pos=start)
    for share in (0.3, 0.7, 1.0):
        QTest.mouseMove(scatter, start + (end - start) * share)
        QApplication.processEvents()
    QTest.mouseRelease(scatter, button, pos=end)


def test_that_dragging_turns_and_home_returns(qtbot: QtBot, panel: EmbeddingPanel, state: AppState) -> None:
    scatter, home = panel.scatter, panel.scatter.camera
    drag(scatter, QPoint(300, 200), QPoint(360, 240))
    assert scatter.camera.azimuth != home.azimuth
    assert scatter.camera.elevation > home.elevation
    assert scatter.camera.center == home.center
    assert state.selection == Selection()
    scatter.setFocus()
    qtbot.keyClick(scatter, Qt.Key.Key_Home)
    settle(qtbot, panel)
    assert scatter.camera.azimuth == pytest.approx(home.azimuth)
    drag(scatter, QPoint(300, 200), QPoint(360, 240), Qt.MouseButton.RightButton)
    assert scatter.camera.center != home.center
    qtbot.mouseClick(panel.home_button, LEFT)
    settle(qtbot, panel)
    assert scatter.camera.center == pytest.approx(home.center)


def test_that_the_wheel_and_the_keys_zoom_and_turn(qtbot: QtBot, panel: EmbeddingPanel) -> None:
    scatter, home = panel.scatter, panel.scatter.camera
    here = QPointF(200, 200)
    event = QWheelEvent(
        here,
        scatter.mapToGlobal(here),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(scatter, event)
    assert scatter.camera.distance < home.distance
    qtbot.keyClick(scatter, Qt.Key.Key_Minus)
    qtbot.keyClick(scatter, Qt.Key.Key_Minus)
    assert scatter.camera.distance == pytest.approx(home.distance)
    qtbot.keyClick(scatter, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert scatter.camera.azimuth < home.azimuth


def test_that_hovering_a_point_names_it_everywhere(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    qtbot.mouseMove(panel.scatter, spot(panel.scatter, 5120))
    qtbot.waitUntil(lambda: state.hover == TokenRef("source", 3))
    assert mark(panel, 5120).label == "apprentissage · 5120"
    lonely = lonely_token(panel, state)
    qtbot.mouseMove(panel.scatter, spot(panel.scatter, lonely))
    qtbot.waitUntil(lambda: state.hover == TokenRef("vocabulary", lonely))
    assert mark(panel, lonely).label == f"▁piece{lonely} · {lonely}"


def lonely_token(panel: EmbeddingPanel, state: AppState) -> int:
    """A token of no sentence that is alone under its place on screen."""
    assert state.cloud is not None
    seen = panel.scatter.screen_positions(range(len(state.cloud.pieces)))[:2, 1:]
    inside = np.flatnonzero((np.abs(seen - 300) < 220).all(axis=0))
    marked = {m.index for m in panel.scatter.marks}
    for token_id in inside:
        others = np.hypot(*(seen - seen[:, token_id : token_id + 1]))
        others[token_id] = np.inf
        if others.min() > 20 and token_id not in marked:
            return int(token_id)
    raise AssertionError("no point is alone")


def test_that_a_click_on_nothing_selects_nothing(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    state.select(TokenRef("source", 3))
    settle(qtbot, panel)
    qtbot.mouseClick(panel.scatter, LEFT, pos=QPoint(3, panel.scatter.height() - 3))
    assert state.selection == Selection()


def test_that_a_selection_elsewhere_comes_into_view(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    while panel.scatter.rect().contains(spot(panel.scatter, 5120)):
        qtbot.keyClick(panel.scatter, Qt.Key.Key_Plus)
    state.select(TokenRef("source", 3))
    settle(qtbot, panel)
    assert panel.scatter.rect().contains(spot(panel.scatter, 5120))


def test_that_a_selected_row_of_the_vocabulary_is_marked_too(panel: EmbeddingPanel, state: AppState) -> None:
    state.select(TokenRef("vocabulary", 4321))
    assert mark(panel, 4321).label == "▁piece4321"
    assert mark(panel, 4321).emphasis is Emphasis.SELECTED


@pytest.mark.parametrize("size", [(380, 260), (1200, 800)])
@pytest.mark.parametrize("scale", [1.0, 1.35])
def test_that_it_is_drawn_at_every_size_and_in_both_schemes(
    qtbot: QtBot, state: AppState, theme: Theme, size: tuple[int, int], scale: float
) -> None:
    fill(state)
    panel = make_panel(qtbot, state, theme)
    theme.set_scale(scale)
    theme.set_scheme("dark")
    panel.resize(*size)
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    settle(qtbot, panel)
    picture = panel.grab().toImage()
    corner = panel.scatter.mapTo(panel, QPoint(1, panel.scatter.height() - 2))
    assert picture.pixelColor(corner) == DARK.color("surface")
    assert panel.tools.geometry().top() >= panel.scatter.geometry().bottom()


@pytest.mark.parametrize("axes", [1, 2])
def test_that_fewer_than_three_axes_are_drawn(qtbot: QtBot, state: AppState, theme: Theme, axes: int) -> None:
    fill(state)
    panel = make_panel(qtbot, state, theme)
    cloud = make_cloud()
    state.set_cloud(
        dataclasses.replace(
            cloud,
            coordinates=cloud.coordinates[:, :axes],
            explained_variance_ratio=cloud.explained_variance_ratio[:axes],
            origin=cloud.origin[:axes],
        )
    )
    panel.grab()
    assert f"{axes} ax" in panel.facts


def test_that_hostile_pieces_are_drawn_as_they_are(qtbot: QtBot, state: AppState, theme: Theme) -> None:
    fill(state)
    panel = make_panel(qtbot, state, theme)
    cloud = make_cloud()
    hostile = ("<b>bold</b>", "", "\t\n", "#%1", "שלום", "👩‍👩‍👧", "x" * 300)
    state.set_cloud(dataclasses.replace(cloud, pieces=(*hostile, *cloud.pieces[len(hostile) :])))
    for token_id in range(1, len(hostile)):
        state.set_selection(Selection(TokenRef("vocabulary", token_id - 1), TokenRef("vocabulary", token_id)))
        panel.grab()
    assert "&lt;b&gt;" not in mark(panel, 5).label


def test_that_labels_never_lie_on_each_other_or_outside() -> None:
    rng = np.random.default_rng(1)
    anchors = [(float(x), float(y), 4.0) for x, y in rng.uniform(40, 360, (40, 2))]
    sizes = [(float(w), 14.0) for w in rng.uniform(20, 70, 40)]
    placed = place_labels(anchors, sizes, 400, 400, 4.0)
    assert len(placed) >= 30
    boxes = [(p.left, p.top, p.left + sizes[p.index][0], p.top + 14.0) for p in placed]
    for i, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[1] >= 0
        assert a[2] <= 400
        assert a[3] <= 400
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_that_splatting_does_not_depend_on_the_order_of_the_points() -> None:
    rng = np.random.default_rng(2)
    positions = rng.uniform(-5, 65, (2, 300)).astype(np.float32)
    positions[:, 0] = np.nan
    depth, colors = rng.uniform(0, 1, 300), rng.uniform(0, 1, (300, 4)).astype(np.float32)
    picture = splat(positions, depth.astype(np.float32), colors, 60, 50, 4.0)
    assert picture.shape == (50, 60, 4)
    assert picture[..., 3].max() > 100
    order = rng.permutation(300)
    again = splat(positions[:, order], depth[order].astype(np.float32), colors[order], 60, 50, 4.0)
    assert np.abs(picture.astype(int) - again).max() <= 1


def test_that_a_splatted_point_lies_where_it_was_projected() -> None:
    point = np.array([[20.0], [30.0]], dtype=np.float32)
    color = np.array([[1.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    picture = splat(point, np.zeros(1, dtype=np.float32), color, 60, 50, 5.0)
    rows, columns = np.nonzero(picture[..., 3])
    assert (rows.mean(), columns.mean()) == (30.0, 20.0)
    assert picture[30, 20, 0] > 250


@pytest.mark.gl
@pytest.mark.skipif(
    "QGuiApplication.platformName() == 'offscreen'",
    reason="the offscreen platform has no OpenGL; run with xvfb-run and QT_QPA_PLATFORM=xcb",
)
def test_that_opengl_draws_points_where_they_are_picked(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    assert panel.scatter.no_opengl is None
    lonely = lonely_token(panel, state)
    picture = panel.scatter.grab().toImage()
    ratio = picture.devicePixelRatio()
    here = spot(panel.scatter, lonely) * ratio
    empty = picture.pixelColor(2, picture.height() - 2)
    assert picture.pixelColor(here) != empty
    assert panel.scatter.point_at(QPointF(spot(panel.scatter, lonely))) == lonely


def test_that_without_opengl_points_are_drawn_where_they_are_picked(qtbot: QtBot, theme: Theme) -> None:
    scatter = Scatter3D(theme, opengl=False)
    qtbot.addWidget(scatter)
    scatter.resize(400, 300)
    scatter.show()
    points = np.array([[0.5, 0.2, 0.0], [-0.4, -0.3, 0.3]], dtype=np.float32)
    scatter.set_scene(points, (0, 0, 0), ("a", "b", "c"))
    scatter.set_colors(np.array([[1, 0, 0, 1], [0, 1, 0, 1]], dtype=np.float32))
    picture = scatter.grab().toImage()
    for index, channel in enumerate(("red", "green")):
        where = spot(scatter, index)
        color = picture.pixelColor(where * picture.devicePixelRatio())
        assert getattr(color, channel)() > 200
        assert scatter.point_at(QPointF(where)) == index
