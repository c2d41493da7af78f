"""The part of the shared state that is about the run's branches and what is inside its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from explorer.core.beams import BeamSearch
from explorer.core.inside import InsideReading
from explorer.core.moments import Moment
from explorer.core.records import RunSnapshot
from explorer.core.run_comparison import KeptRun
from explorer.core.stopping import BY_CHECKPOINT, Stopping


@dataclass(frozen=True, slots=True)
class Outcome:
    """What only the model can tell of a branch.

    Attributes
    ----------
    text : str
        Its text; empty while it has not been on show yet.
    stop_reason : str or None
        Why it has ended there.
    """

    text: str = ""
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a run is played.

    Attributes
    ----------
    name : str
        As it is chosen by.
    steps_per_second : float or None
        None is as fast as the model goes; 0 takes as long as its moments take.
    moment_ms : int or None
        How long each moment inside a step is stood at; 0 shares the step's time among them, None
        walks no moments.
    """

    name: str
    steps_per_second: float | None
    moment_ms: int | None = None


SPEEDS = (
    Speed("layer by layer", 0.0, 800),
    Speed("0.5 steps/s", 0.5, 0),
    Speed("1 step/s", 1.0),
    Speed("2 steps/s", 2.0),
    Speed("4 steps/s", 4.0),
    Speed("fastest", None),
)


class GenerationState(QObject):
    """Held by `AppState` as ``generation``; the same rules: set on the GUI thread, one signal per field."""

    watched_changed = Signal()
    inside_changed = Signal()
    inside_problem_changed = Signal()
    beams_changed = Signal()
    kept_changed = Signal()
    stopping_changed = Signal()
    moment_changed = Signal()
    playing_changed = Signal()
    speed_changed = Signal()

    moment_move_requested = Signal(int)
    """So many moments on inside the step, or back; past its end to the next step on show."""
    node_requested = Signal(int, int)
    """A node of the run's tree was clicked: show its step, on the branch that ends in the second node."""
    name_requested = Signal(int, str)
    """A branch was named, by the first node that is only its own; an empty name takes the name away."""
    beams_requested = Signal(int)
    """A beam search of this width is wanted."""
    beams_cancelled = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._watched = False
        self._inside: InsideReading | None = None
        self._inside_problem = ""
        self._beams: BeamSearch | None = None
        self._kept: KeptRun | None = None
        self._stopping = BY_CHECKPOINT
        self._moment: Moment | None = None
        self._playing = False
        self._speed = SPEEDS[2]
        self._run_id: int | None = None
        self._outcomes: dict[int, Outcome] = {}

    def remember(self, run: RunSnapshot) -> None:
        """A run is on show: its branch can be shown again at once, text and all."""
        if run.run_id != self._run_id:
            self._run_id, self._outcomes = run.run_id, {}
        self._outcomes[run.tree.current] = Outcome(run.text, run.stop_reason)

    def outcome_at(self, node: int) -> Outcome:
        """What is known of the branch that ends in a node of the run on show."""
        return self._outcomes.get(node, Outcome())

    def clear(self) -> None:
        """Another model: nothing that was read from the one before holds."""
        self.set_playing(False)
        self.set_moment(None)
        self.set_inside(None)
        self.set_inside_problem("")
        self.set_beams(None)

    @property
    def watched(self) -> bool:
        """Whether a view of the inside of steps is in sight: only then is it read."""
        return self._watched

    def set_watched(self, watched: bool) -> None:
        """Such a view was opened or closed."""
        self._set("watched", watched)

    @property
    def inside_problem(self) -> str:
        """Why the inside of the steps cannot be shown, in one sentence; empty while it can."""
        return self._inside_problem

    def set_inside_problem(self, problem: str) -> None:
        """The steps could not be looked into."""
        self._set("inside_problem", problem)

    @property
    def inside(self) -> InsideReading | None:
        """The inside of the steps on show; its ``run_id`` and ``nodes`` say of which."""
        return self._inside

    def set_inside(self, inside: InsideReading | None) -> None:
        """The steps were looked into."""
        self._set("inside", inside)

    @property
    def beams(self) -> BeamSearch | None:
        """The last beam search; its ``run_id`` says in which run's tree its nodes are."""
        return self._beams

    def set_beams(self, beams: BeamSearch | None) -> None:
        """A beam search ended."""
        self._set("beams", beams)

    @property
    def kept(self) -> KeptRun | None:
        """A run that a person keeps beside the one on show, whatever model comes; None when there is none."""
        return self._kept

    def set_kept(self, kept: KeptRun | None) -> None:
        """Keep a run for comparison, or with None let it go."""
        self._set("kept", kept)

    @property
    def stopping(self) -> Stopping:
        """When runs end, besides at the end-of-sequence token."""
        return self._stopping

    def set_stopping(self, stopping: Stopping) -> None:
        """End runs at other conditions."""
        self._set("stopping", stopping)

    @property
    def moment(self) -> Moment | None:
        """Where inside the viewed step a person stands; None while the step is seen as a whole."""
        return self._moment

    def set_moment(self, moment: Moment | None) -> None:
        """Stand at a moment of the viewed step, or with None step out of it."""
        self._set("moment", moment)

    @property
    def playing(self) -> bool:
        """Whether the run is being played."""
        return self._playing

    def set_playing(self, playing: bool) -> None:
        """Play, or pause."""
        self._set("playing", playing)

    @property
    def speed(self) -> Speed:
        """How fast it is played."""
        return self._speed

    def set_speed(self, speed: Speed) -> None:
        """Play at another speed."""
        self._set("speed", speed)

    def _set(self, name: str, value: Any) -> None:
        # Big values compare by identity, so that no array is ever compared.
        if getattr(self, f"_{name}") == value:
            return
        setattr(self, f"_{name}", value)
        getattr(self, f"{name}_changed").emit()
