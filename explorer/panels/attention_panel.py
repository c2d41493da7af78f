"""The attention panel: every head as a thumbnail, one head large, exact weights under the pointer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from explorer.app.settings import write_atomically
from explorer.app.state import AppState, Notice
from explorer.colormaps import ColorScale, top_of
from explorer.core.selection import AttentionSummary, HeadRef, Selection, TokenRef
from explorer.panels.attention.attention_controls import AttentionControls, DisplayOptions, ExportFormat
from explorer.panels.attention.compared_maps import ComparedMaps, shared_scale
from explorer.panels.attention.head_chooser import HeadChooser
from explorer.panels.attention.heat_map import HeatMap
from explorer.panels.attention.line_map import LineMap
from explorer.panels.attention.map_builder import DrawnMap, build_map, build_weight, compare_heads
from explorer.panels.attention.map_caption import axes_of, caption_of
from explorer.panels.attention.map_content import MapContent, MapHit
from explorer.panels.attention.map_emphasis import emphasis_of, selected_cell
from explorer.panels.attention.map_export import (
    MapPicture,
    Picturable,
    compared_csv,
    compared_npz,
    map_csv,
    map_npz,
    weight_csv,
    weight_npz,
)
from explorer.panels.attention.map_footer import Reading, Readout, ScaleBar
from explorer.panels.attention.map_reading import description_of, reading_of
from explorer.panels.attention.map_view import MapView
from explorer.panels.attention.overview_splitter import OverviewSplitter
from explorer.panels.attention.weight_view import WeightView
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.panels.widgets.panel import Panel
from explorer.theme import Theme

_LOW_STEPS = 52
_LOWISH_STEPS = 64
_SHORT_CAPTION = 40


class AttentionPanel(Panel):
    """Shows `AppState.overview` and `AppState.attention`; writes head, selection and hover.

    What stands under the facts (labels, readout, caption) always belongs to the map that is drawn,
    also while the map of another head is still being read.
    """

    title: ClassVar[str] = "Attention"
    object_name: ClassVar[str] = "attention_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self.controls = AttentionControls(theme, self.body)
        self.chooser = HeadChooser(state, theme, self.body)
        self.overview = self.chooser.overview
        self.heat_map = HeatMap(theme, self.body)
        self.line_map = LineMap(theme, self.body)
        self._views: dict[str, MapView] = {"matrix": self.heat_map, "lines": self.line_map}
        self._view: MapView = self.heat_map
        self.weight_view = WeightView(theme, self.body)
        self._inside = False
        self.compared_maps = ComparedMaps(theme, self.body)
        self._map_hint = EmptyHint(theme, self.body)
        self.map_stack = QStackedWidget(self.body)
        for view in self._views.values():
            self.map_stack.addWidget(view)
        self.map_stack.addWidget(self.weight_view)
        self.map_stack.addWidget(self.compared_maps)
        self.map_stack.addWidget(self._map_hint)
        self.splitter = OverviewSplitter(theme, self.chooser, self.map_stack, self.body)
        self.readout = Readout(theme, self.body)
        self.caption = QLabel(self.body)
        self.caption.setObjectName("attention_caption")
        self.caption.setWordWrap(True)
        self.caption.setTextFormat(Qt.TextFormat.PlainText)
        self.caption.setProperty("role", "facts")
        self.scale_bar = ScaleBar(theme, self.body)
        self.map_hint = ""
        self._drawn: DrawnMap | None = None
        self._map_run_id: int | None = None

        below = QHBoxLayout()
        below.addWidget(self.caption, 1)
        below.addWidget(self.scale_bar, 0, Qt.AlignmentFlag.AlignTop)
        self._layout = QVBoxLayout(self.body)
        self._layout.addWidget(self.controls)
        self._layout.addWidget(self.chooser.filter_bar)
        self._layout.addWidget(self.splitter, 1)
        self._layout.addWidget(self.readout)
        self._layout.addLayout(below)

        self.controls.head_chosen.connect(self._on_head_chosen)
        self.controls.summary_chosen.connect(self._on_summary_chosen)
        self.controls.together_chosen.connect(state.set_summary)
        self.controls.order_chosen.connect(self.chooser.set_order)
        self.controls.filter_toggled.connect(self.chooser.set_filtering)
        self.chooser.changed.connect(self._on_chooser_changed)
        self.controls.options_changed.connect(self._on_options_changed)
        self.controls.view_chosen.connect(self._on_view_chosen)
        self.controls.export_requested.connect(self._on_export_requested)
        self.controls.export_all_requested.connect(self._on_export_all_requested)
        self.controls.pooling_chosen.connect(state.set_pooling)
        self.compared_maps.view_changed.connect(self._update_facts)
        self.controls.fit_requested.connect(self.compared_maps.reset_zoom)
        self.compared_maps.hit_hovered.connect(self._on_hit_hovered)
        self.compared_maps.hit_clicked.connect(self._on_hit_clicked)
        for view in self._views.values():
            view.set_description(self._description)
            view.hit_hovered.connect(self._on_hit_hovered)
            view.hit_clicked.connect(self._on_hit_clicked)
            view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
            view.customContextMenuRequested.connect(self._on_context_menu_requested)
            view.view_changed.connect(self._update_facts)
            self.controls.fit_requested.connect(view.reset_zoom)
        state.model_changed.connect(self._update_model)
        state.run_changed.connect(self._update_run)
        state.head_changed.connect(self._update_head)
        state.summary_changed.connect(self._update_head)
        state.attention_changed.connect(self._update_attention)
        state.marked.places_changed.connect(self._update_marked)
        state.marked.maps_changed.connect(self._update_compared)
        state.cell_changed.connect(self._update_cell)
        state.selection_changed.connect(self._update_emphasis)
        state.hover_changed.connect(self._update_emphasis)
        state.viewed_step_changed.connect(self._update_emphasis)
        state.stale_changed.connect(self._update_stale)
        self._update_theme()
        self._update_model()
        self._update_attention()
        self._update_cell()
        self._update_stale()

    # -- the state on show ----------------------------------------------------------------------

    def _update_model(self) -> None:
        self.controls.set_model(self.state.model)
        model = self.state.model
        if model is None:
            self.show_hint("Load a model to see its attention.")
        elif not model.attention_kinds:
            self.show_hint(f"{model.architecture} has no weights between every two tokens to draw a map of.")
        else:
            self.show_hint("")
        self.weight_view.set_unknown(model is not None and model.weights_only)
        self._update_head()

    def _update_head(self) -> None:
        self.controls.set_head(self.state.head)
        self._update_marked()
        self._update_scale()

    def _update_marked(self) -> None:
        """Other heads are put together, or another thing is drawn of them."""
        head, marked = self.state.head, self.state.marked.places
        self.controls.set_summary(self.state.summary, None if head is None else head.kind, len(marked))
        self._update_map()

    @property
    def _side_by_side(self) -> bool:
        return bool(self.state.marked.places) and self.state.summary == "head"

    def _update_compared(self) -> None:
        """Show the heads side by side; O(query x key) each, once per arrival."""
        run, marked = self.state.run, self.state.marked
        if not self._side_by_side:
            return
        options = self.controls.options
        of_this_run = run is not None and marked.run is not None and marked.run.run_id == run.run_id
        if of_this_run and marked.run is not run and self.compared_maps.maps:
            # What is drawn is right for the step or branch that it was read at; the next is on its way.
            return
        maps = compare_heads(run, marked.maps, options) if run is not None and of_this_run else ()
        scale = shared_scale(maps, ColorScale(options.transform), per_map=options.per_map)
        self.compared_maps.set_maps(maps, scale=scale)
        self.scale_bar.set_scale(scale)
        self._update_caption()

    def _on_chooser_changed(self) -> None:
        self._update_caption()
        self.splitter.arrange()

    def _update_run(self) -> None:
        """The run moved on: its map follows, so that the one drawn stays until then, if it is of this run."""
        run, content = self.state.run, self._content
        labelled = content is not None and all(token.token_id >= 0 for token in content.rows)
        if run is not None and run.run_id == self._map_run_id and labelled:
            self._update_emphasis()
            self._update_map_hint()
        else:
            self._update_map()

    def _update_attention(self) -> None:
        self._map_run_id = None if self.state.run is None else self.state.run.run_id
        self._update_map()

    def _update_map(self) -> None:
        """Draw the map that arrived: O(query x key) once, then O(query + key) for the labels."""
        attention, run = self.state.attention, self.state.run
        # A map that came with another run has other tokens.
        of_this_run = run is not None and run.run_id == self._map_run_id
        if attention is None or run is None or not of_this_run or not attention.weights.size:
            self._drawn = None
        else:
            self._drawn = build_map(run, attention, self.controls.options)
        self._update_scale()
        self._update_compared()
        # Only the view on show holds the map, so that the other costs nothing while stepping.
        self._view.set_content(None if self._side_by_side else self._content)
        self._update_emphasis()
        self._update_map_hint()
        self._update_caption()

    @property
    def _content(self) -> MapContent | None:
        """What is drawn; None where nothing is, or all of it is hidden."""
        return self._drawn.content if self._drawn is not None and self._drawn.content.weights.size else None

    def _update_map_hint(self) -> None:
        """Say why there is no map, where there is none for the opened kind."""
        run, head = self.state.run, self.state.head
        text = ""
        if run is None or head is None:
            text = "Type a sentence to see which tokens look at which."
        elif head.kind != "encoder" and not run.steps:
            who = "model" if run.family == "decoder-only" else "decoder"
            text = f"Press Step: the {who} has not taken a step yet."
        elif self._content is None:
            hides_all = self._drawn is not None
            text = (
                "Every token of this map is hidden: show special tokens again (Display)."
                if hides_all
                else "Reading this head…"
            )
        self.map_hint = text
        self._map_hint.set_text(text)
        side_by_side = self._side_by_side
        inside = self._inside and not side_by_side
        shown = self.compared_maps if side_by_side else self.weight_view if inside else self._view
        self.map_stack.setCurrentWidget(self._map_hint if text else shown)
        for widget in (self.readout, self.caption, self.scale_bar):
            widget.setVisible(not text and not inside)
        self._update_facts()

    def _update_facts(self) -> None:
        """Name the head that is drawn, its size, and how its weights share pixels."""
        if self.map_hint or self._drawn is None:
            self.set_facts("" if self.state.head is None else str(self.state.head))
            return
        if self._side_by_side:
            shown, marked = len(self.state.marked.side_by_side), len(self.state.marked.places)
            which = f"the last {shown} of {marked} marked heads" if marked > shown else f"{shown} heads"
            note = f" · {self.compared_maps.note}" if self.compared_maps.note else ""
            self.set_facts(f"{self._drawn.head.kind} · {which} side by side{note}")
            return
        if self._inside:
            cell = None if self.weight_view.content is None else self.weight_view.content.cell
            place = "" if cell is None else f" · row {cell.row}, column {cell.column}"
            self.set_facts(f"{self.state.head if cell is None else cell.head}{place}")
            return
        rows, columns = self._drawn.content.weights.shape
        facts = f"{self._drawn.attention.title} · {rows} × {columns}"
        self.set_facts(f"{facts} · {self._view.note}" if self._view.note else facts)

    def _update_scale(self) -> None:
        options, content = self.controls.options, self._content
        top = top_of(content.weights) if options.per_map and content is not None else 1.0
        scale = ColorScale(options.transform, top)
        for view in self._views.values():
            view.set_scale(scale)
        if not self._side_by_side:
            self.scale_bar.set_scale(scale)
        self.overview.set_scale(ColorScale(options.transform), per_map=options.per_map)

    def _update_caption(self) -> None:
        """What rows and columns are, and all that stands between the model's map and the picture."""
        drawn, run = self._drawn, self.state.run
        if drawn is None or run is None:
            self.caption.setText("")
            return
        lines = self._view is self.line_map
        compared = self.compared_maps.maps if self._side_by_side else ()
        said = [caption_of(drawn, self.controls.options, lines=lines, compared=compared)]
        if self.state.model is not None and self.state.model.weights_only:
            said.append("eager attention: the model's own weights")
        said.append(self.chooser.pooled)
        if self.chooser.unordered:
            said.append(f"heads not ordered: “{self.chooser.order_name}” is not measured on these maps")
        text = " · ".join(part for part in said if part)
        # A low panel leaves it to the words in the map's corner, where there is more to say already too.
        low = _LOW_STEPS if len(text) < _SHORT_CAPTION else _LOWISH_STEPS
        if lines or self.height() >= self.theme.space(low):
            text = " · ".join(part for part in (axes_of(drawn, run, lines=lines), text) if part)
        if text != self.caption.text():
            self.caption.setText(text)

    def _update_cell(self) -> None:
        """Show how the selected weight came about; O(keys x dimensions) where it is on show."""
        run, cell = self.state.run, self.state.cell
        content = None if run is None or cell is None or not self._inside else build_weight(run, cell)
        self.weight_view.set_content(content)
        self._update_facts()

    def _update_emphasis(self) -> None:
        """Light up what is selected and hovered: a scan of two integer arrays, then a repaint."""
        if self._drawn is not None:
            emphasis = emphasis_of(self.state, self._drawn)
            self._view.set_emphasis(emphasis)
            self.compared_maps.set_emphasis(emphasis)
        self._update_reading()

    def _update_reading(self) -> None:
        content, hit, drawn = self._content, self._view.hovered, self._drawn
        if content is None or drawn is None:
            self.readout.set_reading(Reading())
            self.scale_bar.set_marked(None)
            return
        cell = None if self.state.stale else selected_cell(self.state.selection, drawn)
        if self._side_by_side:
            hit = self.compared_maps.hovered or (None if cell is None else MapHit(*cell))
            self.readout.set_reading(self.compared_maps.reading(hit))
            return
        if hit is None and cell is not None:
            hit = MapHit(*cell)
        if hit is None:
            what = "cell" if self._view is self.heat_map else "line"
            self.readout.set_reading(
                Reading(facts=f"Point at a {what} to read its weight, click it to select the pair.")
            )
            self.scale_bar.set_marked(None)
            return
        self.readout.set_reading(reading_of(content, hit))
        self.scale_bar.set_marked(float(content.weights[hit.row, hit.column]) if hit.is_cell else None)

    def _description(self, hit: MapHit) -> str:
        return "" if self._content is None else description_of(self._content, hit)

    def _update_stale(self) -> None:
        self.overview.set_dimmed(self.state.stale)
        for view in self._views.values():
            view.set_dimmed(self.state.stale)
        self.weight_view.set_dimmed(self.state.stale)
        self.compared_maps.set_dimmed(self.state.stale)
        self._update_emphasis()

    def _update_theme(self) -> None:
        self.controls.update_theme()
        self.chooser.update_theme()
        self.compared_maps.update_theme()
        for view in self._views.values():
            view.update_theme()
        self.weight_view.update_theme()
        self.scale_bar.update_theme()
        self.readout.updateGeometry()
        margin = self.theme.space(1.5)
        self._layout.setContentsMargins(margin, self.theme.space(1), margin, self.theme.space(1))
        self._layout.setSpacing(self.theme.space(1))
        self.splitter.arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._update_caption()

    # -- what the person does -------------------------------------------------------------------

    def _on_head_chosen(self, head: HeadRef) -> None:
        before = self.state.head
        moved = before is not None and before.kind == head.kind
        if moved and (before != head or self.state.summary == "chosen"):
            self.state.mark_heads(())
        if moved and before is not None and before.head != head.head:
            # Who asks for another head wants to see one.
            self.state.set_summary("head")
        self.state.set_head(head)

    def _on_summary_chosen(self, summary: AttentionSummary) -> None:
        if summary != "chosen":
            self.state.mark_heads(())
        self.state.set_summary(summary)

    def _on_view_chosen(self, name: str) -> None:
        if self._side_by_side:
            self.state.mark_heads(())
        self._view.set_content(None)
        self._view = self._views.get(name, self._view)
        self._inside = name == "inside"
        self._update_cell()
        self._update_map()

    def _on_options_changed(self, _options: DisplayOptions) -> None:
        self.heat_map.set_shows_sums(self.controls.options.sums)
        self._update_map()

    def _on_hit_hovered(self, hit: MapHit | None) -> None:
        if not self.state.stale:
            self.state.set_hover(self._ref_at(hit))
        # Another cell of the same row changes no state, but the reading.
        self._update_reading()

    def _on_hit_clicked(self, hit: MapHit | None, extend: bool) -> None:
        if self.state.stale or self._content is None:
            return
        if hit is not None and hit.row is not None and hit.column is not None:
            query, key = self._content.rows[hit.row].ref, self._content.columns[hit.column].ref
            self.state.set_selection(Selection(query, None if key == query else key))
        else:
            self.state.select(self._ref_at(hit), extend=extend and hit is not None)

    def _on_context_menu_requested(self, at: QPoint) -> None:
        self.controls.menu.popup(self._view.mapToGlobal(at))

    def _on_export_requested(self, fmt: ExportFormat) -> None:
        if self._drawn is None or self._content is None:
            self._say_nothing_to_export()
            return
        path = self._ask_for_path(self._file_name(), fmt)
        if path is None:
            return
        self._write(path, self.export(fmt))

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_atomically(path, content)
        except OSError as error:
            self.state.set_notice(Notice(f"{path} could not be written: {error.strerror or error}."))
        else:
            self.state.set_notice(Notice(f"Wrote {path}.", error=False))

    def _on_export_all_requested(self, fmt: ExportFormat) -> None:
        head = self.state.head
        if head is None or self._content is None or self.state.stale:
            self._say_nothing_to_export()
            return
        path = self._ask_for_path(f"attention-{head.kind}-all", fmt)
        if path is None:
            return
        if fmt in ("npz", "csv"):
            self.state.all_maps_requested.emit(path, fmt)
            return
        model, count = self.state.model, self.overview.counts
        facts = f"{'' if model is None else model.name} · {head.kind} · {count[0]} × {count[1]} heads"
        picture = MapPicture(self.overview, self.scale_bar, facts, self.chooser.pooled)
        self._write(path, picture.png() if fmt == "png" else picture.svg())

    def _say_nothing_to_export(self) -> None:
        self.state.set_notice(Notice("There is no attention map to export yet: press Step.", error=False))

    def _ask_for_path(self, name: str, fmt: str) -> Path | None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Export attention", f"{name}.{fmt}", f"{fmt.upper()} (*.{fmt})"
        )
        return Path(chosen) if chosen else None

    def _file_name(self) -> str:
        assert self._drawn is not None
        if self._side_by_side:
            places = "-".join(f"{layer}.{head}" for layer, head in self.state.marked.side_by_side)
            return f"attention-{self._drawn.head.kind}-heads-{places}"
        return self._drawn.file_name + ("-inside" if self._inside else "")

    def export(self, fmt: ExportFormat) -> bytes:
        """What is on show as the content of a file; raises ValueError where there is nothing."""
        if self._drawn is None or self._content is None:
            raise ValueError("no attention map to export")
        caption = self.caption.text()
        maps, inside = self.compared_maps.maps, self.weight_view.content
        if fmt in ("png", "svg"):
            view: Picturable = self._view
            scale: ScaleBar | None = self.scale_bar
            if self._side_by_side:
                view = self.compared_maps
            elif self._inside and inside is not None:
                view, scale, caption = self.weight_view.canvas, None, self.weight_view.heading.text
            picture = MapPicture(view, scale, self.facts, caption)
            return picture.png() if fmt == "png" else picture.svg()
        if self._side_by_side and maps:
            kind = self._drawn.head.kind
            return compared_csv(maps) if fmt == "csv" else compared_npz(kind, maps, caption)
        if self._inside and inside is not None:
            return weight_csv(inside) if fmt == "csv" else weight_npz(inside)
        if fmt == "csv":
            return map_csv(self._content)
        return map_npz(self._content, self._drawn.attention, caption)

    def _ref_at(self, hit: MapHit | None) -> TokenRef | None:
        """The token that a hit stands for; a cell stands for its query."""
        if hit is None or self._content is None:
            return None
        if hit.row is not None:
            return self._content.rows[hit.row].ref
        return None if hit.column is None else self._content.columns[hit.column].ref
