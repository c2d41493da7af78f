"""Chooses the language that a model of many is to read, or to write."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QLocale, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QWheelEvent
from PySide6.QtWidgets import QComboBox, QWidget

from explorer.theme import Theme

NOT_TOLD = "not told"
_MOST_ROWS = 16
# NLLB names the language of a group that ISO 639-3 has no common name for; people know it by the group's.
_KNOWN_AS = {
    "als": "sq",
    "arb": "ar",
    "ayr": "ay",
    "azj": "az",
    "fuv": "ff",
    "gaz": "om",
    "khk": "mn",
    "kmr": "ku",
    "lvs": "lv",
    "npi": "ne",
    "ory": "or",
    "pbt": "ps",
    "pes": "fa",
    "plt": "mg",
    "quy": "qu",
    "swh": "sw",
    "uzn": "uz",
    "ydd": "yi",
    "zsm": "ms",
}


class LanguageBox(QComboBox):
    """Languages by their English names with the tokenizer's codes; as wide as the one that is chosen.

    Emits ``chosen`` with the code when a hand chooses another one; empty for `NOT_TOLD`.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._codes: tuple[str, ...] = ()
        self.setObjectName(name)
        self.setMaxVisibleItems(_MOST_ROWS)
        self.activated.connect(self._on_activated)
        self.update_theme()

    def show_languages(self, codes: Sequence[str], code: str, *, optional: bool) -> None:
        """Offer ``codes``, with ``code`` chosen; ``optional`` offers not to tell the model any."""
        names = {each: language_name(each) for each in codes}
        # By name; those that only have a code come after them.
        ordered = sorted(codes, key=lambda each: (names[each] == each, names[each].casefold()))
        offered = ("", *ordered) if optional else tuple(ordered)
        with QSignalBlocker(self):
            if offered != self._codes:
                self._codes = offered
                self.clear()
                self.addItems([names.get(each, NOT_TOLD) for each in offered])
                self._fit_list()
            self.setCurrentIndex(offered.index(code) if code in offered else -1)
        self.updateGeometry()

    def _fit_list(self) -> None:
        view = self.view()
        bar = view.verticalScrollBar().sizeHint().width()
        view.setMinimumWidth(view.sizeHintForColumn(0) + bar + self._theme.space(2))

    def _on_activated(self, index: int) -> None:
        self.updateGeometry()
        self.chosen.emit(self._codes[index])

    def update_theme(self) -> None:
        """Smaller than a box of a form: it stands in a heading."""
        theme = self._theme
        self.setStyleSheet(
            # A list with a scroll bar, not a menu as high as the screen: there may be two hundred.
            "QComboBox { combobox-popup: 0; }"
            f"QComboBox QAbstractItemView::item {{ padding: {theme.space(0.5)}px; }}"
            f"QComboBox {{ font-size: {theme.pixels('small')}px; padding: 0 {theme.space(0.5)}px; }}"
        )
        self.ensurePolished()
        # Switched off when the view was made, for a menu that scrolls by its arrows.
        self.view().setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self._fit_list()

    def sizeHint(self) -> QSize:  # noqa: D102
        metrics = QFontMetrics(self.font())
        arrow = self._theme.space(3) + self._theme.space(2)
        width = metrics.horizontalAdvance(self.currentText()) + arrow
        return QSize(width, metrics.height() + self._theme.space(0.5))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return self.sizeHint()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Left to what scrolls: a wheel that passes by is not to begin another run."""
        event.ignore()


def language_name(code: str) -> str:
    """A language's English name and its code, e.g. ``French (fra_Latn)``; the code where it has none."""
    alone = code.strip("_").split("_")[0]
    language = QLocale.codeToLanguage(_KNOWN_AS.get(alone, alone))
    if language in (QLocale.Language.AnyLanguage, QLocale.Language.C):
        return code
    return f"{QLocale.languageToString(language)} ({code})"
