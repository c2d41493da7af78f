"""What is exported is what is on screen, in every way of looking."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QAction, QImage, QPainter
from PySide6.QtWidgets import QApplication, QFileDialog

from explorer.app.state import AppState
from explorer.core.records import AttentionMap, CellReading
from explorer.core.selection import HeadRef, Selection, TokenRef
from explorer.panels.attention.map_content import MapHit
from explorer.panels.attention.map_export import MapPicture
from explorer.panels.attention_panel import AttentionPanel
from explorer.theme import Theme
from tests.support import fill

LEFT = Qt.MouseButton.LeftButton
PLACES = ((2, 5), (0, 1), (1, 4))


@pytest.fixture
def panel(qtbot, state: AppState, theme: Theme) -> AttentionPanel:
    fill(state)
    panel = AttentionPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    qtbot.waitExposed(panel)
    return panel


def mark(state: AppState) -> None:
    state.mark_heads(PLACES)
    axes = state.run.attention_axes("cross")
    maps = [AttentionMap(HeadRef("cross", *one), state.overview.weights[one], *axes) for one in PLACES]
    state.marked.set_maps(state.run, tuple(maps))


def look_inside(qtbot, state: AppState, panel: AttentionPanel) -> CellReading:
    rng = np.random.default_rng(4)
    query, key = rng.normal(size=(2, 16)).astype(np.float32)
    scores = rng.normal(size=7).astype(np.float32)
    weights = (np.exp(scores) / np.exp(scores).sum()).astype(np.float32)
    values = rng.normal(size=(7, 16)).astype(np.float32)
    reading = CellReading(
        head=state.head,
        row=1,
        column=3,
        query=query,
        key=key,
        raw_score=float(query @ key),
        scaling=0.25,
        bias=0.0,
        softcap=None,
        masked=False,
        row_scores=scores,
        row_weights=weights,
        values=values,
        output=weights @ values,
    )
    state.set_selection(Selection(TokenRef("generated", 1), TokenRef("source", 3)))
    qtbot.mouseClick(panel.controls.views.button("inside"), LEFT)
    state.set_cell(reading)
    return reading


def test_that_heads_side_by_side_are_exported_together(state, panel):
    mark(state)
    written = np.load(io.BytesIO(panel.export("npz")))
    np.testing.assert_array_equal(written["heads"], PLACES)
    for index, shown in enumerate(panel.compared_maps.maps):
        np.testing.assert_array_equal(written["weights"][index], shown.content.weights)
    rows = list(csv.reader(io.StringIO(panel.export("csv").decode())))
    assert rows[0][:3] == ["layer", "head", "query \\ key"]
    assert len(rows) == 1 + 3 * 4
    assert rows[5][:3] == ["0", "1", "▁I"]
    read = np.array([row[3:] for row in rows[1:]], dtype=np.float32).reshape(3, 4, 7)
    np.testing.assert_array_equal(read, written["weights"])
    assert panel._file_name() == "attention-cross-heads-2.5-0.1-1.4"


def test_that_how_a_weight_came_about_is_exported_where_it_is_looked_at(qtbot, state, panel):
    reading = look_inside(qtbot, state, panel)
    written = np.load(io.BytesIO(panel.export("npz")))
    for name in ("query", "key", "products", "row_scores", "row_weights", "values", "output"):
        np.testing.assert_array_equal(written[name], getattr(reading, name))
    assert float(written["raw_score"]) == reading.raw_score
    assert np.isnan(float(written["softcap"]))
    rows = list(csv.DictReader(io.StringIO(panel.export("csv").decode())))
    assert [np.float32(row["weight"]) for row in rows] == list(reading.row_weights)
    assert [row["selected"] for row in rows] == list("0001000")
    assert panel._file_name().endswith("-inside")


@pytest.mark.parametrize("shown", ["side by side", "inside"])
def test_that_pictures_are_of_what_is_on_screen(qtbot, state, panel, shown):
    if shown == "inside":
        look_inside(qtbot, state, panel)
        view = panel.weight_view.canvas
        said = panel.weight_view.heading.text
    else:
        mark(state)
        view = panel.compared_maps
        said = "3 heads side by side"
    image = QImage.fromData(panel.export("png"))
    drawn = QImage(2 * view.size(), QImage.Format.Format_RGB32)
    drawn.setDevicePixelRatio(2)
    with QPainter(drawn) as painter:
        view.render_picture(painter)
    margin = 2 * panel.theme.space(2)
    line = 2 * MapPicture(view, None, "", "")._line()
    cut = image.copy(margin, margin + line, drawn.width(), drawn.height())
    cut.setDevicePixelRatio(2)
    assert same_share(cut, drawn) > 0.99
    # And that drawing is what is seen, but for the edges of what is drawn at half the size.
    seen = QImage(drawn.size(), QImage.Format.Format_RGB32)
    seen.fill(panel.theme.color("surface"))
    with QPainter(seen) as painter:
        painter.drawPixmap(seen.rect(), view.grab())
    grey = [(pixels_of(one)[:, :, None] >> np.array([0, 8, 16]) & 0xFF).sum(-1) for one in (seen, drawn)]
    assert np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1] > 0.8
    svg = panel.export("svg").decode()
    assert said.split(" · ")[0] in svg


def same_share(one: QImage, other: QImage) -> float:
    """Share of pixels that have the same colour."""
    assert one.size() == other.size()
    return float((pixels_of(one) == pixels_of(other)).mean())


def pixels_of(image: QImage) -> np.ndarray:
    """(row, column) 0xRRGGBB."""
    return np.frombuffer(image.constBits(), dtype=np.uint32).reshape(image.height(), -1) & 0xFFFFFF


def test_that_all_heads_are_asked_for_with_the_place_that_was_chosen(
    qtbot, state, panel, monkeypatch, tmp_path
):
    asked: list[tuple[Path, str]] = []
    offered: list[str] = []

    def choose(_parent, _title, name, _filter):
        offered.append(name)
        return str(tmp_path / name), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    state.all_maps_requested.connect(lambda path, fmt: asked.append((path, fmt)))
    for fmt in ("npz", "csv"):
        panel.findChild(QAction, f"attention_export_all_{fmt}").trigger()
    assert offered == ["attention-cross-all.npz", "attention-cross-all.csv"]
    assert asked == [(tmp_path / name, fmt) for name, fmt in zip(offered, ("npz", "csv"), strict=True)]


@pytest.mark.parametrize("fmt", ["png", "svg"])
def test_that_the_wall_of_heads_is_exported_as_it_is_on_screen(state, panel, monkeypatch, tmp_path, fmt):
    path = tmp_path / f"wall.{fmt}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    panel.findChild(QAction, f"attention_export_all_{fmt}").trigger()
    assert state.notice.text == f"Wrote {path}."
    if fmt == "svg":
        assert "fr-en · cross · 3 × 8 heads" in path.read_text(encoding="utf-8")
        return
    image = QImage(str(path))
    view = panel.overview
    drawn = QImage(2 * view.size(), QImage.Format.Format_RGB32)
    drawn.setDevicePixelRatio(2)
    with QPainter(drawn) as painter:
        view.render_picture(painter)
    margin = 2 * panel.theme.space(2)
    line = 2 * MapPicture(view, None, "", "")._line()
    assert same_share(image.copy(margin, margin + line, drawn.width(), drawn.height()), drawn) > 0.99


def test_that_there_are_no_heads_to_export_before_the_first_step(state, panel, monkeypatch):
    def never(*_: object) -> tuple[str, str]:
        raise AssertionError("nobody is to be asked for a file")

    monkeypatch.setattr(QFileDialog, "getSaveFileName", never)
    state.set_attention(None)
    panel.findChild(QAction, "attention_export_all_npz").trigger()
    assert "no attention map to export" in state.notice.text


# -- a hovered token's row is set apart -----------------------------------------------------------------


def test_that_a_hovered_token_leaves_its_own_row_and_veils_the_others(qtbot, state, panel):
    view = panel.heat_map
    geometry = view.geometry_now()
    cells = [geometry.cell_rect(row, 2).center().toPoint() + QPoint(-6, -5) for row in (0, 3)]
    before = [view.grab().toImage().pixelColor(cell).lightness() for cell in cells]
    label = QPoint(round(geometry.view.left()) - 12, round(geometry.row_top(3) + geometry.cell.height() / 2))
    qtbot.mouseMove(view, label)
    assert view.hovered == MapHit(row=3)
    after = [view.grab().toImage().pixelColor(cell).lightness() for cell in cells]
    assert after[1] == before[1]
    assert 255 - after[0] <= 0.4 * (255 - before[0])
    qtbot.mouseMove(view, cells[0])
    assert view.grab().toImage().pixelColor(cells[1]).lightness() == before[1]
    state.set_hover(None)
    QApplication.sendEvent(view, QEvent(QEvent.Type.Leave))
    state.set_hover(TokenRef("source", 2))
    assert view.grab().toImage().pixelColor(cells[0]).lightness() == before[0]
    other = geometry.cell_rect(0, 4).center().toPoint() + QPoint(-6, -5)
    shade = view.grab().toImage().pixelColor(other).lightness()
    state.set_hover(None)
    assert shade > view.grab().toImage().pixelColor(other).lightness()
