from __future__ import annotations

import dataclasses
import itertools

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QLabel, QPlainTextEdit
from pytestqt.qtbot import QtBot

from explorer.app.state import AppState
from explorer.core.selection import Selection, TokenRef
from explorer.core.tokens import Token, TokenizedText
from explorer.panels.token_panel import TokenPanel, share
from explorer.panels.tokens.source_line import SourceLine
from explorer.panels.tokens.token_strip import Chip, TokenStrip
from explorer.panels.widgets.piece_text import plain_tooltip, probability_text, visible_piece, visible_text
from explorer.theme import Theme
from tests.support import SOURCE, TEXT, fill, make_model, make_run, make_source

HOSTILE = ("<b>bold</b>", "\n", "\t", " ", "", "a" * 200, "שלום", "👩‍👩‍👧", "'\"#&", "\u202eabc")


@pytest.fixture
def panel(qtbot: QtBot, state: AppState, theme: Theme) -> TokenPanel:
    panel = TokenPanel(state, theme)
    qtbot.addWidget(panel)
    panel.resize(620, 260)
    panel.show()
    return panel


def strip(panel: TokenPanel, side: str) -> TokenStrip:
    found = panel.findChild(TokenStrip, f"{side}_chips")
    assert found is not None
    return found


def centre(panel: TokenPanel, ref: TokenRef) -> tuple[TokenStrip, QPoint]:
    chips = strip(panel, "source" if ref.side == "source" else "generated")
    index = chips.index_of(ref)
    assert index is not None
    return chips, chips.chip_rect(index).center()


def click(
    qtbot: QtBot,
    panel: TokenPanel,
    ref: TokenRef,
    modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    chips, point = centre(panel, ref)
    qtbot.mouseClick(chips.viewport(), Qt.MouseButton.LeftButton, modifier, point)


def hover(qtbot: QtBot, panel: TokenPanel, ref: TokenRef) -> None:
    chips, point = centre(panel, ref)
    qtbot.mouseMove(chips.viewport(), point - QPoint(3, 3))
    qtbot.mouseMove(chips.viewport(), point)


def hint(panel: TokenPanel) -> str:
    label = panel._hint.findChild(QLabel)
    assert label is not None
    return label.text() if panel._stack.currentWidget() is panel._hint else ""


def fill_with(state: AppState, pieces: list[str], **cut: object) -> str:
    text = "".join(pieces)
    tokens, start = [], 0
    for token_id, piece in enumerate(pieces):
        tokens.append(Token(token_id, piece, piece, (start, start + len(piece)), False))
        start += len(piece)
    state.set_model(make_model())
    state.set_source_text(text)
    state.set_source(TokenizedText(text, tuple(tokens), **cut))  # type: ignore[arg-type]
    return text


def test_that_chips_show_every_piece_and_id_in_reading_order(panel: TokenPanel, state: AppState) -> None:
    fill(state)
    source = [(chip.piece, chip.below) for chip in strip(panel, "source").chips]
    assert source == [(token.piece, str(token.id)) for token in SOURCE]
    generated = [(chip.piece, chip.below) for chip in strip(panel, "generated").chips]
    assert generated == [
        ("<pad>", "0 · start"),
        ("▁I", "37"),
        ("▁love", "701"),
        ("▁machine", "1911"),
        ("▁learning", "2210"),
        ("?", ""),
    ]


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1.1, 1.35])
def test_that_an_underscore_is_drawn(
    panel: TokenPanel, state: AppState, theme: Theme, scale: float, special: bool
) -> None:
    theme.set_scale(scale)
    state.set_model(make_model())
    state.set_source(TokenizedText("_", (Token(123_456, "_", "_", (0, 1), special),)))
    chips = strip(panel, "source")
    chip = chips.chip_rect(0)
    picture = chips.viewport().grab(chip).toImage()
    middle, top = picture.width() // 2, theme.space(0.5)
    background = picture.pixelColor(middle, top + 1)
    # Down to where the digits of the ID may begin.
    column = [picture.pixelColor(middle, y) for y in range(top + 1, picture.height() // 2 + 2)]
    assert any(pixel != background for pixel in column)


def test_that_special_tokens_are_marked(panel: TokenPanel, state: AppState) -> None:
    fill(state, 6)
    for side in ("source", "generated"):
        special = [chip.piece for chip in strip(panel, side).chips if chip.special]
        assert special == (["</s>"] if side == "source" else ["<pad>", "</s>"])


def test_that_a_retyped_text_shows_its_tokens_at_once_and_dims_the_old_run(
    panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    state.set_source_text("aime.")
    state.set_source(TokenizedText("aime.", (SOURCE[1], SOURCE[5])))
    assert [chip.piece for chip in strip(panel, "source").chips] == ["aime", "."]
    assert strip(panel, "generated")._dimmed
    assert not strip(panel, "source")._dimmed
    state.set_source_text(TEXT)
    assert not strip(panel, "generated")._dimmed


def test_that_a_click_selects_and_a_ctrl_click_makes_a_pair(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    click(qtbot, panel, TokenRef("source", 3))
    assert state.selection == Selection(TokenRef("source", 3))
    click(qtbot, panel, TokenRef("generated", 2), Qt.KeyboardModifier.ControlModifier)
    assert state.selection == Selection(TokenRef("source", 3), TokenRef("generated", 2))
    assert state.viewed_step == 2
    click(qtbot, panel, TokenRef("start", 0))
    assert state.selection == Selection(TokenRef("start", 0))


def test_that_a_click_beside_the_chips_selects_nothing(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    state.select(TokenRef("source", 1))
    viewport = strip(panel, "source").viewport()
    beside = QPoint(viewport.width() - 2, 5)
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=beside)
    assert state.selection == Selection()


def test_that_hovering_a_source_chip_marks_its_characters_in_the_text(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    line = panel.findChild(SourceLine)
    assert line is not None
    assert line.marked_text == ""
    hover(qtbot, panel, TokenRef("source", 2))
    assert state.hover == TokenRef("source", 2)
    assert (line.span, line.marked_text) == ((7, 9), "l'")
    qtbot.mouseMove(strip(panel, "source").viewport(), QPoint(610, 2))
    assert state.hover is None
    assert line.marked_text == ""


def test_that_a_selected_source_token_stays_marked_while_nothing_is_hovered(
    panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    line = panel.findChild(SourceLine)
    assert line is not None
    state.select(TokenRef("source", 3))
    assert line.marked_text == "apprentissage"
    state.select(TokenRef("source", 6))
    assert line.span is None  # no character stands behind </s>


def test_that_the_tooltip_gives_the_character_span(panel: TokenPanel, state: AppState) -> None:
    fill(state)
    text = panel._describe(strip(panel, "source").chips[2])
    assert "characters 7–9: l'" in text
    assert "token ID 191" in text
    assert "special token" in panel._describe(strip(panel, "source").chips[6])
    assert "written by step 3" in panel._describe(strip(panel, "generated").chips[4])


def test_that_arrow_keys_walk_from_source_over_start_to_generated_tokens(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    state.select(TokenRef("source", 6))
    chips = strip(panel, "source")
    qtbot.keyClick(chips, Qt.Key.Key_Right)
    assert state.selection.token == TokenRef("start", 0)
    qtbot.keyClick(chips, Qt.Key.Key_Right)
    assert state.selection.token == TokenRef("generated", 0)
    qtbot.keyClick(chips, Qt.Key.Key_Left)
    qtbot.keyClick(chips, Qt.Key.Key_Left)
    assert state.selection.token == TokenRef("source", 6)
    qtbot.keyClick(chips, Qt.Key.Key_Escape)
    assert state.selection == Selection()


def test_that_the_token_to_come_asks_for_a_step_and_is_gone_at_the_end(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill(state)
    chips = strip(panel, "generated")
    spy = QSignalSpy(state.step_requested)
    qtbot.mouseClick(
        chips.viewport(), Qt.MouseButton.LeftButton, pos=chips.chip_rect(len(chips.chips) - 1).center()
    )
    assert spy.count() == 1
    state.set_run(make_run(6))
    assert all(chip.ref is not None for chip in chips.chips)


def test_that_an_encoder_only_model_awaits_a_mask(panel: TokenPanel, state: AppState) -> None:
    state.set_model(dataclasses.replace(make_model(), family="encoder-only", layers={"encoder": 3}))
    state.set_source(make_source())
    note = panel.findChild(QLabel, "generated_note")
    assert note is not None
    assert strip(panel, "generated").chips == ()
    assert note.text() == "press Step to fill in the first mask"
    text = "the text has no [MASK] to fill in"
    state.set_source_text(TEXT)
    run = dataclasses.replace(make_run(0), family="encoder-only", start_tokens=(), stop_reason=text)
    state.set_run(run)
    assert note.text() == text
    assert strip(panel, "generated").chips == ()


def test_that_the_detokenized_text_grows_with_the_run(panel: TokenPanel, state: AppState) -> None:
    fill(state, 0)
    text = panel.findChild(QPlainTextEdit)
    note = panel.findChild(QLabel, "generated_note")
    assert text is not None
    assert note is not None
    assert "press Step" in note.text()
    seen = []
    for steps in (1, 2, 6):
        state.set_run(make_run(steps))
        seen.append(text.toPlainText())
    assert seen == ["I", "I love", "I love machine learning."]
    assert note.text() == ""


def test_that_a_long_text_takes_smaller_type_and_ends_in_sight(panel: TokenPanel, state: AppState) -> None:
    run = fill(state, 6)
    text = panel.findChild(QPlainTextEdit)
    assert text is not None
    large = text.fontMetrics().height()
    state.set_run(dataclasses.replace(run, text="word " * 20 + "end"))
    assert text.fontMetrics().height() < large
    lines = round(text.height() / text.fontMetrics().lineSpacing())
    assert lines >= 2
    state.set_run(dataclasses.replace(run, text="word " * 900 + "end"))
    bar = text.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0


@pytest.mark.parametrize(
    ("steps", "facts"),
    [
        (0, "7 source · 0 so far · context 7 of 128"),
        (4, "7 source · 4 so far · context 7 of 128"),
        (6, "7 source · 6 generated · context 7 of 128"),
    ],
)
def test_that_the_facts_count_the_source_against_the_encoders_context(
    panel: TokenPanel, state: AppState, steps: int, facts: str
) -> None:
    fill(state, steps)
    assert panel.facts == facts


def test_that_a_decoder_only_model_reads_what_it_wrote(panel: TokenPanel, state: AppState) -> None:
    model = dataclasses.replace(make_model(), family="decoder-only", layers={"decoder": 3})
    state.set_source_text(TEXT)
    state.set_model(model)
    state.set_source(make_source())
    state.set_run(make_run(4, family="decoder-only"))
    assert panel.facts == "7 source · 4 so far · context 11 of 128"
    state.set_model(dataclasses.replace(model, context_length=None))
    state.set_source(make_source())
    assert panel.facts == "7 source"


def test_that_a_text_that_is_too_long_says_how_long_and_what_was_cut(
    panel: TokenPanel, state: AppState
) -> None:
    notice = panel.findChild(QLabel, "cut_notice")
    assert notice is not None
    fill(state)
    assert not notice.isVisible()
    fill_with(state, ["ab "] * 128, cut_tokens=84, cut_text="and this\nwas cut " + "x" * 500)
    assert notice.isVisible()
    assert notice.text().startswith(
        "Text is 212 tokens long; the model reads 128. Cut: “and this↵was cut xxx"
    )
    assert notice.text().endswith("x…”")
    assert notice.height() >= notice.heightForWidth(notice.width())


def test_that_hints_say_what_to_do_when_there_is_nothing(panel: TokenPanel, state: AppState) -> None:
    assert "once a model is loaded" in hint(panel)
    state.set_model(make_model())
    assert hint(panel).startswith("Type a sentence")
    state.set_source(TokenizedText("", ()))
    assert hint(panel).startswith("Type a sentence")
    state.set_source(make_source())
    assert hint(panel) == ""


def test_that_hostile_pieces_are_shown_letter_for_letter_and_never_as_markup(
    qtbot: QtBot, panel: TokenPanel, state: AppState
) -> None:
    fill_with(state, list(HOSTILE) * 3)
    chips = strip(panel, "source").chips
    assert tuple(chip.piece for chip in chips[: len(HOSTILE)]) == HOSTILE
    panel.grab()
    assert [visible_piece(piece) for piece in ("\n", "\t", " ", "", "\u202ea")] == [
        "↵",
        "⇥",
        "␣",
        "(empty)",
        "�a",
    ]
    assert visible_piece("👩‍👩‍👧") == "👩‍👩‍👧"
    assert "&lt;b&gt;bold" in plain_tooltip(panel._describe(chips[0]))
    for ref in range(len(HOSTILE)):
        state.set_hover(TokenRef("source", ref))
        panel.grab()


def test_that_spans_are_found_behind_characters_beyond_the_basic_plane(
    panel: TokenPanel, state: AppState
) -> None:
    text = fill_with(state, ["👩‍👩‍👧", "x", "𝒳", "yz"])
    line = panel.findChild(SourceLine)
    assert line is not None
    for i, piece in enumerate(("👩‍👩‍👧", "x", "𝒳", "yz")):
        state.set_hover(TokenRef("source", i))
        assert line.marked_text == piece
    assert len(visible_text(text + "\n\t\u202e")) == len(text) + 3


def test_that_a_token_selected_elsewhere_comes_into_sight(panel: TokenPanel, state: AppState) -> None:
    fill_with(state, [f"piece{i}" for i in range(2000)])
    chips = strip(panel, "source")
    assert chips.verticalScrollBar().maximum() > 0
    state.select(TokenRef("source", 1999))
    assert chips.viewport().rect().contains(chips.chip_rect(1999))
    state.select(TokenRef("source", 0))
    assert chips.viewport().rect().contains(chips.chip_rect(0))


def test_that_only_chips_in_sight_are_painted(
    panel: TokenPanel, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_with(state, [f"piece{i}" for i in range(2000)])
    painted: list[Chip] = []
    original = TokenStrip._paint_chip

    def count(self: TokenStrip, painter: object, chip: Chip, rect: object) -> None:
        painted.append(chip)
        original(self, painter, chip, rect)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenStrip, "_paint_chip", count)
    strip(panel, "source").verticalScrollBar().setValue(1000)
    panel.grab()
    assert 0 < len(painted) < 100


def test_that_the_newest_token_is_in_sight_after_a_step(panel: TokenPanel, state: AppState) -> None:
    fill(state, 1)
    run = make_run(4)
    many = tuple(dataclasses.replace(run.steps[i % 4], index=i) for i in range(200))
    state.set_run(dataclasses.replace(run, steps=many))
    chips = strip(panel, "generated")
    assert chips.viewport().rect().contains(chips.chip_rect(len(chips.chips) - 1))


@pytest.mark.parametrize("size", [(380, 260), (620, 260), (1200, 800)])
@pytest.mark.parametrize("scale", [1.0, 1.35])
def test_that_nothing_overlaps_or_leaves_the_panel(
    panel: TokenPanel, state: AppState, theme: Theme, size: tuple[int, int], scale: float
) -> None:
    theme.set_scale(scale)
    panel.resize(*size)
    fill_with(state, [f"piece{i}" for i in range(300)], cut_tokens=3, cut_text="and so on")
    state.set_run(make_run(6))
    names = (
        "cut_notice",
        "source_line",
        "source_chips",
        "generated_label",
        "generated_chips",
        "generated_text",
    )
    parts = [child for name in names for child in panel.body.children() if child.objectName() == name]
    boxes = [part.geometry() for part in parts]  # type: ignore[attr-defined]
    assert len(boxes) == len(names)
    for above, below in itertools.pairwise(boxes):
        assert above.bottom() < below.top() + 1
    assert boxes[-1].bottom() <= panel.body.height()
    assert all(box.left() >= 0 and box.right() <= panel.body.width() for box in boxes)


def test_that_a_shortage_of_room_is_shared() -> None:
    assert share((50, 40), 100) == (50, 40)
    assert share((500, 40), 100) == (60, 40)
    assert share((30, 400), 100) == (30, 70)
    assert share((500, 400), 100) == (50, 50)


def test_that_no_probability_is_written_as_a_certain_0_or_1() -> None:
    written = [probability_text(p) for p in (0.0, 1.0, 0.8812, 0.00049, 3.2e-7, 0.9996, 0.9994, 0.0005)]
    assert written == ["0.000", "1.000", "0.881", "5e-4", "3e-7", ">.999", "0.999", "5e-4"]


def test_that_colours_and_sizes_follow_the_theme(panel: TokenPanel, state: AppState, theme: Theme) -> None:
    fill(state)
    small = strip(panel, "source").chip_rect(0).height()
    light = panel.grab().toImage()
    theme.set_scheme("dark")
    assert panel.grab().toImage() != light
    theme.set_scale(1.35)
    assert strip(panel, "source").chip_rect(0).height() > small


def test_that_chips_which_only_grew_stand_where_they_would_anew(
    qtbot: QtBot, state: AppState, theme: Theme
) -> None:
    grown = TokenStrip(state, theme, "grown", lambda chip: "")
    anew = TokenStrip(state, theme, "anew", lambda chip: "")
    chips = [Chip(TokenRef("generated", i), f"piece{'s' * (i % 7)}", str(i * 37)) for i in range(60)]
    for strip in (grown, anew):
        qtbot.addWidget(strip)
        strip.resize(400, 120)
    grown.set_chips(chips[:3])
    for count in (20, 21, 60, 35, 36):
        shown = [*chips[:count], Chip(None, "?", "")]
        if count == 35:
            shown[10] = Chip(TokenRef("generated", 10), "another and wider", "1")
        grown.set_chips(shown)
        grown.height_for(300)
        anew.set_chips([])
        anew.update_theme()
        anew.set_chips(shown)
        assert [grown.chip_rect(i) for i in range(len(shown))] == [
            anew.chip_rect(i) for i in range(len(shown))
        ]
        assert grown.height_for(300) == anew.height_for(300)
