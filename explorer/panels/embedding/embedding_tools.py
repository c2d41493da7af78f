"""The tools under the embedding picture: angle, neighbours, sums, cosines, layers, positions."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.core.vectors import VECTOR_MODES
from explorer.panels.embedding.cosine_grid import CosineGrid
from explorer.panels.embedding.layer_player import LayerPlayer
from explorer.panels.embedding.pair_card import PairCard
from explorer.panels.embedding.position_view import PositionView
from explorer.panels.embedding.token_chips import TokenChips
from explorer.panels.widgets.segmented import Segmented
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

TOOLS = ("angle", "nearest", "sums", "matrix", "layers", "positions")
_TOOL_TIPS = (
    "Two tokens as vectors, and the angle between them",
    "The nearest tokens of the whole vocabulary",
    "Add and subtract words: king - man + woman",
    "Every token of the sentence compared with every other",
    "The sentence's vectors after every layer",
    "How the model tells positions apart",
)
_MODE_TIPS = (
    "The vectors as the model has them, from the zero vector",
    "From the vocabulary's mean: takes off what all tokens have in common, so that angles spread",
    "Each vector at length 1: the angle stays, the dot product becomes the cosine",
)
METRICS = ("cosine", "distance")
NO_PAIR = "Click a token, then Ctrl-click another: their true angle in the full space is measured here."


class EmbeddingTools(QWidget):
    """One tool at a time; which one is chosen by a row of buttons.

    Signals
    -------
    tool_changed : str
        Another tool is on show than the one named.
    """

    tool_changed = Signal(str)

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._tool = TOOLS[0]
        self._small = self._tiny = False
        self.tabs = Segmented(theme, "embedding_tool", self, dense=True)
        self.tabs.set_names(TOOLS, _TOOL_TIPS)
        self.card = PairCard(theme, self)
        self.modes = Segmented(theme, "vector_mode", self)
        self.modes.set_names(VECTOR_MODES, _MODE_TIPS)
        self.metrics = Segmented(theme, "metric", self)
        self.metrics.set_names(METRICS, ("Largest cosine first", "Smallest Euclidean distance first"))
        self.no_pair = QLabel(NO_PAIR, self)
        self.no_pair.setProperty("role", "muted")
        self.no_pair.setWordWrap(True)
        self.nearest = TokenChips(theme, state.emphasis_of_id, self)
        self.nearest.setObjectName("nearest_chips")
        self.sum_field = QLineEdit(self)
        self.sum_field.setObjectName("sum_field")
        self.sum_field.setPlaceholderText("king - man + woman")
        self.sum_field.setAccessibleName("Words to add and subtract")
        self.sum_field.setToolTip(
            "Words that are single tokens, with + and - between spaces. Enter computes."
        )
        self.sums = TokenChips(theme, state.emphasis_of_id, self)
        self.sums.setObjectName("sum_chips")
        self.grid = CosineGrid(theme, self)
        self.player = LayerPlayer(theme, self)
        self.stage_reading = QLabel(self)
        self.stage_reading.setObjectName("stage_reading")
        self.stage_reading.setTextFormat(Qt.TextFormat.PlainText)
        self.stage_reading.setWordWrap(True)
        self.positions = PositionView(state, theme, self)
        self._pages = {
            "angle": self._page(self.card, self.no_pair),
            "nearest": self._page(self.nearest),
            "sums": self._page(self.sum_field, self.sums),
            "matrix": self._page(self.grid),
            "layers": self._page(self.player, self.stage_reading),
            "positions": self._page(self.positions),
        }
        self._row = WrappingLayout()
        self._row.addWidget(self.tabs)
        self._row.addWidget(self.modes)
        self._row.addWidget(self.metrics)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(self._row)
        for page in self._pages.values():
            self._column.addWidget(page)
        self.tabs.chosen.connect(self.set_tool)
        self.metrics.set_current(METRICS[0])
        self.set_pair_shown(False)
        self._update_pages()

    @property
    def tool(self) -> str:
        """The tool on show, one of `TOOLS`."""
        return self._tool

    def set_tool(self, tool: str) -> None:
        """Show another tool."""
        self.tabs.set_current(tool)
        if tool != self._tool:
            before, self._tool = self._tool, tool
            self._update_pages()
            self.tool_changed.emit(before)

    def set_pair_shown(self, shown: bool) -> None:
        """With a pair the card, without one the sentence that says how to pick one."""
        self.card.setVisible(shown)
        self.no_pair.setVisible(not shown)

    def fit_height(self, *, small: bool, tiny: bool) -> None:
        """Give room to the picture: a small panel keeps the card's figures, a tiny one nothing else."""
        self._small, self._tiny = small, tiny
        self.card.set_compact(small)
        self.tabs.setVisible(not tiny)
        if tiny:
            self.set_tool(TOOLS[0])
        self._update_pages()

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        for row in (self.tabs, self.modes, self.metrics):
            row.update_theme()
        for chips in (self.nearest, self.sums):
            chips.update_theme()
        self.positions.update_theme()
        self.sum_field.setFont(self._theme.mono())
        self.stage_reading.setFont(self._theme.mono())
        self._row.setSpacing(self._theme.space(0.8))
        self._column.setSpacing(self._theme.space(0.8))
        self.card.updateGeometry()
        self.update()

    def _page(self, *widgets: QWidget) -> QWidget:
        page = QWidget(self)
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            column.addWidget(widget)
        return page

    def _update_pages(self) -> None:
        self.tabs.set_current(self._tool)
        for name, page in self._pages.items():
            page.setVisible(name == self._tool)
        # Maps take what room there is; the other tools only what they need.
        large = self._tool in ("matrix", "positions")
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        if large:
            policy.setVerticalPolicy(QSizePolicy.Policy.Expanding)
            policy.setVerticalStretch(1)
        self.setSizePolicy(policy)
        self.modes.setVisible(self._tool == "angle" and not self._small)
        self.metrics.setVisible(self._tool == "nearest" and not self._tiny)
        self.updateGeometry()
