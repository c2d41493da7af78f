"""What every panel is: a widget with a title, the facts that qualify it, and the state."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from explorer.app.state import AppState
from explorer.panels.widgets.empty_hint import EmptyHint
from explorer.theme import Theme


class Panel(QWidget):
    """A view of the state, shown in a dock.

    A subclass puts its content into ``self.body`` (a QWidget that it lays out itself), connects to the
    signals of ``self.state`` that it needs, and redraws everything whose colours or sizes it set by hand
    in ``_update_theme``.

    Attributes
    ----------
    title : str
        What stands on the left of the dock's title bar.
    facts : str
        What stands on its right: the facts that qualify what is shown.
    """

    title: ClassVar[str] = ""
    object_name: ClassVar[str] = ""
    facts_changed = Signal(str)

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.theme = theme
        self.facts = ""
        self.setObjectName(self.object_name)
        # A plain QWidget subclass does not paint the style sheet's background unless told to.
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setProperty("role", "panel")
        self.body = QWidget(self)
        self._hint = EmptyHint(theme, self)
        self._stack = QStackedLayout()
        self._stack.addWidget(self.body)
        self._stack.addWidget(self._hint)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(self._stack)
        theme.changed.connect(self._update_theme)

    def set_facts(self, facts: str) -> None:
        """State what qualifies the view, e.g. ``3 axes explain 6.1 % of variance``."""
        if facts != self.facts:
            self.facts = facts
            self.facts_changed.emit(facts)

    def show_hint(self, text: str) -> None:
        """Show one calm sentence instead of the body; with an empty text, show the body again."""
        self._hint.set_text(text)
        self._stack.setCurrentWidget(self._hint if text else self.body)

    def _update_theme(self) -> None:
        """Colours or sizes changed; the style sheet has been applied already."""
