"""Colours, type and spacing: one scale, two palettes, and the classroom size.

Colour carries meaning and nothing else: source tokens blue, generated tokens green, the selection
amber (with a thick border as its second cue). Everything else is calm grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from explorer.resources import resources_folder

SizeName = Literal["small", "body", "title", "large"]
SchemeChoice = Literal["system", "light", "dark"]

_BASE_PIXELS: dict[SizeName, float] = {"small": 12.0, "body": 13.0, "title": 16.0, "large": 22.0}
_SPACE_PIXELS = 6.0
# In a classroom everything is as large as it would be on a screen of this height.
_CLASSROOM_HEIGHT_PIXELS = 800
_CLASSROOM_SCALES = (1.1, 2.5)
MIN_SCALE, MAX_SCALE = 0.8, 2.5


@dataclass(frozen=True, slots=True)
class Palette:
    """Named colours, as ``#rrggbb``. ``*_fill`` are the pale backgrounds that go with a strong colour."""

    dark: bool
    window: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    faint: str
    grid: str
    source: str
    source_fill: str
    generated: str
    generated_fill: str
    selection: str
    selection_fill: str
    accent: str
    accent_fill: str
    accent_text: str
    error: str
    error_fill: str
    before: str
    after: str
    cut: str
    point: str
    heat_low: str
    heat_high: str

    def color(self, name: str, alpha: int = 255) -> QColor:
        """The named colour, as Qt takes it."""
        color = QColor(getattr(self, name))
        color.setAlpha(alpha)
        return color


LIGHT = Palette(
    dark=False,
    window="#f2f4f8",
    surface="#ffffff",
    raised="#f8f9fc",
    border="#d5dae4",
    text="#161b26",
    muted="#566076",
    faint="#8b94a7",
    grid="#e4e8ef",
    source="#2460c8",
    source_fill="#e8effc",
    generated="#0b7d54",
    generated_fill="#dff3ea",
    selection="#c27c00",
    selection_fill="#fff3d6",
    accent="#2460c8",
    accent_fill="#e8effc",
    accent_text="#ffffff",
    error="#b3261e",
    error_fill="#fdeceb",
    before="#aeb8cc",
    after="#0b8f60",
    cut="#d9dee8",
    point="#7f93bd",
    heat_low="#ffffff",
    heat_high="#123f9b",
)

DARK = Palette(
    dark=True,
    window="#12151c",
    surface="#1a1f29",
    raised="#212733",
    border="#363e4e",
    text="#eef1f7",
    muted="#aab3c5",
    faint="#7c879c",
    grid="#2b3240",
    source="#7fb0ff",
    source_fill="#1d2f52",
    generated="#5fd3a1",
    generated_fill="#173c30",
    selection="#ffb938",
    selection_fill="#44350f",
    accent="#7fb0ff",
    accent_fill="#1d2f52",
    accent_text="#0d1522",
    error="#ff9a92",
    error_fill="#4a1f1d",
    before="#5d6a85",
    after="#4cc795",
    cut="#353d4c",
    point="#7d90b8",
    heat_low="#1a1f29",
    heat_high="#9cc4ff",
)


def classroom_scale(height: int) -> float:
    """The scale for a projector ``height`` pixels high, e.g. 1.35 at 1080; panels fit at all of them."""
    low, high = _CLASSROOM_SCALES
    return min(max(height / _CLASSROOM_HEIGHT_PIXELS, low), high)


class Theme(QObject):
    """The palette and the scale in force. ``changed`` follows the style sheet, which is set first."""

    changed = Signal()

    def __init__(self, app: QApplication, scheme: SchemeChoice = "system", scale: float = 1.0) -> None:
        super().__init__()
        self._app = app
        self._scheme: SchemeChoice = scheme
        self._scale = min(max(scale, MIN_SCALE), MAX_SCALE)
        self.palette = LIGHT
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system_scheme_changed)
        self._apply()

    @property
    def scheme(self) -> SchemeChoice:
        """``system``, ``light`` or ``dark``, as chosen."""
        return self._scheme

    def set_scheme(self, scheme: SchemeChoice) -> None:
        """Choose light, dark, or whatever the system says."""
        if scheme != self._scheme:
            self._scheme = scheme
            self._apply()

    @property
    def scale(self) -> float:
        """Factor on every size; 1 for a desk; for a projector see `classroom_scale`."""
        return self._scale

    def set_scale(self, scale: float) -> None:
        """Make everything larger or smaller together."""
        scale = min(max(scale, MIN_SCALE), MAX_SCALE)
        if scale != self._scale:
            self._scale = scale
            self._apply()

    def pixels(self, size: SizeName) -> int:
        """Font height in pixels."""
        return round(_BASE_PIXELS[size] * self._scale)

    def space(self, steps: float = 1.0) -> int:
        """A distance in pixels: one step is 6 px at scale 1."""
        return round(_SPACE_PIXELS * steps * self._scale)

    def prose(self, size: SizeName = "body", *, bold: bool = False) -> QFont:
        """The interface face."""
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
        return self._sized(font, size, bold)

    def mono(self, size: SizeName = "body", *, bold: bool = False) -> QFont:
        """The monospaced face, for pieces and numbers."""
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        return self._sized(font, size, bold)

    def color(self, name: str, alpha: int = 255) -> QColor:
        """A colour of the palette in force."""
        return self.palette.color(name, alpha)

    def side_color(self, side: str) -> QColor:
        """Blue for source tokens, green for generated and start tokens, grey for the rest."""
        names = {"source": "source", "generated": "generated", "start": "generated"}
        return self.color(names.get(side, "muted"))

    def side_fill(self, side: str) -> QColor:
        """The pale fill that goes with `side_color`."""
        names = {"source": "source_fill", "generated": "generated_fill", "start": "generated_fill"}
        return self.color(names.get(side, "raised"))

    def _sized(self, font: QFont, size: SizeName, bold: bool) -> QFont:
        font.setPixelSize(self.pixels(size))
        font.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
        return font

    def _on_system_scheme_changed(self) -> None:
        if self._scheme == "system":
            self._apply()

    def _apply(self) -> None:
        dark = self._scheme == "dark" or (
            self._scheme == "system" and QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        )
        self.palette = DARK if dark else LIGHT
        self._app.setStyle("Fusion")
        self._app.setPalette(self._qt_palette())
        self._app.setFont(self.prose())
        self._app.setStyleSheet(self._style_sheet())
        self.changed.emit()

    def _qt_palette(self) -> QPalette:
        roles = QPalette.ColorRole
        qt = QPalette()
        for role, name in {
            roles.Window: "window",
            roles.WindowText: "text",
            roles.Base: "surface",
            roles.AlternateBase: "raised",
            roles.Text: "text",
            roles.Button: "surface",
            roles.ButtonText: "text",
            roles.ToolTipBase: "raised",
            roles.ToolTipText: "text",
            roles.PlaceholderText: "faint",
            roles.Highlight: "accent",
            roles.HighlightedText: "accent_text",
            roles.Link: "accent",
            roles.Mid: "border",
        }.items():
            qt.setColor(role, self.color(name))
        for role in (roles.WindowText, roles.Text, roles.ButtonText):
            qt.setColor(QPalette.ColorGroup.Disabled, role, self.color("faint"))
        return qt

    def _style_sheet(self) -> str:
        p = self.palette
        # Rules, because Qt drops a font set by hand when a styled widget moves to another parent, as a
        # panel does when its dock floats.
        mono = self.mono().family()
        # Its grey stands out on either scheme's surface; a style sheet cannot draw one itself.
        chevron = (resources_folder() / "icons" / "chevron-down.svg").as_posix()
        check = (resources_folder() / "icons" / f"check-{'dark' if p.dark else 'light'}.svg").as_posix()
        radius, pad, small, title = self.space(1), self.space(1), self.pixels("small"), self.pixels("title")
        return f"""
        QWidget {{ color: {p.text}; }}
        QMainWindow, QMainWindow > QWidget {{ background: {p.window}; }}
        QMainWindow::separator {{ background: {p.window}; width: {pad}px; height: {pad}px; }}
        QMainWindow::separator:hover {{ background: {p.border}; }}
        QWidget[role="panel"] {{
            background: {p.surface}; border: 1px solid {p.border}; border-top: none;
            border-bottom-left-radius: {radius}px; border-bottom-right-radius: {radius}px;
        }}
        QWidget[role="dock_title"] {{
            background: {p.surface}; border: 1px solid {p.border}; border-bottom: none;
            border-top-left-radius: {radius}px; border-top-right-radius: {radius}px;
        }}
        QLabel[role="title"] {{ font-size: {title}px; font-weight: 600; }}
        QLabel[role="facts"], QLabel[role="hint"], QLabel[role="muted"] {{ color: {p.muted}; }}
        QLabel[role="facts"], QLabel[role="small"] {{ font-size: {small}px; }}
        QLabel[role="reading"] {{ color: {p.muted}; font-size: {small}px; font-family: "{mono}"; }}
        QLineEdit[face="mono"] {{ font-family: "{mono}"; }}
        QPushButton {{
            background: {p.surface}; border: 1px solid {p.border}; border-radius: {radius}px;
            padding: {round(pad * 0.8)}px {pad * 2}px;
        }}
        QPushButton:hover {{ border-color: {p.accent}; background: {p.raised}; }}
        QPushButton:pressed {{ background: {p.accent_fill}; }}
        QPushButton:disabled {{ color: {p.faint}; background: {p.raised}; border-color: {p.grid}; }}
        QPushButton:checked {{
            background: {p.accent}; color: {p.accent_text}; border-color: {p.accent}; font-weight: 600;
        }}
        QPushButton[role="primary"] {{
            background: {p.accent}; color: {p.accent_text}; border-color: {p.accent}; font-weight: 600;
        }}
        QPushButton[role="primary"]:hover {{ border-color: {p.text}; }}
        QPushButton[role="primary"]:disabled {{
            background: {p.grid}; color: {p.faint}; border-color: {p.grid};
        }}
        QPushButton[role="link"] {{
            border: none; background: transparent; color: {p.accent}; padding: 0 {pad}px;
        }}
        QPushButton[role="link"]:hover {{ text-decoration: underline; }}
        QPushButton:focus, QLineEdit:focus, QComboBox:focus, QAbstractSpinBox:focus {{
            border: 2px solid {p.accent};
        }}
        QLineEdit, QComboBox, QAbstractSpinBox, QPlainTextEdit {{
            background: {p.surface}; border: 1px solid {p.border}; border-radius: {radius}px;
            padding: {round(pad * 0.8)}px {pad}px; selection-background-color: {p.accent};
            selection-color: {p.accent_text};
        }}
        QComboBox::drop-down {{ border: none; width: {pad * 3}px; }}
        QComboBox::down-arrow {{ image: url("{chevron}"); width: {small}px; height: {small}px; }}
        QComboBox QAbstractItemView {{ background: {p.surface}; border: 1px solid {p.border}; }}
        QCheckBox {{ spacing: {pad}px; }}
        QCheckBox::indicator {{
            width: {small}px; height: {small}px; border: 1px solid {p.faint}; border-radius: 3px;
            background: {p.surface};
        }}
        QCheckBox::indicator:checked {{
            background: {p.accent}; border-color: {p.accent}; image: url("{check}");
        }}
        QCheckBox:focus {{ color: {p.accent}; }}
        QMenuBar, QMenu, QStatusBar, QToolBar {{ background: {p.window}; border: none; }}
        QStatusBar::item {{ border: none; }}
        QMenu {{ border: 1px solid {p.border}; }}
        QMenu::item {{ padding: {pad}px {pad * 4}px; }}
        QMenu::item:selected, QMenuBar::item:selected {{ background: {p.accent_fill}; }}
        QMenu::item:disabled {{ color: {p.faint}; }}
        QToolTip {{
            background: {p.raised}; color: {p.text}; border: 1px solid {p.border}; padding: {pad}px;
        }}
        QScrollArea, QScrollArea > QWidget > QWidget {{ background: transparent; border: none; }}
        QScrollBar {{ background: transparent; }}
        QScrollBar:vertical {{ width: {pad * 2}px; }} QScrollBar:horizontal {{ height: {pad * 2}px; }}
        QScrollBar::handle {{
            background: {p.border}; border-radius: {pad // 2}px; min-height: 24px; min-width: 24px;
            margin: 2px;
        }}
        QScrollBar::handle:hover {{ background: {p.faint}; }}
        QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page,
        QScrollBar::sub-page {{
            background: none; border: none; width: 0; height: 0;
        }}
        QSlider::groove:horizontal {{
            height: {max(4, pad // 2 + 1)}px; background: {p.border}; border-radius: 2px;
        }}
        QSlider::sub-page:horizontal {{ background: {p.accent}; border-radius: 2px; }}
        QSlider::handle:horizontal {{
            background: {p.surface}; border: 2px solid {p.accent}; width: {pad * 2}px; height: {pad * 2}px;
            margin: -{pad}px 0; border-radius: {pad + 2}px;
        }}
        QSlider::sub-page:horizontal:disabled {{ background: {p.faint}; }}
        QTabBar::tab {{ background: {p.window}; border: 1px solid {p.border}; padding: {pad}px {pad * 2}px; }}
        QTabBar::tab:selected {{ background: {p.surface}; font-weight: 600; }}
        QProgressBar {{ border: none; background: {p.grid}; border-radius: 2px; max-height: 4px; }}
        QProgressBar::chunk {{ background: {p.accent}; border-radius: 2px; }}
        """
