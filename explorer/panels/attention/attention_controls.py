"""The row of controls over an attention map: which head, which way of looking, how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QAction, QActionGroup, QFontMetrics
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from explorer.colormaps import TRANSFORMS, Transform
from explorer.core.head_measures import MEASURES
from explorer.core.records import ModelInfo
from explorer.core.selection import AttentionKind, AttentionSummary, HeadRef, Pooling
from explorer.panels.attention.counter_box import CounterBox
from explorer.panels.widgets.segmented import Segmented
from explorer.panels.widgets.wrapping_layout import WrappingLayout
from explorer.theme import Theme

ViewName = Literal["matrix", "lines", "inside"]
ExportFormat = Literal["png", "svg", "csv", "npz"]

_KIND_TOOLTIPS: dict[AttentionKind, str] = {
    "encoder": "How the tokens of the source text look at each other.",
    "decoder": "How each token being written looks back at the tokens before it.",
    "cross": "How each token being written looks at the source text.",
}
_VIEW_TOOLTIPS = {
    "matrix": "Every weight as a coloured cell.",
    "lines": "Every weight as a line between two tokens: the stronger, the darker and thicker.",
    "inside": "How the selected cell's weight came about: query, key, score, softmax, values.",
}
_SUMMARIES: dict[AttentionSummary, tuple[str, str]] = {
    "head": ("one head", "The weights of the opened head, as the model uses them."),
    "mean": ("mean of the layer's heads", "Every weight averaged over all heads of the layer."),
    "chosen": (
        "mean of the marked heads",
        "Every weight averaged over the heads that were marked: Ctrl-click them, or filter heads.",
    ),
    "rollout": (
        "rollout up to the layer",
        "Attention followed through the layers from 0 to the chosen one: half goes along the mean of the"
        " heads, half stays in place, as by the residual connection (Abnar & Zuidema, 2020).",
    ),
}
_POOLINGS: dict[Pooling, tuple[str, str]] = {
    "max": ("largest of each block", "A peak stays visible, however small."),
    "mean": ("mean of each block", "As a blurred picture; a narrow peak fades."),
}
_TOGETHER: dict[str, tuple[AttentionSummary, str]] = {
    "side by side": ("head", "The marked heads beside each other, up to four."),
    "their mean": ("chosen", "One map: every weight averaged over the marked heads."),
}
_TRANSFORM_TOOLTIPS: dict[Transform, str] = {
    "linear": "Twice the weight, twice the colour.",
    "square root": "Lifts small weights, so that they can be seen.",
    "log": "Each step of colour is a factor: shows weights down to a ten-thousandth.",
}


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """How maps are drawn; each choice is visible in the menu and stated under the map.

    Attributes
    ----------
    transform : str
        How weights become colours.
    per_map : bool
        Whether the map's own largest weight, instead of 1, gets the strongest colour.
    hide_special, hide_first : bool
        Leave special tokens, or the first token (which many heads use as a sink), out.
    renormalise : bool
        Scale what is left of each row back to a sum of 1.
    words : bool
        Merge the tokens of a word: the sum over its keys, the mean over its queries.
    sums : bool
        Draw the sums of rows and columns along the edges.
    """

    transform: Transform = "linear"
    per_map: bool = False
    hide_special: bool = False
    hide_first: bool = False
    renormalise: bool = False
    words: bool = False
    sums: bool = False


class AttentionControls(QWidget):
    """Kind, layer, head, way of looking and the display menu.

    Signals
    -------
    head_chosen : HeadRef
        A person chose another head.
    view_chosen : str
        ``matrix``, ``lines`` or ``inside``.
    options_changed : DisplayOptions
        A person changed how maps are drawn.
    summary_chosen : str
        Draw one ``head``, the ``mean`` of its layer, of the ``chosen`` ones, or the ``rollout`` up to it.
    together_chosen : str
        Draw the marked heads side by side (``head``) or as their mean (``chosen``).
    filter_toggled : bool
        Filter heads, or no longer.
    order_chosen : str
        By which measure to order the heads; empty for layer and head.
    export_requested : str
        ``png``, ``svg``, ``csv`` or ``npz``.
    export_all_requested : str
        ``png``, ``svg``, ``csv`` or ``npz``, of every head of the opened kind.
    pooling_chosen : str
        What is to stand for several weights in a thumbnail: ``max`` or ``mean``.
    fit_requested
        Show the whole map again.
    """

    head_chosen = Signal(object)
    view_chosen = Signal(str)
    options_changed = Signal(object)
    summary_chosen = Signal(str)
    together_chosen = Signal(str)
    filter_toggled = Signal(bool)
    order_chosen = Signal(str)
    export_requested = Signal(str)
    export_all_requested = Signal(str)
    pooling_chosen = Signal(str)
    fit_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.options = DisplayOptions()
        self._head: HeadRef | None = None
        self._model: ModelInfo | None = None
        self.kinds = Segmented(theme, "attention_kind", self, dense=True)
        self.layer_box = CounterBox(theme, "attention_layer", "layer ", self)
        self.head_box = CounterBox(theme, "attention_head", "head ", self)
        self.layer_box.setToolTip("Which layer, counted from 0.")
        self.head_box.setToolTip("Which head of the layer, counted from 0.")
        self.views = Segmented(theme, "attention_view", self, dense=True)
        self.views.set_names(tuple(_VIEW_TOOLTIPS), tuple(_VIEW_TOOLTIPS.values()))
        self.views.set_current("matrix")
        self.menu = QMenu(self)
        self.display_button = QPushButton("Display", self)
        self.display_button.setObjectName("attention_display")
        self.display_button.setToolTip("Colours, hidden tokens, sums, and export.")
        self.display_button.setMenu(self.menu)
        self._fill_menu()
        self.filter_button = QPushButton("Filter", self)
        self.filter_button.setObjectName("attention_filter")
        self.filter_button.setCheckable(True)
        self.filter_button.setToolTip("Find heads by what they do on this sentence, measured.")
        self.together = Segmented(theme, "attention_together", self, dense=True)
        self.together.set_names(tuple(_TOGETHER), tuple(meaning for _, meaning in _TOGETHER.values()))
        self._layout = WrappingLayout(self, spacing=theme.space(1))
        for widget in (
            self.kinds,
            self.layer_box,
            self.head_box,
            self.views,
            self.display_button,
            self.filter_button,
            self.together,
        ):
            self._layout.addWidget(widget)
        self.filter_button.toggled.connect(self.filter_toggled)
        self.together.chosen.connect(lambda name: self.together_chosen.emit(_TOGETHER[name][0]))
        self.kinds.chosen.connect(self._on_kind_chosen)
        self.layer_box.valueChanged.connect(self._on_place_changed)
        self.head_box.valueChanged.connect(self._on_place_changed)
        self.views.chosen.connect(self.view_chosen)
        self.update_theme()

    def set_model(self, model: ModelInfo | None) -> None:
        """Offer the kinds of attention that the model has."""
        self._model = model
        kinds = () if model is None else model.attention_kinds
        self.kinds.set_names(kinds, [_KIND_TOOLTIPS[kind] for kind in kinds])

    def set_head(self, head: HeadRef | None) -> None:
        """Show which head is opened."""
        self._head = head
        for box in (self.layer_box, self.head_box):
            box.setEnabled(head is not None)
        if head is None or self._model is None or head.kind not in self._model.layers:
            return
        self.kinds.set_current(head.kind)
        for box, count, value in (
            (self.layer_box, self._model.layers[head.kind], head.layer),
            (self.head_box, self._model.heads[head.kind], head.head),
        ):
            with QSignalBlocker(box):
                box.setRange(0, max(0, count - 1))
                box.setValue(value)

    def set_summary(self, summary: AttentionSummary, kind: AttentionKind | None, marked: int) -> None:
        """Show what is drawn, of how many marked heads; cross-attention has no rollout."""
        for name, action in self._summaries.items():
            action.setChecked(name == summary)
        self._summaries["rollout"].setEnabled(kind != "cross")
        self._summaries["chosen"].setEnabled(marked > 1)
        self.together.setVisible(marked > 1)
        self.together.set_current(next((name for name, one in _TOGETHER.items() if one[0] == summary), None))

    def update_theme(self) -> None:
        """Colours or sizes changed."""
        for group in (self.kinds, self.views, self.together):
            group.update_theme()
        pad = self.theme.space(1)
        for box in (self.layer_box, self.head_box):
            box.update_theme()
        # A chosen button is bold, and Qt measures it as if it were not.
        measure = QFontMetrics(self.theme.prose("body", bold=True)).horizontalAdvance
        for button, least in (
            (self.display_button, 0),
            (self.filter_button, measure(self.filter_button.text()) + 2),
        ):
            padding = f"{round(pad * 0.55)}px {round(pad * 1.1)}px"
            button.setStyleSheet(f"QPushButton {{ padding: {padding}; min-width: {least}px; }}")
        self._layout.setSpacing(pad)
        self.updateGeometry()

    def _fill_menu(self) -> None:
        self.menu.setToolTipsVisible(True)
        drawn = self.menu.addMenu("draw")
        drawn.setToolTipsVisible(True)
        drawn_group = QActionGroup(self)
        self._summaries: dict[AttentionSummary, QAction] = {}
        for summary, (text, meaning) in _SUMMARIES.items():
            action = drawn.addAction(text)
            action.setObjectName(f"attention_draw_{summary}")
            action.setCheckable(True)
            action.setToolTip(meaning)
            drawn_group.addAction(action)
            action.triggered.connect(lambda _checked=False, name=summary: self.summary_chosen.emit(name))
            self._summaries[summary] = action
        self._summaries["head"].setChecked(True)
        orders = self.menu.addMenu("order heads by")
        orders.setToolTipsVisible(True)
        group = QActionGroup(self)
        for name, meaning in (("", "As they are in the model."), *((m.name, m.meaning) for m in MEASURES)):
            action = orders.addAction(name or "layer and head")
            action.setObjectName(f"attention_order_{name.replace(' ', '_') or 'place'}")
            action.setCheckable(True)
            action.setChecked(not name)
            action.setToolTip(meaning)
            group.addAction(action)
            action.triggered.connect(lambda _checked=False, name=name: self.order_chosen.emit(name))
        # Each choice names what it is of: styles leave out the titles of a menu's sections.
        self.menu.addSeparator()
        transforms = QActionGroup(self)
        for name in TRANSFORMS:
            action = self._check(name, _TRANSFORM_TOOLTIPS[name], self._transform_setter(name), transforms)
            action.setText(f"colours: {name}")
            action.setChecked(name == self.options.transform)
        self.menu.addSeparator()
        tops = QActionGroup(self)
        fixed = self._check(
            "fixed", "Maps of all heads can be compared.", self._setter("per_map", False), tops
        )
        fixed.setText("strongest colour: 1, for every map")
        fixed.setChecked(True)
        own = self._check(
            "per map",
            "Shows the pattern of a faint map; colours of two maps cannot be compared.",
            self._setter("per_map", True),
            tops,
        )
        own.setText("strongest colour: the map's own largest weight")
        self.menu.addSeparator()
        poolings = QActionGroup(self)
        for pooling, (text, meaning) in _POOLINGS.items():
            action = self._check(text, meaning, self._pooling_asker(pooling), poolings)
            action.setText(f"thumbnails of a long text: {text}")
            action.setObjectName(f"attention_pool_{pooling}")
            action.setChecked(pooling == "max")
        self.menu.addSeparator()
        self._toggle(
            "hide special tokens",
            "The weight that they hold is stated. Padding would be among them; one text alone has none.",
            "hide_special",
        )
        self._toggle("hide the first token", "Many heads park their attention there (a sink).", "hide_first")
        self._toggle(
            "scale the rest of each row to 1",
            "Only where something is hidden: what is left of a row is divided by its sum.",
            "renormalise",
        )
        self.menu.addSeparator()
        self._toggle(
            "merge subwords into words",
            "A word is what stands between blanks: its keys are summed, its queries averaged.",
            "words",
        )
        self._toggle("sums of rows and columns", "How much each token gives and receives.", "sums")
        self.menu.addAction("fit the whole map").triggered.connect(self.fit_requested)
        export = self.menu.addMenu("export")
        export.setToolTipsVisible(True)
        export.menuAction().setObjectName("attention_export")
        for fmt, text in (
            ("png", "picture (PNG)…"),
            ("svg", "drawing (SVG)…"),
            ("csv", "numbers (CSV)…"),
            ("npz", "numbers (NPZ)…"),
        ):
            action = export.addAction(text)
            action.setObjectName(f"attention_export_{fmt}")
            action.triggered.connect(lambda _checked=False, fmt=fmt: self.export_requested.emit(fmt))
        export.addSeparator()
        wall = "The wall of thumbnails, as it is on screen."
        whole = "Every whole map of the opened kind of attention, as the model computed it."
        for fmt, text, meaning in (
            ("png", "all heads: picture (PNG)…", wall),
            ("svg", "all heads: drawing (SVG)…", wall),
            ("csv", "all heads: numbers (CSV)…", whole),
            ("npz", "all heads: numbers (NPZ)…", whole),
        ):
            action = export.addAction(text)
            action.setObjectName(f"attention_export_all_{fmt}")
            action.setToolTip(meaning)
            action.triggered.connect(lambda _checked=False, fmt=fmt: self.export_all_requested.emit(fmt))

    def _check(
        self, text: str, tooltip: str, apply: Callable[[bool], None], group: QActionGroup | None = None
    ) -> QAction:
        action = self.menu.addAction(text)
        action.setObjectName(f"attention_{text.split(':')[0].replace(' ', '_')}")
        action.setCheckable(True)
        action.setToolTip(tooltip)
        if group is not None:
            group.addAction(action)
        action.triggered.connect(apply)
        return action

    def _toggle(self, text: str, tooltip: str, field: str) -> None:
        self._check(text, tooltip, lambda checked: self._set_option(field, checked))

    def _pooling_asker(self, pooling: Pooling) -> Callable[[bool], None]:
        return lambda _checked: self.pooling_chosen.emit(pooling)

    def _transform_setter(self, name: Transform) -> Callable[[bool], None]:
        return lambda _checked: self._set_option("transform", name)

    def _setter(self, field: str, value: bool) -> Callable[[bool], None]:
        return lambda _checked: self._set_option(field, value)

    def _set_option(self, field: str, value: object) -> None:
        self.options = replace(self.options, **{field: value})  # type: ignore[arg-type]
        self.options_changed.emit(self.options)

    def _on_kind_chosen(self, name: str) -> None:
        kind = cast(AttentionKind, name)
        if self._model is None:
            return
        layer = 0 if self._head is None else min(self._head.layer, self._model.layers[kind] - 1)
        head = 0 if self._head is None else min(self._head.head, self._model.heads[kind] - 1)
        self.head_chosen.emit(HeadRef(kind, layer, head))

    def _on_place_changed(self, _value: int) -> None:
        if self._head is not None:
            self.head_chosen.emit(HeadRef(self._head.kind, self.layer_box.value(), self.head_box.value()))
