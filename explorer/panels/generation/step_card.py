"""One decoder step as a card: what is on it, where each part lies, and how it is painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen

from explorer.app.state import AppState, Emphasis
from explorer.core.records import StepRecord
from explorer.core.sampling import SamplingParams
from explorer.core.selection import TokenRef
from explorer.panels.widgets.piece_text import probability_text, visible_piece
from explorer.theme import Theme

FEWEST_ALTERNATIVES = 3
PartKind = Literal["card", "chosen", "alternative", "force", "force_other"]


@dataclass(frozen=True, slots=True)
class CardPart:
    """A part of a step's card that answers to the pointer.

    Attributes
    ----------
    kind : str
        ``card`` is everything that is no other part.
    rect : QRect
        Where it is, in the card's own coordinates.
    token_id : int or None
        Which token it stands for; None for ``card`` and ``force_other``.
    probability : float
        That token's, in the model's own distribution.
    rank : int
        That token's, 0 for the most likely.
    """

    kind: PartKind
    rect: QRect
    token_id: int | None = None
    probability: float = 0.0
    rank: int = 0


def how_chosen(step: StepRecord) -> str:
    """How the token of ``step`` was chosen, and its rank, in a few words."""
    how = f"T {step.params.temperature:g}" if step.choice == "sampled" else step.choice
    return f"{how} · rank {step.rank:,}"


def under_other_settings(step: StepRecord, now: SamplingParams) -> bool:
    """Whether the token of ``step`` was chosen by settings that say something else than those of now."""
    return step.choice in ("greedy", "sampled") and step.params.summary != now.summary


class CardPainter:
    """Lays out and paints step cards in the theme in force; made anew when the theme changes.

    A card costs its ten or so visible rows, whatever the vocabulary: it asks a step only for what
    `StepRecord.summarise` has worked out.
    """

    def __init__(self, state: AppState, theme: Theme) -> None:
        self.state = state
        self.theme = theme
        self.piece_font = theme.mono("body")
        self.chosen_font = theme.mono("body", bold=True)
        self.number_font = theme.mono("small")
        self.small_font = theme.prose("small")
        self.small_bold_font = theme.prose("small", bold=True)
        self.pad = theme.space(1)
        self.small_height = QFontMetrics(self.small_font).height()
        self.row_height = QFontMetrics(self.piece_font).height() + theme.space(0.7)
        # A low card would rather show its fewest alternatives closely spaced than fewer of them.
        self.low_row_height = QFontMetrics(self.piece_font).height() + 1
        self.chosen_height = QFontMetrics(self.chosen_font).height() + theme.space(1.1)
        self.number_width = QFontMetrics(self.number_font).horizontalAdvance("0.000")
        self.rank_width = QFontMetrics(self.number_font).horizontalAdvance("0") + theme.space(1)
        self.width = theme.space(26)

    # -- where things are -----------------------------------------------------------------------

    @property
    def least_height(self) -> int:
        """Pixels that a card with the fewest alternatives needs."""
        rows = FEWEST_ALTERNATIVES * self.row_height
        return self._rows_top() + rows + self.small_height + 2 * self.pad

    def _rows_top(self) -> int:
        return self.pad + 2 * self.small_height + self.chosen_height + self.theme.space(1)

    def parts(self, step: StepRecord, height: int) -> list[CardPart]:
        """The parts of a step's card that is ``height`` tall, topmost first, ``card`` last."""
        pad, width = self.pad, self.width
        inner = width - 2 * pad
        chosen_top = pad + self.small_height + self.theme.space(0.5)
        parts = [
            CardPart(
                "chosen",
                QRect(pad, chosen_top, inner, self.chosen_height),
                step.token.id,
                step.probability,
                step.rank,
            )
        ]
        footer_top = height - pad - self.small_height
        row_height = self.row_height if height >= self.least_height else self.low_row_height
        y = self._rows_top()
        for rank, (token_id, probability) in enumerate(step.best):
            if token_id == step.token.id:
                continue
            if y + row_height > footer_top:
                break
            rect = QRect(pad, y, inner, row_height)
            parts.append(CardPart("alternative", rect, token_id, probability, rank))
            y += row_height
        if footer_top >= self._rows_top():  # a card too low for its links has them in the menu still
            parts += self._links(step, footer_top)
        parts.append(CardPart("card", QRect(0, 0, width, height)))
        return parts

    def _links(self, step: StepRecord, top: int) -> list[CardPart]:
        """The links at the bottom: force what is selected in this card, or choose something to force."""
        metrics = QFontMetrics(self.small_font)
        right = self.width - self.pad
        token = self.state.selection.token
        viewed = step.index == self.state.viewed_step
        if not viewed or token is None or token.side != "vocabulary" or token.index == step.token.id:
            width = metrics.horizontalAdvance("force another…")
            return [CardPart("force_other", QRect(self.pad, top, width + 4, self.small_height))]
        other = metrics.horizontalAdvance("other…")
        force = right - other - 2 * self.pad - self.pad
        return [
            CardPart("force", QRect(self.pad, top, force, self.small_height), token.index),
            CardPart("force_other", QRect(right - other, top, other + 2, self.small_height)),
        ]

    def part_at(self, step: StepRecord, height: int, point: QPoint) -> CardPart:
        """The part under a point of the card."""
        parts = self.parts(step, height)
        return next((part for part in parts if part.rect.contains(point)), parts[-1])

    # -- painting -------------------------------------------------------------------------------

    def paint_frame(
        self, painter: QPainter, rect: QRect, emphasis: Emphasis, *, viewed: bool = False
    ) -> None:
        """Paint a card's outline: thick amber when viewed, thin amber when pointed at."""
        theme = self.theme
        pen = QPen(theme.color("border"), 1)
        fill = theme.color("raised")
        if viewed:
            pen, fill = QPen(theme.color("selection"), 3), theme.color("selection_fill")
        elif emphasis is not Emphasis.NONE:
            pen = QPen(theme.color("selection"), 1.5)
        inset = pen.widthF() / 2
        radius = theme.space(0.8)
        painter.setPen(pen)
        painter.setBrush(fill)
        painter.drawRoundedRect(QRectF(rect).adjusted(inset, inset, -inset, -inset), radius, radius)

    def paint(self, painter: QPainter, rect: QRect, step: StepRecord, *, viewed: bool, links: bool) -> None:
        """Paint the card of ``step`` into ``rect``; ``links`` says whether its links are shown."""
        theme = self.theme
        ref = TokenRef("generated", step.index)
        self.paint_frame(painter, rect, self.state.emphasis(ref), viewed=viewed)
        parts = self.parts(step, rect.height())
        painter.save()
        painter.translate(rect.topLeft())
        header = QRect(self.pad, self.pad, self.width - 2 * self.pad, self.small_height)
        self.write(painter, header, f"step {step.index}", self.small_bold_font, theme.color("muted"))
        self.write(
            painter,
            header,
            f"{step.entropy_bits:.2f} bits",
            self.number_font,
            theme.color("muted"),
            right=True,
        )
        for part in parts:
            if part.kind == "chosen":
                self._paint_chosen(painter, part, step)
            elif part.kind == "alternative":
                self._paint_alternative(painter, part, viewed=viewed)
            elif part.kind != "card" and links:
                self._paint_link(painter, part)
        painter.restore()

    def _paint_chosen(self, painter: QPainter, part: CardPart, step: StepRecord) -> None:
        theme, rect = self.theme, part.rect
        emphasis = self.state.emphasis(TokenRef("generated", step.index))
        self._paint_bar(painter, rect, part.probability, theme.color("generated", 85), theme.color("surface"))
        pen = QPen(theme.color("generated"), 1.5)
        if emphasis is not Emphasis.NONE:
            pen = QPen(theme.color("selection"), 3 if emphasis is Emphasis.SELECTED else 1.5)
        if under_other_settings(step, self.state.sampling):
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        radius = theme.space(0.5)
        painter.drawRoundedRect(QRectF(rect).adjusted(0.75, 0.75, -0.75, -0.75), radius, radius)
        self._paint_token(painter, rect.adjusted(self.pad, 0, -self.pad, 0), part, self.chosen_font)
        # How it was chosen is read in one line under it, before what else could have been.
        line = QRect(rect.left(), rect.bottom() + 1, rect.width(), self.small_height + theme.space(0.3))
        unusual = step.forced or step.rank > 0
        self.write(
            painter,
            line,
            how_chosen(step),
            self.small_bold_font if unusual else self.small_font,
            theme.color("text" if unusual else "muted"),
        )

    def _paint_alternative(self, painter: QPainter, part: CardPart, *, viewed: bool) -> None:
        theme = self.theme
        assert part.token_id is not None
        emphasis = self.state.emphasis_of_id(part.token_id)
        # The same token in other cards, or as one that was not chosen, is an echo: a thin outline.
        picked = viewed and TokenRef("vocabulary", part.token_id) in self.state.selection.refs
        row = part.rect.adjusted(0, 0, 0, -1)
        bar = row.adjusted(self.rank_width, 0, 0, 0)
        self._paint_bar(painter, bar, part.probability, theme.color("before", 170), QColor(0, 0, 0, 0))
        if emphasis is not Emphasis.NONE:
            painter.setPen(QPen(theme.color("selection"), 3 if picked else 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(bar).adjusted(1, 1, -1, -1), 3, 3)
        self.write(painter, row, str(part.rank), self.number_font, theme.color("muted"))
        self._paint_token(painter, bar.adjusted(self.pad, 0, -self.pad, 0), part, self.piece_font)

    def _paint_bar(
        self, painter: QPainter, rect: QRect, probability: float, color: QColor, ground: QColor
    ) -> None:
        painter.fillRect(rect, ground)
        # At least a hair, so that an unlikely token is not mistaken for an impossible one.
        width = max(1.0 if probability > 0 else 0.0, rect.width() * probability)
        painter.fillRect(QRectF(rect.left(), rect.top(), width, rect.height()), color)

    def _paint_token(self, painter: QPainter, rect: QRect, part: CardPart, font: QFont) -> None:
        assert part.token_id is not None
        number = probability_text(part.probability)
        self.write(painter, rect, number, self.number_font, self.theme.color("text"), right=True)
        room = rect.adjusted(0, 0, -(self.number_width + self.theme.space(1)), 0)
        piece = visible_piece(self.state.piece(part.token_id))
        self.write(painter, room, piece, font, self.theme.color("text"))

    def _paint_link(self, painter: QPainter, part: CardPart) -> None:
        text = "force another…" if part.rect.left() == self.pad else "other…"
        if part.kind == "force" and part.token_id is not None:
            text = f"force {visible_piece(self.state.piece(part.token_id))}"
        self.write(painter, part.rect, text, self.small_font, self.theme.color("accent"))

    def write(
        self, painter: QPainter, rect: QRect, text: str, font: QFont, color: QColor, *, right: bool = False
    ) -> None:
        """Write one line of plain text, elided to ``rect``."""
        painter.setFont(font)
        painter.setPen(color)
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        # Unclipped: the underscore of some fonts lies below what they give as their height.
        flags = side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine | Qt.TextFlag.TextDontClip
        elided = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, flags, elided)
