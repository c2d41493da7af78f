from __future__ import annotations

import dataclasses
import itertools

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from explorer.app.state import Activity, AppState
from explorer.core.moments import Moment
from explorer.core.records import ModelInfo
from explorer.panels.bars.pipeline_strip import PipelineStrip, stages_of
from explorer.theme import Theme
from tests.support import TEXT, fill, make_model, make_run, make_source


@pytest.fixture
def strip(qtbot: QtBot, state: AppState, theme: Theme) -> PipelineStrip:
    strip = PipelineStrip(state, theme)
    qtbot.addWidget(strip)
    strip.resize(1340, strip.sizeHint().height())
    strip.show()
    return strip


def decoder_only(layers: int = 3) -> ModelInfo:
    return dataclasses.replace(make_model(), family="decoder-only", layers={"decoder": layers})


def labels(strip: PipelineStrip) -> list[str]:
    return list(strip._labels)


def test_that_an_encoder_decoder_shows_its_stages_at_full_length(
    strip: PipelineStrip, state: AppState
) -> None:
    fill(state)
    assert labels(strip) == [
        "Tokenize",
        "Embed + position",
        "Encoder 0",
        "1",
        "2",
        "Start token",
        "Decoder 0",
        "1",
        "2",
        "Logits",
        "Softmax",
        "Choose",
        "Feed back",
        "Detokenize",
    ]


def test_that_a_decoder_only_model_shows_no_encoder_and_no_start_token() -> None:
    names = [stage.name for stage in stages_of(decoder_only(1))]
    assert names == ["tokenize", "embed", "decoder", "logits", "softmax", "choose", "feed", "detokenize"]


def test_that_an_encoder_only_model_shows_no_loop() -> None:
    model = dataclasses.replace(make_model(), family="encoder-only", layers={"encoder": 2})
    names = [stage.name for stage in stages_of(model)]
    assert names == [
        "tokenize",
        "embed",
        "encoder",
        "encoder",
        "logits",
        "softmax",
        "choose",
        "feed",
        "detokenize",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, ["Decoder 0"]), (8, ["Decoder 0", *"1234567"]), (24, ["Decoder 0", "…", "23"])],
)
def test_that_many_layers_are_abbreviated(count: int, shown: list[str]) -> None:
    stages = stages_of(decoder_only(count))
    assert [stage.label for stage in stages if stage.name == "decoder"] == shown


def test_that_the_moment_follows_what_is_on_show(strip: PipelineStrip, state: AppState) -> None:
    assert strip.moment is None
    state.set_model(make_model())
    assert strip.moment is None
    state.set_source_text(TEXT)
    state.set_source(make_source())
    assert strip.moment == Moment("tokenize")
    state.set_run(make_run(0))
    assert strip.moment == Moment("start")
    state.set_run(make_run(2))
    assert strip.moment == Moment("choose")
    state.set_run(make_run(6))
    assert strip.moment == Moment("detokenize")
    state.set_viewed_step(1)
    assert strip.moment == Moment("choose")
    state.set_source_text("another text")
    assert strip.moment == Moment("tokenize")


def test_that_a_prompt_waits_at_its_tokens_until_the_first_step(
    strip: PipelineStrip, state: AppState
) -> None:
    state.set_model(decoder_only())
    state.set_source_text(TEXT)
    state.set_source(make_source())
    state.set_run(make_run(0, family="decoder-only"))
    assert strip.moment == Moment("tokenize")


def test_that_a_busy_worker_does_not_move_the_moment(strip: PipelineStrip, state: AppState) -> None:
    fill(state)
    before = strip.grab().toImage()
    state.set_activity(Activity("Stepping …"))
    assert strip.moment == Moment("choose")
    assert strip.grab().toImage() == before


def test_that_exactly_the_current_pill_is_highlighted(strip: PipelineStrip, state: AppState) -> None:
    fill(state)
    assert strip.current_index is not None
    assert labels(strip)[strip.current_index] == "Choose"
    assert strip.accessibleDescription() == "now: Choose"


@pytest.mark.parametrize("width", [1340, 1000, 800, 600, 400])
@pytest.mark.parametrize("scale", [1.0, 1.35])
@pytest.mark.parametrize("layers", [3, 8, 24])
def test_that_the_pills_stay_apart_and_inside_at_any_width(
    strip: PipelineStrip, state: AppState, theme: Theme, width: int, scale: float, layers: int
) -> None:
    theme.set_scale(scale)
    strip.resize(width, strip.sizeHint().height())
    state.set_model(
        dataclasses.replace(make_model(), layers={"encoder": layers, "decoder": layers, "cross": layers})
    )
    rects = [strip.stage_rect(i) for i in range(len(strip.stages))]
    assert rects[0].left() >= 0
    assert rects[-1].right() < width
    assert rects[0].bottom() < strip.height()
    for left, right in itertools.pairwise(rects):
        assert left.right() < right.left()


def test_that_every_stage_explains_itself_in_one_sentence(strip: PipelineStrip, state: AppState) -> None:
    fill(state)
    for i in range(len(strip.stages)):
        text = strip.explanation_at(strip.stage_rect(i).center())
        assert text.endswith(".")
        assert ". " not in text
    assert "8,000 tokens" in strip.explanation_at(strip.stage_rect(9).center())
    assert strip.explanation_at(QPoint(strip.width() - 1, 1)) == ""


def test_that_a_click_stands_at_a_moment_of_the_viewed_step_and_a_second_leaves_it(
    qtbot: QtBot, strip: PipelineStrip, state: AppState
) -> None:
    fill(state)
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(7).center())
    assert state.generation.moment == Moment("decoder", 1)
    assert strip.current_index == 7
    assert strip.accessibleDescription() == "now: 1"
    assert state.viewed_step == 3
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(7).center())
    assert state.generation.moment is None
    # What happened once can be looked at from any step.
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(4).center())
    assert state.generation.moment == Moment("encoder", 2)
    # This run has not ended: there is no such moment in its last step yet.
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.stage_rect(13).center())
    assert state.generation.moment == Moment("encoder", 2)


def test_that_a_layer_behind_the_dots_is_named_when_it_is_stood_at(
    qtbot: QtBot, strip: PipelineStrip, state: AppState
) -> None:
    fill(state)
    state.set_model(decoder_only(24))
    state.set_source(make_source())
    state.set_run(make_run(3, family="decoder-only"))
    state.generation.set_moment(Moment("decoder", 17))
    assert strip.current_index is not None
    assert strip.label_of(strip.current_index) == "17"
    assert strip.stages[strip.current_index].label == "…"
    strip.resize(420, strip.height())
    assert strip.stages[strip.current_index].name == "decoder"
    strip.grab()
