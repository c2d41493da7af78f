"""Text becomes tokens: the source and what was generated, as chips with piece and ID."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent, QTextCursor
from PySide6.QtWidgets import QFrame, QLabel, QPlainTextEdit, QWidget

from explorer.app.state import AppState
from explorer.core.languages import LanguagePair
from explorer.core.records import StepRecord
from explorer.core.selection import TokenRef
from explorer.core.tokens import Token, TokenizedText
from explorer.panels.tokens.language_box import LanguageBox
from explorer.panels.tokens.source_line import SourceLine
from explorer.panels.tokens.token_strip import Chip, TokenStrip
from explorer.panels.widgets.panel import Panel
from explorer.panels.widgets.piece_text import shorten, visible_piece, visible_text
from explorer.theme import SizeName, Theme

_TO_COME = Chip(None, "?", "")
_MOST_TEXT_LINES = 3
_CUT_PREVIEW = 80
_MOST_LARGE = 400


class TokenPanel(Panel):
    """Source tokens, start tokens and generated tokens, and the text that they make so far.

    The source side follows the text as typed; the generated side belongs to the run and dims once
    the text has moved on.
    """

    title = "Tokens"
    object_name = "token_panel"

    def __init__(self, state: AppState, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(state, theme, parent)
        self._cut = self._make_label("cut_notice")
        self._cut.setWordWrap(True)
        self._step_chips: WeakKeyDictionary[StepRecord, Chip] = WeakKeyDictionary()
        self._source_line = SourceLine(theme, self.body)
        self._source_strip = TokenStrip(state, theme, "source_chips", self._describe, self.body)
        self._source_strip.setAccessibleName("Source tokens")
        self._generated_label = self._make_label("generated_label")
        self._generated_label.setText("generated")
        self._generated_note = self._make_label("generated_note")
        self._read_as = LanguageBox(theme, "source_language", self.body)
        self._read_as.setAccessibleName("Language of the source")
        self._written_in = LanguageBox(theme, "target_language", self.body)
        self._written_in.setAccessibleName("Language to write")
        self._generated_strip = TokenStrip(state, theme, "generated_chips", self._describe, self.body)
        self._generated_strip.setAccessibleName("Generated tokens")
        self._text = QPlainTextEdit(self.body)
        self._text.setObjectName("generated_text")
        self._text.setAccessibleName("Generated text")
        self._text.setReadOnly(True)
        self._text.setFrameShape(QFrame.Shape.NoFrame)
        self._text.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._text.document().setDocumentMargin(0)
        self.body.setMinimumSize(theme.space(20), theme.space(20))
        self.body.installEventFilter(self)

        self._read_as.chosen.connect(self._on_source_language_chosen)
        self._written_in.chosen.connect(self._on_target_language_chosen)

        state.languages.pair_changed.connect(self._update_languages)
        state.model_changed.connect(self._update_languages)
        state.model_changed.connect(self._update_source)
        state.model_changed.connect(self._update_generated)
        state.source_changed.connect(self._update_source)
        state.run_changed.connect(self._update_generated)
        state.stale_changed.connect(self._update_stale)
        state.hover_changed.connect(self._update_hover)
        state.selection_changed.connect(self._update_selection)
        self._update_theme()
        self._update_languages()
        self._update_source()
        self._update_generated()
        self._update_stale()

    def _make_label(self, name: str) -> QLabel:
        label = QLabel(self.body)
        label.setObjectName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        return label

    # -- one method per signal --------------------------------------------------------------------

    def _update_source(self) -> None:
        source = self.state.source
        self._source_strip.set_chips(() if source is None else _source_chips(source))
        if self.state.model is None:
            self.show_hint("Tokens appear here once a model is loaded.")
        elif source is None or not source.tokens:
            self.show_hint("Type a sentence: its tokens appear here.")
        else:
            self.show_hint("")
        self._update_cut()
        self._update_source_line()
        self._update_facts()
        self._arrange()

    def _on_source_language_chosen(self, code: str) -> None:
        languages = self.state.languages
        languages.choose(LanguagePair(code, languages.pair.target))

    def _on_target_language_chosen(self, code: str) -> None:
        languages = self.state.languages
        languages.choose(LanguagePair(languages.pair.source, code))

    def _update_languages(self) -> None:
        model, pair = self.state.model, self.state.languages.pair
        codes = self.state.languages.known
        for box in self._boxes:
            box.setVisible(bool(codes))
        if model is not None and codes:
            own = model.own_languages
            self._read_as.show_languages(codes, pair.source, optional=not own.source)
            self._written_in.show_languages(codes, pair.target, optional=not own.target)
            by_itself = f"by itself it reads {own.source}" if own.source else "by itself it is not told any"
            self._read_as.setToolTip(f"The language that {model.name} reads the text as; {by_itself}")
            by_itself = (
                f"by itself it writes {own.target}" if own.target else "not told, its first token decides"
            )
            self._written_in.setToolTip(f"The language that {model.name} writes; {by_itself}")
        self._arrange()

    @property
    def _boxes(self) -> tuple[LanguageBox, LanguageBox]:
        return self._read_as, self._written_in

    def _update_generated(self) -> None:
        run = self.state.run
        chips: list[Chip] = []
        if run is not None:
            chips += [_start_chip(i, token) for i, token in enumerate(run.start_tokens)]
            chips += [self._chip_of(step) for step in run.steps]
        if not run.finished if run is not None else not self._fills_masks:
            chips.append(_TO_COME)
        grew = len(chips) > len(self._generated_strip.chips)
        self._generated_strip.set_chips(chips)
        self._text.setPlainText("" if run is None else run.text)
        self._update_note()
        self._update_facts()
        self._arrange()
        if grew:
            self._generated_strip.ensure_visible(len(chips) - 1)
        self._text.moveCursor(QTextCursor.MoveOperation.End)

    def _chip_of(self, step: StepRecord) -> Chip:
        """A step's chip, the same one for as long as the step lasts: a run grows by one at a time."""
        chip = self._step_chips.get(step)
        if chip is None:
            chip = self._step_chips[step] = _chip(TokenRef("generated", step.index), step.token)
        return chip

    def _update_stale(self) -> None:
        self._generated_strip.set_dimmed(self.state.stale)
        self._update_note()
        self._arrange()

    def _update_hover(self) -> None:
        self._source_strip.repaint_chips()
        self._generated_strip.repaint_chips()
        self._update_source_line()

    def _update_selection(self) -> None:
        self._update_hover()
        if self.state.selection.token is not None:
            latest = self.state.selection.refs[-1]
            for strip in (self._source_strip, self._generated_strip):
                index = strip.index_of(latest)
                if index is not None:
                    strip.ensure_visible(index)

    def _update_theme(self) -> None:
        theme = self.theme
        self._generated_label.setFont(theme.prose("small", bold=True))
        small = f"font-size: {theme.pixels('small')}px;"
        self._generated_label.setStyleSheet(
            f"{small} font-weight: 600; color: {theme.color('generated').name()};"
        )
        self._generated_note.setStyleSheet(f"{small} color: {theme.color('muted').name()};")
        self._cut.setStyleSheet(
            f"{small} color: {theme.color('text').name()}; background: {theme.color('raised').name()};"
            f" border: 1px solid {theme.color('border').name()};"
            f" border-left: {theme.space(0.7)}px solid {theme.color('text').name()};"
            f" padding: {theme.space(0.5)}px {theme.space(1)}px;"
        )
        for box in self._boxes:
            box.update_theme()
        self._source_strip.update_theme()
        self._generated_strip.update_theme()
        self._source_line.update()
        self._update_stale()

    @property
    def _fills_masks(self) -> bool:
        return self.state.model is not None and self.state.model.family == "encoder-only"

    # -- what they share --------------------------------------------------------------------------

    def _update_cut(self) -> None:
        source = self.state.source
        self._cut.setVisible(source is not None and source.cut_tokens > 0)
        if source is not None and source.cut_tokens > 0:
            read = len(source)
            self._cut.setText(
                f"Text is {read + source.cut_tokens:,} tokens long; the model reads {read:,}."
                f" Cut: “{shorten(visible_text(source.cut_text[: _CUT_PREVIEW + 1]).strip(), _CUT_PREVIEW)}”"
            )

    def _update_source_line(self) -> None:
        source = self.state.source
        span = None
        for ref in (self.state.hover, *reversed(self.state.selection.refs)):
            token = self.state.token(ref) if ref is not None and ref.side == "source" else None
            if token is not None:
                span = token.span
                break
        self._source_line.show_text("" if source is None else source.text, span)

    def _update_note(self) -> None:
        run = self.state.run
        note = ""
        if self.state.stale:
            typed = run is None or run.source.text != self.state.source_text
            note = f"of the {'text' if typed else 'languages'} before; Step begins anew"
        elif run is not None and run.finished and not run.steps:
            note = run.stop_reason or ""
        elif run is None or not run.steps:
            what = "fill in the first mask" if self._fills_masks else "write the first token"
            note = f"press Step to {what}"
        self._generated_label.setText("filled in" if self._fills_masks else "generated")
        self._generated_note.setText(note)
        self._arrange()

    def _update_facts(self) -> None:
        source, run, model = self.state.source, self.state.run, self.state.model
        if source is None or model is None:
            self.set_facts("")
            return
        facts = [f"{len(source):,} source"]
        count = 0 if run is None else len(run.steps)
        if run is not None:
            facts.append(f"{count:,} generated" if run.finished else f"{count:,} so far")
        if model.context_length is not None:
            # A decoder-only model reads what it wrote; elsewhere the limit is the encoder's.
            used = len(source) + (count if model.family == "decoder-only" else 0)
            facts.append(f"context {used:,} of {model.context_length:,}")
        self.set_facts(" · ".join(facts))

    def _describe(self, chip: Chip) -> str:
        if chip.ref is None:
            return "The token to come. Click to write it: one decoder step."
        token = self.state.token(chip.ref)
        if token is None:
            return ""
        lines = [shorten(visible_piece(token.piece), 60), f"token ID {token.id}"]
        if token.special:
            lines.append("special token: a mark for the model, not a part of the text")
        if chip.ref.side == "start":
            lines.append("start token: what the decoder is given before its first step")
        elif chip.ref.side == "generated":
            done = "filled in" if self._fills_masks else "written"
            lines.append(f"{done} by step {chip.ref.index}")
        elif token.span is None:
            lines.append("no characters stand behind it: the tokenizer added it")
        else:
            start, end = token.span
            source = self.state.source
            covered = "" if source is None else source.text[start:end]
            lines.append(f"characters {start}–{end}: {shorten(visible_text(covered), 60)}")
            lines.append(f"(counted from 0; {end} is the first one after it)")
        return "\n".join(lines)

    # -- layout -----------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if watched is self.body and isinstance(event, QResizeEvent):
            self._arrange()
        return super().eventFilter(watched, event)

    def _arrange(self) -> None:
        """Give each part what it needs, and the two strips their share of what is left.

        By hand, because no layout of Qt shares a shortage between two parts that both can scroll.
        """
        gap, left = self.theme.space(0.5), self.theme.space(1.5)
        width = max(1, self.body.width() - 2 * left)
        y = gap
        if self.state.source is not None and self.state.source.cut_tokens > 0:
            height = self._cut.heightForWidth(width)
            self._cut.setGeometry(left, y, width, height)
            y += height + gap
        line_height = self._source_line.sizeHint().height()
        told = bool(self.state.languages.known)
        if told:
            line_height = max(line_height, self._read_as.sizeHint().height())
        self._source_line.setGeometry(left, y, width, line_height)
        self._source_line.set_room(
            self._place_box(self._read_as, left + self._source_line.name_width, y, line_height) if told else 0
        )
        y += line_height

        needs = self._source_strip.height_for(width + 4), self._generated_strip.height_for(width + 4)
        spare = self.body.height() - (y + line_height + 3 * gap) - sum(needs)
        text_height = self._text_height(width, spare)
        fixed = y + gap + line_height + gap + text_height + gap
        source_height, generated_height = share(needs, max(0, self.body.height() - fixed))

        # The strips' own edge lies in the margin, so that chips and labels line up.
        self._source_strip.setGeometry(left - 2, y, width + 4, source_height)
        y += source_height + gap
        label_width = self._generated_label.sizeHint().width()
        self._generated_label.setGeometry(left, y, label_width, line_height)
        note_left = left + label_width + self.theme.space(2)
        if told:
            note_left += self._place_box(self._written_in, left + label_width, y, line_height)
        self._generated_note.setGeometry(note_left, y, max(0, left + width - note_left), line_height)
        y += line_height
        self._generated_strip.setGeometry(left - 2, y, width + 4, generated_height)
        y += generated_height + gap
        self._text.setGeometry(left, y, width, text_height)

    def _place_box(self, box: LanguageBox, left: int, y: int, line_height: int) -> int:
        """Put ``box`` into the heading that begins at ``y``, behind its name; return the room it takes."""
        gap, size = self.theme.space(1), box.sizeHint()
        width = max(0, min(size.width(), self.body.width() - left - 2 * gap))
        box.setGeometry(left + gap, y + (line_height - size.height()) // 2, width, size.height())
        return gap + width

    def _text_height(self, width: int, spare: int) -> int:
        """Style the detokenized text, large while one line fits into ``spare`` pixels; return its height."""
        text = self._text.toPlainText()
        size: SizeName = "large"
        # A text of more characters than these fits on no line.
        large = QFontMetrics(self.theme.prose("large", bold=True))
        wide = len(text) > _MOST_LARGE or large.horizontalAdvance(text) > width - self.theme.space(2)
        if wide or large.lineSpacing() > spare:
            size = "title"
        color = self.theme.color("faint" if self.state.stale else "text").name()
        style = (
            "QPlainTextEdit { background: transparent; border: none; padding: 0;"
            f" color: {color}; font-size: {self.theme.pixels(size)}px; font-weight: 600; }}"
        )
        if style != self._text.styleSheet():
            self._text.setStyleSheet(style)
            self._text.ensurePolished()
        line = QFontMetrics(self._text.font()).lineSpacing()
        self._text.setFixedWidth(width)
        # For a plain text document, its height is counted in lines.
        lines = max(1, round(self._text.document().size().height()))
        most = max(1, min(_MOST_TEXT_LINES, round(0.3 * self.body.height()) // line))
        return min(lines, most) * line + self.theme.space(0.5)


def share(needs: tuple[int, int], room: int) -> tuple[int, int]:
    """Divide ``room`` between two parts: as needed if it suffices, else no part starves the other."""
    first, second = needs
    if first + second <= room:
        return needs
    half = room // 2
    if first <= half:
        return first, room - first
    if second <= half:
        return room - second, second
    return half, room - half


def _source_chips(source: TokenizedText) -> list[Chip]:
    return [_chip(TokenRef("source", i), token) for i, token in enumerate(source.tokens)]


def _chip(ref: TokenRef, token: Token) -> Chip:
    return Chip(ref, token.piece, str(token.id), token.special)


def _start_chip(index: int, token: Token) -> Chip:
    return Chip(TokenRef("start", index), token.piece, f"{token.id} · start", token.special)
