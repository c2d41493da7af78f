"""The page of position encodings: what the model has, and how far positions are alike."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.positions import PositionEncoding, turned_cosines
from explorer.core.selection import TokenRef
from explorer.panels.embedding.position_map import MapContent, PositionMap
from explorer.panels.widgets.piece_text import shorten, visible_piece
from explorer.panels.widgets.segmented import Segmented
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

FEW, MANY = 64, 512
_REACHES = (f"first {FEW}", "all")
# One dimension in a hundred may be far stronger than the rest (GPT-2): it does not set the colours.
_LIMIT_SHARE = 0.99
_LONGEST_PIECE = 24


class PositionView(QWidget):
    """Two maps: the encoding itself, and position against position (or all heads' biases).

    Reads and writes the shared state itself; asks for the encodings when it is shown.
    """

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("position_view")
        self._state = state
        self._theme = theme
        self._stack_name = ""
        self._head = 0
        self.stacks = Segmented(theme, "position_stack", self)
        self.reach = Segmented(theme, "position_reach", self)
        self.reach.set_names(
            _REACHES, ("Large enough to see single positions", f"All that were read, at most {MANY}")
        )
        self.reach.set_current(_REACHES[0])
        self.heads = QComboBox(self)
        self.heads.setObjectName("position_head")
        self.heads.setAccessibleName("Head")
        self.heads.setToolTip("Whose bias is shown on the left; a click on the right map chooses it too")
        self.kind = QLabel(self)
        self.kind.setObjectName("position_kind")
        self.kind.setTextFormat(Qt.TextFormat.PlainText)
        self.note = QLabel(self)
        self.note.setObjectName("position_note")
        self.note.setProperty("role", "muted")
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        self.note.setWordWrap(True)
        self.reading = QLabel(self)
        self.reading.setObjectName("position_reading")
        self.reading.setProperty("role", "reading")
        self.reading.setTextFormat(Qt.TextFormat.PlainText)
        self.reading.setWordWrap(True)
        self.left = PositionMap(theme, "position_left_map", self)
        self.right = PositionMap(theme, "position_right_map", self)
        self._lay_out()
        self._connect()
        self._update_positions()

    def _lay_out(self) -> None:
        self._row = WrappingLayout()
        for widget in (self.kind, self.stacks, self.reach, self.heads):
            self._row.addWidget(widget)
        self._maps = QHBoxLayout()
        self._maps.addWidget(self.left, 1)
        self._maps.addWidget(self.right, 1)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(self._row)
        self._column.addLayout(self._maps, 1)
        self._column.addWidget(self.reading)
        self._column.addWidget(self.note)

    def _connect(self) -> None:
        state = self._state
        state.vectors.positions_changed.connect(self._update_positions)
        for changed in (
            state.source_changed,
            state.run_changed,
            state.selection_changed,
            state.hover_changed,
        ):
            changed.connect(self._update_marks)
        self.stacks.chosen.connect(self._on_stack_chosen)
        self.reach.chosen.connect(self._update_maps)
        self.heads.currentIndexChanged.connect(self._on_head_chosen)
        self.left.hovered.connect(self._on_left_hovered)
        self.right.hovered.connect(self._on_right_hovered)
        self.left.clicked.connect(self._on_left_clicked)
        self.right.clicked.connect(self._on_right_clicked)

    @property
    def encoding(self) -> PositionEncoding | None:
        """The encoding on show."""
        known = self._state.vectors.positions or ()
        return next((one for one in known if one.name == self._stack_name), known[0] if known else None)

    def showEvent(self, event: QShowEvent) -> None:
        """Read only when somebody looks: the page is hidden, too, until another model has its cloud."""
        super().showEvent(event)
        if self._state.vectors.positions is None:
            self._state.vectors.positions_requested.emit()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        for row in (self.stacks, self.reach):
            row.update_theme()
        self.kind.setFont(self._theme.prose("body", bold=True))
        for space in (self._row, self._maps, self._column):
            space.setSpacing(self._theme.space(0.8))
        self.left.update_theme()
        self.right.update_theme()

    # -- what the hand does ---------------------------------------------------------------------------

    def _on_stack_chosen(self, name: str) -> None:
        self._stack_name = name
        self._update_maps()

    def _on_head_chosen(self, head: int) -> None:
        self._head = max(head, 0)
        self._update_maps()

    def _on_left_hovered(self, cell: tuple[int, int] | None) -> None:
        self._hover_token(None if cell is None else cell[0])
        self.reading.setText(self._rest() if cell is None else self._left_words(*cell))

    def _on_right_hovered(self, cell: tuple[int, int] | None) -> None:
        encoding = self.encoding
        on_heads = encoding is not None and encoding.bias is not None
        self._hover_token(None if cell is None or on_heads else cell[0])
        self.reading.setText(self._rest() if cell is None else self._right_words(*cell))

    def _on_left_clicked(self, row: int, column: int, extend: bool) -> None:
        refs = self._refs()
        if row < len(refs):
            self._state.select(refs[row], extend=extend)

    def _on_right_clicked(self, row: int, column: int, extend: bool) -> None:
        encoding, refs = self.encoding, self._refs()
        if encoding is not None and encoding.bias is not None:
            self.heads.setCurrentIndex(row)
        elif max(row, column) < len(refs):
            self._state.select(refs[row])
            if row != column:
                self._state.select(refs[column], extend=True)

    def _hover_token(self, row: int | None) -> None:
        refs = self._refs()
        self._state.set_hover(refs[row] if row is not None and row < len(refs) else None)

    # -- what is shown --------------------------------------------------------------------------------

    def _update_positions(self) -> None:
        known = self._state.vectors.positions or ()
        names = tuple(one.name for one in known)
        if names:
            self.stacks.set_names(names, [one.where or one.note for one in known])
        if self._stack_name not in names:
            self._stack_name = names[0] if names else ""
        self.stacks.set_current(self._stack_name)
        self.stacks.setVisible(len(names) > 1)
        self._head = 0
        self._update_maps()

    def _update_maps(self) -> None:
        encoding = self.encoding
        drawn = encoding is not None and encoding.kind != "none"
        self.left.setVisible(drawn)
        self.right.setVisible(drawn)
        self.reading.setVisible(drawn)
        self.heads.setVisible(encoding is not None and encoding.bias is not None)
        self.reach.setVisible(drawn and encoding is not None and encoding.bias is None)
        if encoding is None:
            self.kind.setText("")
            self.note.setText("How the model tells positions apart appears here once it is read.")
            return
        named = "no position encoding" if encoding.kind == "none" else encoding.kind
        self.kind.setText(named)
        self.kind.setToolTip(encoding.where)
        self.note.setText(encoding.note)
        left, right = self._contents(encoding)
        self.left.show_content(left)
        self.right.show_content(right)
        self._update_heads(encoding)
        self._update_marks()
        self.reading.setText(self._rest())

    def _update_heads(self, encoding: PositionEncoding) -> None:
        bias = encoding.bias
        with QSignalBlocker(self.heads):
            if bias is not None and self.heads.count() != len(bias):
                self.heads.clear()
                self.heads.addItems([f"head {head}" for head in range(len(bias))])
            self.heads.setCurrentIndex(self._head)
        self.right.outline_row(self._head if bias is not None else None)

    def _update_marks(self) -> None:
        encoding = self.encoding
        if encoding is not None:
            marks = [(ref.side, self._state.emphasis(ref)) for ref in self._refs()]
            self.left.set_marks(marks)
            self.right.set_marks(() if encoding.bias is not None else marks)

    def _refs(self) -> tuple[TokenRef, ...]:
        """The sentence's tokens at positions 0, 1, … of the stack on show."""
        encoding, model, refs = self.encoding, self._state.model, self._state.refs()
        if encoding is None or model is None:
            return ()
        if model.family == "decoder-only":
            return refs
        source = encoding.stack == "encoder"
        return tuple(ref for ref in refs if (ref.side == "source") == source)

    def _count(self, known: int) -> int:
        return known if self.reach.button(_REACHES[1]).isChecked() else min(known, FEW)

    def _contents(self, encoding: PositionEncoding) -> tuple[MapContent | None, MapContent | None]:
        if encoding.vectors is not None and encoding.cosines is not None:
            count = self._count(len(encoding.vectors))
            vectors = encoding.vectors[:count]
            limit = _limit(vectors, _LIMIT_SHARE)
            return (
                MapContent(vectors, limit, "added vectors", "dimension"),
                MapContent(
                    encoding.cosines[:count, :count],
                    1.0,
                    "cosines",
                    "position",
                    square=True,
                ),
            )
        if encoding.bias is not None:
            bias = encoding.bias[self._head].astype(np.float64)
            n = len(bias)
            if encoding.causal:
                bias[np.triu_indices(n, 1)] = np.nan
            ways = encoding.bias_by_distance()[:, : n if encoding.causal else None]
            limit = _limit(ways, 1.0)
            return (
                MapContent(bias, limit, f"head {self._head}", "key", square=True),
                MapContent(ways, limit, "all heads", "key − query", 1 - n),
            )
        if encoding.frequencies is not None:
            count = self._count(MANY)
            return (
                MapContent(np.cos(encoding.angles(count)), 1.0, "cos of angles", "pair of dimensions"),
                MapContent(
                    turned_cosines(encoding.frequencies, count),
                    1.0,
                    "turned cosines",
                    "position",
                    square=True,
                ),
            )
        return None, None

    # -- in words -------------------------------------------------------------------------------------

    def _rest(self) -> str:
        encoding = self.encoding
        if encoding is None or encoding.bias is not None:
            return "Point at a cell for its value; click a head on the right to see its map."
        if encoding.frequencies is not None:
            return "Point at a cell for its angle and wavelength. Right: all pairs of dimensions weigh alike."
        return "Point at a cell for its value; the sentence's tokens are marked at the edge."

    def _position(self, row: int) -> str:
        refs = self._refs()
        token_id = self._state.token_id(refs[row]) if row < len(refs) else None
        if token_id is None:
            return f"{row}"
        return f"{row} {visible_piece(shorten(self._state.piece(token_id), _LONGEST_PIECE))}"

    def _left_words(self, row: int, column: int) -> str:
        encoding = self.encoding
        assert encoding is not None
        place = self._position(row)
        if encoding.vectors is not None:
            return f"position {place}, dimension {column}: {encoding.vectors[row, column]:+.6f}"
        if encoding.bias is not None:
            words = f"head {self._head}, query {place}, key {self._position(column)}"
            if encoding.causal and column > row:
                return f"{words}: masked"
            return f"{words}: bias {encoding.bias[self._head, row, column]:+.5f}"
        assert encoding.frequencies is not None
        frequency = float(encoding.frequencies[column])
        degrees = math.degrees(row * frequency)
        wave = f"wavelength {2.0 * math.pi / frequency:,.1f} positions" if frequency else "never turns"
        return f"position {place}, pair {column}: {degrees % 360.0:.2f}° ({degrees:,.2f}° in all), {wave}"

    def _right_words(self, row: int, column: int) -> str:
        encoding, content = self.encoding, self.right.content
        assert encoding is not None
        assert content is not None
        value = float(content.values[row, column])
        if encoding.bias is not None:
            distance = column + content.first_column
            side = "after" if distance > 0 else "before"
            way = f"{abs(distance)} {side} the query" if distance else "at the query"
            return f"head {row}, key {way}: bias {value:+.5f}"
        figure = "no direction" if math.isnan(value) else f"{value:+.6f}"
        return f"positions {self._position(row)} and {self._position(column)}: cosine {figure}"


def _limit(values: npt.NDArray[np.float32], share: float) -> float:
    """What so large a share of the values stays below in size; a damaged checkpoint's NaN left out."""
    sizes = np.abs(values[np.isfinite(values)])
    return (float(np.quantile(sizes, share)) if sizes.size else 0.0) or 1.0
