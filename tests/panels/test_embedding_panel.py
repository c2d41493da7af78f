from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState, Emphasis
from explorer.core import geometry
from explorer.core.records import PairReading
from explorer.core.selection import Selection, TokenRef
from explorer.core.token_kinds import KINDS
from explorer.core.vectors import Arithmetic, CosineMatrix, Neighbourhood, TokenPath
from explorer.panels.embedding import cloud_export
from explorer.panels.embedding.cloud_view import cloud_colors
from explorer.panels.embedding.embedding_tools import TOOLS
from explorer.panels.embedding.label_layout import MOST_LABELS
from explorer.panels.embedding.raster_canvas import splat
from explorer.panels.embedding.scatter3d import Scatter3D
from explorer.panels.embedding.scatter_overlay import Mark, ScatterOverlay
from explorer.panels.embedding_panel import EmbeddingPanel
from explorer.theme import DARK, Theme
from tests.support import TEXT, fill, make_cloud, make_model, make_run

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
    assert panel.facts.startswith("3 axes explain 6.1 % of variance · exact PCA · 8,000 tokens")
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


def test_that_a_long_sentence_leaves_a_tools_tokens_their_names(panel: EmbeddingPanel) -> None:
    overlay = panel.scatter.findChild(ScatterOverlay)
    assert overlay is not None
    rng = np.random.default_rng(0)
    spread = [tuple(place) for place in rng.uniform(-0.3, 0.3, (150, 3)).tolist()]
    sentence = [Mark(i, "w", ("generated",), at=place) for i, place in enumerate(spread)]
    asked = Mark(900, "asked for", ("vocabulary",), at=(0.45, 0.0, 0.0))
    selected = Mark(901, "selected", ("generated",), Emphasis.SELECTED, at=(-0.45, 0.0, 0.0))
    panel.scatter.set_marks([*sentence, asked, selected])
    overlay.grab()
    assert {900, 901} <= overlay.named
    assert 20 < len(overlay.named) <= MOST_LABELS


def test_that_a_token_under_the_pointer_is_named_in_a_long_run(
    panel: EmbeddingPanel, state: AppState
) -> None:
    overlay = panel.scatter.findChild(ScatterOverlay)
    assert overlay is not None
    rng = np.random.default_rng(0)
    marks = [
        Mark(i, "w", ("generated",), at=(x, y, z))
        for i, (x, y, z) in enumerate(rng.normal(0, 0.05, (1000, 3)))
    ]
    panel.scatter.set_marks(
        [*marks, Mark(4000, "this one", ("source",), Emphasis.HOVERED, at=(0.0, 0.0, 0.0))]
    )
    overlay.grab()
    assert 4000 in overlay.named


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


# -- the tools under the picture ----------------------------------------------------------------------


def make_neighbourhood(token_id: int) -> Neighbourhood:
    ranked = tuple((i, 0.9 - i / 10_000) for i in range(100, 112))
    far = tuple((i, 0.5 + i / 10_000) for i in range(200, 212))
    cosines = np.linspace(-1, 1, 8000, dtype=np.float32)
    return Neighbourhood(token_id, ranked, far, cosines)


def make_path(state: AppState) -> TokenPath:
    refs = state.refs()
    vectors = np.random.default_rng(5).normal(size=(3, len(refs), 16))
    gram = vectors @ vectors.transpose(0, 2, 1)
    coordinates = vectors[:, :, :3].astype(np.float32) * 0.2
    assert state.run is not None
    stages = ("input embedding", "plus position", "after encoder layer 0")
    return TokenPath(refs, stages, coordinates, gram, 16.0, ("Scaled by 16.",), state.run.run_id)


def press(qtbot: QtBot, button: QPushButton) -> None:
    qtbot.mouseClick(button, LEFT)


def test_that_centred_vectors_start_at_the_mean(qtbot: QtBot, panel: EmbeddingPanel, state: AppState) -> None:
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    press(qtbot, panel.tools.modes.button("centred"))
    assert state.vectors.mode == "centred"
    assert panel.scatter.pair is not None
    assert panel.scatter.pair.origin == (0.0, 0.0, 0.0)
    assert panel.tools.card.text is not None
    assert "mean" in panel.tools.card.text.reason
    press(qtbot, panel.tools.modes.button("normalised"))
    assert state.cloud is not None
    assert panel.scatter.pair.origin == pytest.approx(state.cloud.origin)
    drawn = np.array(panel.scatter.pair.tips[0]) - state.cloud.origin
    whole = state.cloud.coordinates[5120, :3] - state.cloud.origin
    assert drawn == pytest.approx(whole / state.cloud.norms[5120], abs=1e-6)


def test_that_neighbours_are_listed_labelled_and_selected_by_a_click(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    state.select(TokenRef("source", 3))
    press(qtbot, panel.tools.tabs.button("nearest"))
    state.vectors.set_neighbourhood(make_neighbourhood(5120))
    chips = panel.tools.nearest
    assert chips.token_ids[:3] == (100, 101, 102)
    assert {100, 101, 102} <= {m.index for m in panel.scatter.marks}
    press(qtbot, panel.tools.metrics.button("distance"))
    assert chips.token_ids[:3] == (200, 201, 202)
    spot_of_chip = chips.chip_center(201).toPoint()
    qtbot.mouseMove(chips, spot_of_chip)
    qtbot.waitUntil(lambda: state.hover == TokenRef("vocabulary", 201))
    qtbot.mouseClick(chips, LEFT, pos=spot_of_chip)
    assert state.selection == Selection(TokenRef("vocabulary", 201))


def test_that_a_sum_of_words_is_asked_for_drawn_and_offered_as_an_axis(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    press(qtbot, panel.tools.tabs.button("sums"))
    qtbot.keyClicks(panel.tools.sum_field, "king - man")
    with qtbot.waitSignal(state.vectors.arithmetic_requested) as asked:
        qtbot.keyClick(panel.tools.sum_field, Qt.Key.Key_Return)
    assert asked.args == ["king - man"]
    along = np.linspace(-1, 1, 8000, dtype=np.float32)
    target = np.array([0.2, 0.1, 0.0], dtype=np.float32)
    state.vectors.set_arithmetic(Arithmetic("king - man", (7,), (8,), ((9, 0.5),), target, along, 0.1, 0.02))
    assert panel.tools.sums.token_ids == (9,)
    (trail,) = panel.scatter.trails
    assert trail.arrow == "king - man"
    assert trail.places[1] == pytest.approx(tuple(target))
    panel.menu.axis_chosen.emit(0, -1)
    assert "one axis is built from words" in panel.facts
    assert panel.scatter.place_of(0)[0] == pytest.approx(-1.0)
    assert panel.scatter.trails == ()


def test_that_other_components_can_be_the_axes(panel: EmbeddingPanel, state: AppState) -> None:
    assert state.cloud is not None
    panel.menu.axis_chosen.emit(1, 0)
    assert panel.scatter.place_of(17)[1] == pytest.approx(float(state.cloud.coordinates[17, 0]))
    # The same axis twice explains nothing more.
    assert "explain 4.1 % of variance" in panel.facts


@pytest.mark.parametrize("mode", ["kind", "token ID", "norm", "cosine", "plain"])
def test_that_every_colouring_is_drawn_in_both_schemes(
    panel: EmbeddingPanel, state: AppState, theme: Theme, mode: str
) -> None:
    assert state.cloud is not None
    kinds = (np.arange(8000) % len(KINDS)).astype(np.uint8)
    state.set_cloud(dataclasses.replace(state.cloud, kinds=kinds))
    state.vectors.set_neighbourhood(make_neighbourhood(5120))
    for scheme in ("light", "dark"):
        theme.set_scheme(scheme)  # type: ignore[arg-type]
        panel.menu.color_chosen.emit(mode)
        colors, legend = cloud_colors(state.cloud, mode, theme, state.vectors.neighbourhood)  # type: ignore[arg-type]
        assert colors.shape == (8000, 4)
        assert (legend is None) == (mode == "plain")
        panel.grab()


def test_that_the_matrix_compares_the_sentence_and_a_click_picks_the_pair(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    with qtbot.waitSignal(state.vectors.matrix_requested) as asked:
        press(qtbot, panel.tools.tabs.button("matrix"))
    ids = tuple(state.token_id(ref) for ref in state.refs())
    assert asked.args == [ids]
    state.vectors.set_matrix(CosineMatrix(ids, np.eye(len(ids))))  # type: ignore[arg-type]
    panel.grab()
    qtbot.mouseClick(panel.tools.grid, LEFT, pos=panel.tools.grid.cell_center(3, 11).toPoint())
    assert state.selection == Selection(TokenRef("source", 3), TokenRef("generated", 3))


def test_that_tokens_move_through_the_layers_and_are_measured_there(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState
) -> None:
    with qtbot.waitSignal(state.vectors.path_requested):
        press(qtbot, panel.tools.tabs.button("layers"))
    path = make_path(state)
    state.vectors.set_path(path)
    settle(qtbot, panel)
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    player = panel.tools.player
    player.slider.setValue(200)
    assert "after encoder layer 0" in player.stage_label.text()
    first = path.refs.index(TokenRef("source", 3))
    drawn = next(m for m in panel.scatter.marks if m.index == 5120)
    assert drawn.at == pytest.approx(path.coordinates[2, first])
    assert len(panel.scatter.trails[first].places) == 3
    expected = path.pair(2, first, path.refs.index(TokenRef("generated", 3)), (5120, 2210))
    assert f"{expected.angle_degrees:.1f}°" in panel.tools.stage_reading.text()
    player.slider.setValue(150)
    halfway = (path.coordinates[1, first] + path.coordinates[2, first]) / 2
    drawn = next(m for m in panel.scatter.marks if m.index == 5120)
    assert drawn.at == pytest.approx(halfway, abs=1e-6)
    panel.grab()


def test_that_a_path_of_an_older_run_is_not_shown(panel: EmbeddingPanel, state: AppState) -> None:
    panel.tools.set_tool("layers")
    state.vectors.set_path(make_path(state))
    assert panel.tools.player.slider.isEnabled()
    state.set_run(make_run(2, run_id=99))
    assert not panel.tools.player.slider.isEnabled()


def test_that_searching_finds_and_goes_there(qtbot: QtBot, panel: EmbeddingPanel, state: AppState) -> None:
    qtbot.keyClicks(panel.search, "piece4321")
    qtbot.waitUntil(lambda: panel.search.results.isVisible())
    assert "4321" in panel.search.results.item(0).text()
    qtbot.keyClick(panel.search, Qt.Key.Key_Return)
    assert state.selection == Selection(TokenRef("vocabulary", 4321))
    settle(qtbot, panel)
    assert panel.scatter.camera.center == pytest.approx(panel.scatter.place_of(4321), abs=1e-4)
    panel.search.clear()
    qtbot.keyClicks(panel.search, "/piece(/")
    qtbot.waitUntil(lambda: panel.search.results.isVisible())
    assert "no regular expression" in panel.search.results.item(0).text()


def test_that_the_picture_and_the_numbers_can_be_saved(
    panel: EmbeddingPanel, state: AppState, tmp_path: Path
) -> None:
    cloud = state.cloud
    assert cloud is not None
    cloud_export.save_picture(panel.scatter, tmp_path / "a.png")
    assert not QImage(str(tmp_path / "a.png")).isNull()
    cloud_export.save_cloud(cloud, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as saved:
        assert np.array_equal(saved["coordinates"], cloud.coordinates)
        assert saved["pieces"][5120] == "apprentissage"
    cloud_export.save_cloud(cloud, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["token_id", "piece", "norm", "pc1", "pc2", "pc3"]
    assert np.float32(rows[5121][3]) == cloud.coordinates[5120, 0]
    cloud_export.save_neighbours(make_neighbourhood(5120), cloud.pieces, tmp_path / "n.csv")
    assert len((tmp_path / "n.csv").read_text(encoding="utf-8").splitlines()) == 25


@pytest.mark.parametrize("tool", TOOLS)
def test_that_no_tool_makes_the_panel_wider_than_a_dock(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState, tool: str
) -> None:
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    panel.tools.set_tool(tool)
    assert panel.minimumSizeHint().width() <= 380


def test_that_a_long_run_does_not_hide_the_pair_that_is_measured(
    qtbot: QtBot, panel: EmbeddingPanel, state: AppState, theme: Theme
) -> None:
    state.set_selection(Selection(TokenRef("source", 3), TokenRef("generated", 3)))
    settle(qtbot, panel)
    pair = panel.scatter.pair
    assert pair is not None
    overlay = panel.scatter.findChild(ScatterOverlay)
    assert overlay is not None
    middle = (np.array(pair.origin) + np.array(pair.tips[0])) / 2
    x, y = overlay.project(middle[:, None])[:2, 0].tolist()
    # The first ones are looked for room for, and are elsewhere: no leader line is to cross the vector.
    places = [(0.4, 0.4, 0.0)] * 12 + [tuple(middle.tolist())] * 988
    panel.scatter.set_marks([Mark(i, "", ("generated",), at=place) for i, place in enumerate(places)])
    image = overlay.grab().toImage()
    ratio = image.devicePixelRatio()
    assert image.pixelColor(round(x * ratio), round(y * ratio)) == theme.side_color("source")
