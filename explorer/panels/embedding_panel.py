"""The embedding space: the whole vocabulary in exact principal components, and true angles."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from explorer.app.state import AppState, Emphasis
from explorer.core.records import PairReading
from explorer.core.selection import TokenRef
from explorer.core.vectors import Ranked, VectorMode
from explorer.panels.embedding.cloud_view import WORDS, Axes, ColorMode, choose_axes, cloud_colors, percent
from explorer.panels.embedding.embedding_menu import EmbeddingMenu
from explorer.panels.embedding.embedding_tools import EmbeddingTools
from explorer.panels.embedding.pair_card import CardText, degrees, figure
from explorer.panels.embedding.scatter3d import Scatter3D
from explorer.panels.embedding.scatter_overlay import LONGEST_LABEL, Mark, Place, Trail, VectorPair
from explorer.panels.embedding.token_chips import TokenChips
from explorer.panels.embedding.token_search import TokenSearch
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.theme import Theme

SMALL_PANEL, TINY_PANEL = 470, 330
LABELLED_NEIGHBOURS = 8
REASONS: dict[VectorMode, str] = {
    "raw": "",
    "centred": "Measured from the vocabulary's mean instead of the zero vector. ",
    "normalised": "Both vectors at length 1: the angle stays as it was. ",
}


class EmbeddingPanel(Panel):
    """Shows where tokens lie, and measures the angle of two of them in the model's full space."""

    title = "Embedding space"
    object_name = "embedding"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self._axes: Axes | None = None
        # By vocabulary row, of the cloud on show.
        self._marks: dict[int, Mark] = {}
        self._axis_choice = (0, 1, 2)
        self._color_mode: ColorMode = "plain"
        self.scatter = Scatter3D(theme, self.body)
        self.tools = EmbeddingTools(state, theme, self.body)
        self.search = TokenSearch(theme, self.body)
        self.menu = EmbeddingMenu(state, self.scatter)
        self.view_button = QPushButton("View", self.body)
        self.view_button.setObjectName("embedding_view_button")
        self.view_button.setToolTip("Colours, axes, and saving the picture or the numbers")
        self.view_button.setMenu(self.menu)
        self.home_button = QPushButton("Home", self.body)
        self.home_button.setObjectName("home_button")
        self.home_button.setToolTip("Show the whole cloud again (Home). Drag turns, the wheel zooms.")
        self._lay_out()
        self._connect()
        self._update_theme()
        self._update_cloud()
        self._update_neighbourhood()
        self._update_arithmetic()

    def _lay_out(self) -> None:
        self._bar = QHBoxLayout()
        self._bar.addWidget(self.search, 1)
        self._bar.addWidget(self.view_button)
        self._bar.addWidget(self.home_button)
        self._column = QVBoxLayout(self.body)
        self._column.addLayout(self._bar)
        self._column.addWidget(self.scatter, 1)
        self._column.addWidget(self.tools)

    def _connect(self) -> None:
        state, vectors = self.state, self.state.vectors
        state.cloud_changed.connect(self._update_cloud)
        state.cloud_problem_changed.connect(self._update_cloud)
        state.model_changed.connect(self._update_cloud)
        for changed in (state.source_changed, state.run_changed, state.stale_changed):
            changed.connect(self._update_sentence)
        state.hover_changed.connect(self._update_marks)
        state.selection_changed.connect(self._update_selection)
        state.pair_changed.connect(self._update_pair)
        vectors.mode_changed.connect(self._update_pair)
        vectors.neighbourhood_changed.connect(self._update_neighbourhood)
        vectors.arithmetic_changed.connect(self._update_arithmetic)
        vectors.matrix_changed.connect(self._update_matrix)
        vectors.path_changed.connect(self._update_path)
        self.scatter.view_changed.connect(self._update_card)
        self.scatter.hovered.connect(self._on_token_hovered)
        self.scatter.clicked.connect(self._on_point_clicked)
        self.home_button.clicked.connect(self.scatter.go_home)
        self.search.chosen.connect(self._on_token_found)
        self.menu.color_chosen.connect(self._on_color_chosen)
        self.menu.axis_chosen.connect(self._on_axis_chosen)
        self.menu.mode_chosen.connect(state.vectors.set_mode)
        tools = self.tools
        tools.tool_changed.connect(self._on_tool_changed)
        tools.modes.chosen.connect(self._on_mode_chosen)
        tools.metrics.chosen.connect(self._update_neighbourhood)
        for chips in (tools.nearest, tools.sums):
            chips.hovered.connect(self._on_token_hovered)
            chips.clicked.connect(self._on_point_clicked)
        tools.sum_field.returnPressed.connect(self._on_sum_entered)
        tools.grid.clicked.connect(self._on_cell_clicked)
        tools.player.moved.connect(self._on_stage_moved)

    # -- what the hand does ---------------------------------------------------------------------------

    def _on_token_hovered(self, token_id: int | None) -> None:
        self.state.set_hover(None if token_id is None else self._ref(token_id))

    def _on_point_clicked(self, token_id: int | None, extend: bool) -> None:
        if token_id is not None:
            self.state.select(self._ref(token_id), extend=extend)
        elif not extend:
            self.state.select(None)

    def _on_token_found(self, token_id: int) -> None:
        self.state.select(self._ref(token_id))
        self.scatter.fly_to_point(token_id)

    def _on_color_chosen(self, mode: ColorMode) -> None:
        self._color_mode = mode
        self._update_colors()

    def _on_axis_chosen(self, axis: int, component: int) -> None:
        choice = list(self._axis_choice)
        choice[axis] = component
        self._axis_choice = (choice[0], choice[1], choice[2])
        self._update_axes()

    def _on_mode_chosen(self, mode: str) -> None:
        for known in get_args(VectorMode):
            if known == mode:
                self.state.vectors.set_mode(known)

    def _on_sum_entered(self) -> None:
        self.state.vectors.arithmetic_requested.emit(self.tools.sum_field.text())

    def _on_cell_clicked(self, row: int, column: int) -> None:
        refs = self.state.refs()
        if max(row, column) < len(refs):
            self.state.select(refs[row])
            if row != column:
                self.state.select(refs[column], extend=True)

    def _on_tool_changed(self, before: str) -> None:
        if before == "layers":
            self.scatter.go_home()
        # Positions have a page of their own: no token of the vocabulary lies anywhere in it.
        self.scatter.setVisible(self.tools.tool != "positions")
        self._request_what_the_tool_shows()
        self._update_marks()
        self._update_pair()
        self._reveal_path()

    def _on_stage_moved(self, stage: float) -> None:
        self._update_marks()
        self._update_pair()

    def _request_what_the_tool_shows(self) -> None:
        """Matrix and layers are read from the model only while they are looked at."""
        vectors, run = self.state.vectors, self.state.run
        if self.tools.tool == "matrix":
            vectors.matrix_requested.emit(self._compared_ids())
        elif self.tools.tool == "layers" and run is not None:
            path = vectors.path
            if path is None or path.run_id != run.run_id or path.refs != run.refs():
                vectors.path_requested.emit()

    def _ref(self, token_id: int) -> TokenRef:
        """The first place in the sentence where the token stands, else the vocabulary's row."""
        for ref in self.state.refs():
            if self.state.token_id(ref) == token_id:
                return ref
        return TokenRef("vocabulary", token_id)

    def _compared(self) -> list[tuple[TokenRef, int]]:
        """What the matrix compares: more than two picks, else all tokens of the sentence."""
        picks = self.state.selection.refs
        refs = picks if len(picks) > 2 else self.state.refs()
        ids = ((ref, self.state.token_id(ref)) for ref in refs)
        return [(ref, token_id) for ref, token_id in ids if token_id is not None]

    def _compared_ids(self) -> tuple[int, ...]:
        return tuple(token_id for _, token_id in self._compared())

    # -- the cloud ------------------------------------------------------------------------------------

    def _update_cloud(self) -> None:
        cloud = self.state.cloud
        self._marks.clear()
        if cloud is None:
            self._axes = None
            waiting = self.state.model is not None
            self.show_hint(
                self.state.cloud_problem
                or (
                    "Computing the principal components of the whole vocabulary …"
                    if waiting
                    else "The token vectors appear here when a model is loaded."
                )
            )
            self.set_facts("")
            return
        self.search.set_vocabulary(cloud.pieces, cloud.norms)
        self._axis_choice = (0, 1, 2)
        self.menu.set_components(cloud.coordinates.shape[1])
        self.show_hint("")
        self._update_axes()

    def _update_axes(self) -> None:
        cloud = self.state.cloud
        if cloud is None:
            return
        self._axes = axes = choose_axes(cloud, self._axis_choice, self.state.vectors.arithmetic)
        self.scatter.set_scene(axes.points, axes.origin, axes.names)
        self.set_facts(" · ".join(self._facts(axes)))
        self._update_colors()
        self._update_marks()
        self._update_pair()

    def _facts(self, axes: Axes) -> list[str]:
        assert self.state.cloud is not None
        # What the picture leaves out comes first: the end of the line may not fit.
        facts = [self._explained(axes), "exact PCA", f"{len(self.state.cloud.pieces):,} tokens"]
        return [*facts, "drawn without OpenGL"] if self.scatter.no_opengl else facts

    @staticmethod
    def _explained(axes: Axes) -> str:
        count = sum(1 for name in axes.names if name)
        if math.isnan(axes.explained):
            return "one axis is built from words"
        verb = "axis explains" if count == 1 else "axes explain"
        return f"{count} {verb} {percent(axes.explained)} of variance"

    def _update_colors(self) -> None:
        cloud = self.state.cloud
        if cloud is not None:
            around = self.state.vectors.neighbourhood
            colors, legend = cloud_colors(cloud, self._color_mode, self.theme, around)
            self.scatter.set_colors(colors)
            self.scatter.set_legend(legend)

    # -- what stands out in it --------------------------------------------------------------------------

    def _update_sentence(self) -> None:
        self._request_what_the_tool_shows()
        self._update_path()
        self._update_marks()
        self._update_pair()

    def _update_selection(self) -> None:
        self._update_marks()
        self._update_pair()
        if self.tools.tool == "matrix":
            self._request_what_the_tool_shows()
        pair, ids = self._vector_pair(), self._selected_ids()
        if pair is not None:
            self.scatter.reveal_pair(pair)
        elif ids and self._axes is not None and not self._on_layers:
            self.scatter.reveal(ids[0])

    def _update_marks(self) -> None:
        cloud, state = self.state.cloud, self.state
        if cloud is None or self._axes is None:
            return
        self.tools.nearest.update()
        self.tools.sums.update()
        if self._on_layers:
            marks, trails = self._path_marks()
        else:
            marks, trails = self._sentence_marks(), self._arrow()
        known = {mark.index for mark in marks}
        named = [
            *self._tool_ids(),
            *(state.token_id(ref) for ref in (*state.selection.refs, state.hover) if ref),
        ]
        strong = state.emphasised_ids()
        for token_id in dict.fromkeys(named):
            if token_id is not None and token_id < len(cloud.pieces) and token_id not in known:
                emphasis = strong.get(token_id, Emphasis.NONE)
                marks.append(Mark(token_id, self._label(token_id, strong), ("vocabulary",), emphasis))
        self.scatter.set_marks(marks)
        self.scatter.set_trails(trails)

    def _sentence_marks(self) -> list[Mark]:
        """One mark per token of the sentence, in the colours of all sides where it stands."""
        cloud, source, run = self.state.cloud, self.state.source, self.state.run
        assert cloud is not None
        typed = () if source is None else source.tokens
        ids = {"source": [token.id for token in typed], "generated": list[int]()}
        if run is not None:
            ids["generated"] = [*(token.id for token in run.start_tokens), *run.token_ids]
        sides: dict[int, tuple[str, ...]] = {}
        for side, found in ids.items():
            for token_id in dict.fromkeys(found):
                sides[token_id] = (*sides.get(token_id, ()), side)
        strong, count = self.state.emphasised_ids(), len(cloud.pieces)
        only_old = ("generated",) if self.state.stale else ()
        return [
            self._mark(token_id, known, strong.get(token_id, Emphasis.NONE), known == only_old)
            for token_id, known in sides.items()
            if token_id < count
        ]

    def _mark(self, token_id: int, sides: tuple[str, ...], emphasis: Emphasis, pale: bool) -> Mark:
        """From one step to the next hardly any mark changes: those there were are used again."""
        known = self._marks.get(token_id)
        if known is None or (known.sides, known.emphasis, known.pale) != (sides, emphasis, pale):
            label = self._label(token_id, {token_id: emphasis})
            known = self._marks[token_id] = Mark(token_id, label, sides, emphasis, pale)
        return known

    def _tool_ids(self) -> list[int]:
        """Tokens that the tool on show names, and that are labelled for it."""
        around, words = self.state.vectors.neighbourhood, self.state.vectors.arithmetic
        if self.tools.tool == "nearest" and around is not None:
            return [token_id for token_id, _ in self._nearest()[:LABELLED_NEIGHBOURS]]
        if self.tools.tool == "sums" and words is not None:
            return [*words.plus, *words.minus, *(i for i, _ in words.nearest[:LABELLED_NEIGHBOURS])]
        return []

    def _arrow(self) -> list[Trail]:
        """The sum of words, from its first word to where it falls."""
        words, axes = self.state.vectors.arithmetic, self._axes
        if self.tools.tool != "sums" or words is None or axes is None or not axes.of_components:
            return []
        first = (*words.plus, *words.minus)[0]
        ends = np.array([self.scatter.place_of(first), axes.place(words.coordinates)])
        return [Trail(ends, "vocabulary", words.expression)]

    def _label(self, token_id: int, strong: dict[int, Emphasis]) -> str:
        piece = visible_piece(self.state.piece(token_id))
        hovered = strong.get(token_id) is Emphasis.HOVERED
        return f"{shorten(piece, LONGEST_LABEL - 8)} · {token_id}" if hovered else piece

    # -- the way through the layers -----------------------------------------------------------------------

    @property
    def _on_layers(self) -> bool:
        """Whether tokens are drawn where a layer has them."""
        path, axes = self.state.vectors.path, self._axes
        fits = path is not None and self.state.run is not None and path.run_id == self.state.run.run_id
        return fits and self.tools.tool == "layers" and axes is not None and axes.of_components

    def _path_marks(self) -> tuple[list[Mark], list[Trail]]:
        path, state, axes = self.state.vectors.path, self.state, self._axes
        assert path is not None
        assert axes is not None
        strong = state.emphasised_ids()
        marks, trails = [], []
        ways = axes.place(path.ways(self.tools.player.stage))
        for ref, way, here in zip(path.refs, ways, ways[:, -1].tolist(), strict=True):
            token_id = state.token_id(ref)
            if token_id is None:
                continue
            side = "generated" if ref.side == "start" else ref.side
            label, at = self._label(token_id, strong), (here[0], here[1], here[2])
            marks.append(Mark(token_id, label, (side,), state.emphasis(ref), at=at))
            trails.append(Trail(way, side))
        return marks, trails

    def _update_path(self) -> None:
        path, run = self.state.vectors.path, self.state.run
        if path is None or run is None or path.run_id != run.run_id:
            self.tools.player.set_stages((), ())
        else:
            self.tools.player.set_stages(path.stages, path.notes)
        if self.tools.tool == "layers":
            self._update_marks()
            self._update_pair()
            self._reveal_path()

    def _reveal_path(self) -> None:
        """Layers carry tokens farther out than the vocabulary lies: see to it that all of the way is seen."""
        path, axes = self.state.vectors.path, self._axes
        if self._on_layers and path is not None and axes is not None:
            self.scatter.reveal_places(axes.place(path.coordinates).reshape(-1, 3))

    # -- the pair -----------------------------------------------------------------------------------------

    def _selected_ids(self) -> list[int]:
        ids = [self.state.token_id(ref) for ref in self.state.selection.ends]
        count = 0 if self.state.cloud is None else len(self.state.cloud.pieces)
        return [token_id for token_id in ids if token_id is not None and token_id < count]

    def _path_pair(self) -> tuple[int, int] | None:
        """The selected pair's places among the path's tokens."""
        path, refs = self.state.vectors.path, self.state.selection.ends
        if not self._on_layers or path is None or len(refs) != 2 or any(ref not in path.refs for ref in refs):
            return None
        return path.refs.index(refs[0]), path.refs.index(refs[1])

    def _reading(self) -> PairReading | None:
        """What the figures say: of the stage on show, or of the input embeddings."""
        ids, tokens, path = self._selected_ids(), self._path_pair(), self.state.vectors.path
        if tokens is not None and path is not None:
            stage = min(round(self.tools.player.stage), len(path.stages) - 1)
            return path.pair(stage, *tokens, (ids[0], ids[1]))
        pair = self.state.pair
        return pair if pair is not None and list(pair.token_ids) == ids else None

    def _vector_pair(self) -> VectorPair | None:
        """The selected pair as it is drawn: in the mode or at the stage that is being measured."""
        ids, axes, cloud = self._selected_ids(), self._axes, self.state.cloud
        if len(ids) != 2 or axes is None or cloud is None:
            return None
        reading = self._reading()
        text = "" if reading is None else degrees(reading.angle_degrees)
        first, second = self.state.selection.ends
        origin, tokens = axes.origin, self._path_pair()
        mode, path = self.state.vectors.mode, self.state.vectors.path
        if tokens is not None and path is not None:
            ends = axes.place(path.ways(self.tools.player.stage)[list(tokens), -1])
            tips = (_place(ends[0]), _place(ends[1]))
        else:
            tips = (self.scatter.place_of(ids[0]), self.scatter.place_of(ids[1]))
            if mode == "centred":
                origin = 0.0 * origin
            elif mode == "normalised":
                lengths = [max(float(cloud.norms[i]), 1e-30) for i in ids]
                drawn = [_place(origin + (tip - origin) / n) for tip, n in zip(tips, lengths, strict=True)]
                tips = (drawn[0], drawn[1])
        return VectorPair(_place(origin), tips, (first.side, second.side), text)

    def _update_pair(self) -> None:
        pair = self._vector_pair()
        self.scatter.set_pair(pair)
        self.tools.set_pair_shown(pair is not None)
        self.tools.modes.set_current(self.state.vectors.mode)
        self.menu.set_mode(self.state.vectors.mode)
        self._update_card()

    def _update_card(self) -> None:
        pair, cloud, axes = self._vector_pair(), self.state.cloud, self._axes
        if pair is None or cloud is None or axes is None:
            self.tools.stage_reading.setText("")
            return
        ids, reading, mode = self._selected_ids(), self._reading(), self.state.vectors.mode
        pieces = [self.state.piece(token_id) for token_id in ids]
        on_screen = self.scatter.on_screen_angle(pair)
        share = "" if math.isnan(axes.explained) else f": {percent(axes.explained)} of the variance"
        self.tools.card.set_text(
            CardText(
                pieces=((pieces[0], pair.sides[0]), (pieces[1], pair.sides[1])),
                reading=reading,
                on_screen_degrees=on_screen,
                reason=f"{REASONS[mode]}The picture keeps 3 of {cloud.dimensions} dimensions{share}.",
                where=f"full space, {cloud.dimensions} dimensions",
            )
        )
        angle = "…" if reading is None else degrees(reading.angle_degrees)
        cosine = "…" if reading is None else figure(reading.cosine, 3)
        named = " ∠ ".join(visible_piece(shorten(piece, LONGEST_LABEL)) for piece in pieces)
        figures = f"{angle}  cosine {cosine}  on screen {degrees(on_screen)}"
        self.tools.stage_reading.setText(f"{named}  {figures}")

    # -- the other tools ------------------------------------------------------------------------------------

    def _nearest(self) -> Ranked:
        around = self.state.vectors.neighbourhood
        if around is None:
            return ()
        distance = self.tools.metrics.button("distance").isChecked()
        return around.by_distance if distance else around.by_cosine

    def _update_neighbourhood(self) -> None:
        around = self.state.vectors.neighbourhood
        if around is None:
            picked = self.state.selection.token is not None
            self.tools.nearest.show_hint("…" if picked else "Click a token to see its nearest neighbours.")
        else:
            self._show_chips(self.tools.nearest, self._nearest())
        if self._color_mode == "cosine":
            self._update_colors()
        self._update_marks()

    def _update_arithmetic(self) -> None:
        words = self.state.vectors.arithmetic
        self.menu.set_words("" if words is None else words.expression)
        if words is None:
            self.tools.sums.show_hint("Type words with + and - between them, and press Enter.")
        else:
            self._show_chips(self.tools.sums, words.nearest)
        if WORDS in self._axis_choice:
            self._update_axes()
        self._update_marks()

    def _show_chips(self, chips: TokenChips, ranked: Ranked) -> None:
        chips.show_tokens([(i, self.state.piece(i), figure(value, 3)) for i, value in ranked])

    def _update_matrix(self) -> None:
        matrix = self.state.vectors.matrix
        if matrix is not None and matrix.ids == self._compared_ids():
            tokens = [(self.state.piece(token_id), ref.side) for ref, token_id in self._compared()]
            self.tools.grid.show_matrix(tokens, matrix.cosines)

    # -- looks ----------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a low panel the picture comes first."""
        super().resizeEvent(event)
        height = self.height() / self.theme.scale
        self.tools.fit_height(small=height < SMALL_PANEL, tiny=height < TINY_PANEL)

    def _update_theme(self) -> None:
        pad = self.theme.space(1)
        self._column.setContentsMargins(pad, 0, pad, pad)
        self._column.setSpacing(pad)
        self._bar.setSpacing(pad)
        self.search.update_theme()
        self.tools.update_theme()
        self._update_colors()
        self.scatter.update_theme()


def _place(values: npt.NDArray[np.float64]) -> Place:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
