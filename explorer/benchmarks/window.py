"""What the window itself costs: from a change of the state to the painted panel, on the GUI thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QWidget

from explorer.app.controller import Controller, ModelOptions
from explorer.app.settings import Settings
from explorer.app.state import AppState
from explorer.benchmarks import values
from explorer.benchmarks.figures import Figure, Plan, Skip, Target
from explorer.core.branch_lanes import run_at
from explorer.core.head_measures import TO_FIRST
from explorer.core.sampling import SamplingParams
from explorer.core.tokens import TokenizedText
from explorer.main_window import MainWindow
from explorer.panels.attention_panel import AttentionPanel
from explorer.panels.embedding.gl_canvas import GLCanvas, probe_opengl
from explorer.panels.embedding.raster_canvas import RasterCanvas
from explorer.panels.embedding.scatter3d import Scatter3D
from explorer.panels.embedding.scatter_overlay import ScatterOverlay
from explorer.panels.generation_panel import GenerationPanel
from explorer.panels.softmax_panel import SoftmaxPanel
from explorer.panels.widgets.panel import Panel
from explorer.theme import Theme

FRAME_MS = 16.0
VOCABULARIES = (32_000, 128_256, 262_144)
STEPS = 48
PROMPT = 12
POINTS = 262_144
# A way that visits every step before it comes to one again: at the largest vocabulary, not all rankings
# are kept so long.
FAR = 30
LONG_RUN = 1000
BRANCHES = 20


def measure(plan: Plan) -> Iterator[Figure | Skip]:
    """Slider moves, going from step to step, the overview while stepping, and turning the cloud."""
    theme = Theme(plan.app, scheme="light")
    for vocabulary in VOCABULARIES[:1] if plan.quick else VOCABULARIES:
        yield from _sliders(plan, theme, vocabulary)
        yield from _steps(plan, theme, vocabulary, STEPS)
    yield from _steps(plan, theme, 8_000, 100 if plan.quick else LONG_RUN)
    yield from _branches(plan, theme, 100 if plan.quick else LONG_RUN)
    yield _overview(plan, theme)
    yield _overview(plan, theme, found=True)
    yield from _cloud(plan, theme)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What something took on the GUI thread, in milliseconds: computing, and on the clock."""

    computing: list[float]
    elapsed: list[float]


def _spent(work: Callable[[int], object], count: int) -> _Spent:
    """Call ``work`` with 0 to warm caches, fonts and layouts, then with 1 to ``count``."""
    work(0)
    spent = _Spent([], [])
    for i in range(1, count + 1):
        started, on_the_clock = time.thread_time(), time.perf_counter()
        work(i)
        spent.computing.append((time.thread_time() - started) * 1e3)
        spent.elapsed.append((time.perf_counter() - on_the_clock) * 1e3)
    return spent


def _percentile(name: str, spent: _Spent, target: float | None = FRAME_MS) -> Figure:
    """The 95th percentile of what the GUI thread computed; other programs cannot add to that."""
    return Figure(
        "window",
        f"{name}, 95th percentile",
        "cpu",
        float(np.percentile(spent.computing, 95)),
        others={"the same on the clock": float(np.percentile(spent.elapsed, 95))},
        target=None if target is None else Target(target),
    )


def _sliders(plan: Plan, theme: Theme, vocabulary: int) -> Iterator[Figure]:
    state = AppState()
    panel = _shown(SoftmaxPanel(state, theme), 900, 420)
    values.fill(state, vocabulary, PROMPT, 2)
    moves: dict[str, Callable[[int], SamplingParams]] = {
        "temperature, nothing cut,": lambda i: SamplingParams(0.5 + 0.01 * i),
        "temperature": lambda i: SamplingParams(0.5 + 0.01 * i, 50, 0.9),
        "top-k": lambda i: SamplingParams(0.8, 20 + i, 0.9),
        "top-p": lambda i: SamplingParams(0.8, None, 0.9 - 0.005 * i),
        "min-p": lambda i: SamplingParams(0.8, min_p=0.001 * (i + 1)),
        "typical-p": lambda i: SamplingParams(0.8, typical_p=0.9 - 0.005 * i),
        "repetition penalty": lambda i: SamplingParams(0.8, repetition_penalty=1.01 + 0.01 * i),
    }
    for slider, params in moves.items():

        def move(i: int, params: Callable[[int], SamplingParams] = params) -> None:
            state.set_sampling(params(i))
            panel.grab()

        yield _percentile(
            f"{slider} slider, from change to painted panel, {vocabulary:,} tokens",
            _spent(move, 10 * plan.rounds),
        )


def _steps(plan: Plan, theme: Theme, vocabulary: int, steps: int) -> Iterator[Figure]:
    """Go from step to step in the whole window: every panel follows, and all that changed is painted."""
    state, window = _window(plan, theme, vocabulary, steps)

    def go(step: int) -> None:
        state.set_viewed_step(step)
        plan.app.processEvents()

    of = f"{steps:,} steps, {vocabulary:,} tokens, whole window painted"
    yield _percentile(
        f"back and forward among the last of {of}", _spent(lambda i: go(steps - 1 - i % 2), 5 * plan.rounds)
    )
    yield _percentile(
        f"to and fro over all of {of}", _spent(lambda i: go(i * FAR % (steps - 1)), 5 * plan.rounds)
    )
    source = state.source
    assert isinstance(source, TokenizedText)
    count = 5 * plan.rounds
    longer = values.run_of(source, vocabulary, steps + count + 1)

    def add(i: int) -> None:
        state.set_run(replace(longer, steps=longer.steps[: steps + 1 + i]))
        plan.app.processEvents()

    yield _percentile(f"a step added, every token another, to {of}", _spent(add, count))
    window.close()
    window.deleteLater()
    state.deleteLater()


def _window(plan: Plan, theme: Theme, vocabulary: int, steps: int) -> tuple[AppState, MainWindow]:
    """The whole window with a made-up run on show."""
    state = AppState()
    controller = Controller(state, ModelOptions())
    window = MainWindow(state, controller, theme, Settings(), None, ())
    window.show()
    window.resize(1366, 768)
    window.reset_layout()
    values.fill(state, vocabulary, PROMPT, steps)
    run, head = state.run, state.head
    assert run is not None
    assert head is not None
    state.set_attention(values.map_of(run, head))
    state.set_overview(values.overview_of(run, 64))
    for _ in range(3):
        plan.app.processEvents()
    return state, window


def _branches(plan: Plan, theme: Theme, steps: int) -> Iterator[Figure]:
    """Go to other branches in the whole window with the tree open, as a click does, and grow the tree."""
    state, window = _window(plan, theme, 8_000, steps)
    panel = window.panels["generation"]
    assert isinstance(panel, GenerationPanel)
    panel.show_view("tree")
    assert state.run is not None
    run = values.branched(state.run, BRANCHES)
    ends = run.tree.ends
    state.set_run(run)
    plan.app.processEvents()

    def go(i: int) -> None:
        end = ends[i % len(ends)]
        state.set_run(run_at(run, end), viewed=i * FAR % len(run.tree.path(end)))
        plan.app.processEvents()

    def grow(i: int) -> None:
        state.set_run(run_at(run, run.nodes[-2 - i % 2]))
        plan.app.processEvents()

    of = f"among {len(ends)} branches of a tree of {len(run.tree.nodes):,} steps, whole window painted"
    yield _percentile(f"to another branch's step {of}", _spent(go, 5 * plan.rounds))
    yield _percentile(f"one step on or back {of}", _spent(grow, 5 * plan.rounds))
    window.close()
    window.deleteLater()
    state.deleteLater()


def _overview(plan: Plan, theme: Theme, *, found: bool = False) -> Figure:
    """A step is added and its thumbnails arrive: the panel follows and is painted.

    With ``found`` its heads are ordered by one measure and filtered by another.
    """
    state = AppState()
    attention = AttentionPanel(state, theme)
    panel = _shown(attention, 800, 600)
    if found:
        attention.chooser.set_filtering(True)
        attention.chooser.set_order(TO_FIRST.name)
    values.fill(state, 8000, 240, 1)
    source = state.source
    assert isinstance(source, TokenizedText)
    runs = [values.run_of(source, 8000, steps) for steps in range(2, 4 + 2 * plan.rounds)]
    overviews = [values.overview_of(run, 64) for run in runs[:2]]
    head = state.head
    assert head is not None
    maps = [values.map_of(run, head) for run in runs]

    def step(i: int) -> None:
        state.set_run(runs[i])
        state.set_attention(maps[i])
        state.set_overview(overviews[i % 2])
        panel.grab()

    how = ", ordered and filtered" if found else ""
    return _percentile(
        f"overview of {values.LAYERS} x {values.HEADS} heads{how} and one map of 256 tokens, while stepping",
        _spent(step, len(runs) - 1),
    )


def _cloud(plan: Plan, theme: Theme) -> Iterator[Figure | Skip]:
    """Turn the wheel over the cloud: what the panel does for a frame, and what drawing it takes."""
    missing = probe_opengl()
    name = f"a frame of {POINTS:,} points"
    if missing is not None:
        yield Skip("window", f"{name}, with OpenGL", missing)
    for opengl in (False,) if missing else (True, False):
        host = QWidget()
        host.resize(1200, 800)
        scatter = Scatter3D(theme, host, opengl=opengl)
        scatter.resize(host.size())
        cloud = values.cloud_of(POINTS)
        scatter.set_scene(cloud.coordinates, cloud.origin, ("PC 1", "PC 2", "PC 3"))
        scatter.set_colors(np.full((POINTS, 4), 0.5, dtype=np.float32))
        host.show()
        plan.app.processEvents()
        overlay = scatter.findChild(ScatterOverlay)
        canvas = scatter.findChild(GLCanvas if opengl else RasterCanvas)
        assert isinstance(overlay, QWidget)
        assert isinstance(canvas, GLCanvas | RasterCanvas)

        def own(index: int, scatter: Scatter3D = scatter, overlay: QWidget = overlay) -> None:
            _turn(plan, scatter, overlay, index)

        def whole(index: int, canvas: GLCanvas | RasterCanvas = canvas) -> None:
            own(index)
            # Each frame is looked at from elsewhere, else nothing would be drawn anew.
            canvas.grabFramebuffer() if isinstance(canvas, GLCanvas) else canvas.grab()

        how = "with OpenGL" if opengl else "without OpenGL"
        frames = 5 * plan.rounds
        yield _percentile(f"{name}, {how}: camera and labels, all but the points", _spent(own, frames), 4.0)
        yield _percentile(f"{name}, {how}: all of it, fewer points while moving", _spent(whole, frames), None)
        picked = _picks(plan, scatter)
        yield _percentile(f"hover pick among {POINTS:,} points, {how}, camera at rest", picked, 8.0)
        host.close()
        host.deleteLater()


def _turn(plan: Plan, scatter: Scatter3D, overlay: QWidget, index: int) -> None:
    place = QPointF(600.0, 400.0)
    notch = QPoint(0, 120 if index % 2 else -120)
    wheel = QWheelEvent(
        place,
        place,
        QPoint(),
        notch,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    plan.app.sendEvent(scatter, wheel)
    overlay.grab()


def _picks(plan: Plan, scatter: Scatter3D) -> _Spent:
    places = np.random.default_rng(0).uniform((0.0, 0.0), (1200.0, 800.0), (10 * plan.rounds + 1, 2))
    return _spent(lambda i: scatter.point_at(QPointF(*places[i].tolist())), 10 * plan.rounds)


def _shown(panel: Panel, width: int, height: int) -> QWidget:
    """Put the panel into a window of that size, as a dock would."""
    host = QWidget()
    panel.setParent(host)
    panel.setGeometry(0, 0, width, height)
    host.resize(width, height)
    host.show()
    return host
