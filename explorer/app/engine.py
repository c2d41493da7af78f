"""The worker's side: the loaded model and the run in progress. Never touched from the GUI thread.

torch and transformers are imported by the first task that needs them, so that the window is up
before.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.app.errors import is_lack_of_memory
from explorer.core.beams import BeamSearch
from explorer.core.inside import InsideReading
from explorer.core.languages import NO_LANGUAGES, LanguagePair
from explorer.core.model_facts import LoadRequest, MemoryReading
from explorer.core.positions import PositionEncoding
from explorer.core.records import (
    AttentionMap,
    AttentionOverview,
    CellReading,
    ModelInfo,
    PairReading,
    RunSnapshot,
    TokenCloud,
)
from explorer.core.sampling import SamplingParams
from explorer.core.selection import AttentionKind, AttentionSummary, HeadRef, Place, Pooling
from explorer.core.stopping import BY_CHECKPOINT, Stopping
from explorer.core.temperature_grid import GridRow
from explorer.core.tokens import TokenizedText
from explorer.core.vectors import Arithmetic, CosineMatrix, Neighbourhood, TokenPath, VectorMode

if TYPE_CHECKING:
    from pathlib import Path

    from explorer.app.attention_files import AllFormat
    from explorer.app.worker import Task
    from explorer.model.language_model import LanguageModel
    from explorer.model.run import Run

# While a run goes on to its end, the window hears of it this often.
UPDATE_SECONDS = 0.05
LONGEST_SLICE_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class RunUpdate:
    """A run as it now stands, with the attention that is on show."""

    run: RunSnapshot
    attention: AttentionMap | None
    overview: AttentionOverview | None


class Engine:
    """Model work, one method per kind of task; every method is called on the worker's thread."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lm: LanguageModel | None = None
        self._run: Run | None = None
        self._pooling: Pooling = "max"
        self._run_id = 0
        self._shown_seconds = 0.0
        # The row of a temperature grid that is being generated: of which grid and settings, and its spans.
        self._row: tuple[tuple[int, SamplingParams], Run, list[tuple[str, str]]] | None = None

    def load(self, request: LoadRequest, task: Task) -> ModelInfo:
        """Load a model; unless it is to be unloaded first, the one before stays in force when this fails."""
        task.report("Importing torch and transformers …")
        import torch

        from explorer.model import language_model
        from explorer.model.errors import CancelledError

        torch.set_num_threads(self._threads)
        if not gc.get_freeze_count():
            # What was imported stays. Searching its 350,000 objects for garbage would hold up the window for
            # a seventh of a second, now and then and whenever a model is unloaded. No model is there yet.
            gc.freeze()
        if request.unload_first:
            self._unload()
        task.report(f"Loading {request.name} …")
        lm = language_model.load(
            request.name,
            device=request.device,
            dtype=request.dtype,
            allow_pickle=request.allow_pickle,
        )
        if task.cancelled.is_set():
            # The window would not hear of it, and the one before stands on its screen.
            lm.unload()
            raise CancelledError
        self._unload()
        self._lm = lm
        return lm.info

    def _unload(self) -> None:
        """Give back the run and the model in force, if there is one."""
        self._run = self._row = None
        if self._lm is not None:
            self._lm.unload()
            self._lm = None

    def memory(self) -> MemoryReading | None:
        """What the model and its run occupy; None without a model."""
        from explorer.model.memory import read_memory

        return None if self._lm is None else read_memory(self._lm, self._run)

    def recover(self, error: BaseException) -> BaseException:
        """After a lack of memory: free what the pass left behind, and say what was lacking.

        The run stands where it stood before the step that failed.
        """
        if self._lm is None or not is_lack_of_memory(error):
            return error
        from explorer.model.memory import lack_of_memory

        return lack_of_memory(self._lm, error, run_stands=self._run is not None)

    def tokenize(self, text: str, language: str = "") -> TokenizedText:
        """Tokenize the typed text, read as ``language``; empty is what the checkpoint sets."""
        return self._model().tokenize(text, language or None)

    def cloud(self) -> TokenCloud:
        """Exact principal components of the whole vocabulary."""
        return self._model().embedding_space().cloud()

    def pair(self, first: int, second: int, mode: VectorMode = "raw") -> PairReading:
        """Compare two tokens in the full space."""
        return self._model().embedding_space().pair(first, second, mode)

    def neighbourhood(self, token_id: int) -> Neighbourhood:
        """What lies around a token in the full space."""
        return self._model().embedding_space().neighbourhood(token_id)

    def arithmetic(self, expression: str) -> Arithmetic:
        """A sum of token vectors, and what lies near it."""
        return self._model().embedding_space().arithmetic(expression)

    def cosine_matrix(self, ids: tuple[int, ...]) -> CosineMatrix:
        """Many tokens compared in the full space."""
        return CosineMatrix(ids, self._model().embedding_space().cosine_matrix(ids))

    def positions(self) -> tuple[PositionEncoding, ...]:
        """The position encodings that the model has."""
        return self._model().positions()

    def token_path(self) -> TokenPath | None:
        """The sentence's vectors after every layer of the current run."""
        from explorer.model.token_path import read_path

        return None if self._run is None else read_path(self._run, self._run_id)

    def begin(
        self,
        run_id: int,
        text: str,
        params: SamplingParams,
        head: HeadRef | None,
        task: Task,
        stopping: Stopping = BY_CHECKPOINT,
        languages: LanguagePair = NO_LANGUAGES,
    ) -> RunUpdate:
        """Encode ``text`` and stand before the first step; what ``languages`` leaves empty is not told."""
        lm = self._model()
        lm.recorder.cancel = task.cancelled
        self._run = None
        run = _generate(lm, text, params, languages)
        if stopping != BY_CHECKPOINT:
            run.stop_when(stopping)
        self._run, self._run_id = run, run_id
        return self._update(head)

    def stop_when(self, stopping: Stopping) -> RunUpdate:
        """End the current run at other conditions from here on."""
        if self._run is None:
            raise RuntimeError("There is no run.")
        self._run.stop_when(stopping)
        return self._update(None)

    def step(
        self,
        params: SamplingParams,
        head: HeadRef | None,
        task: Task,
        force: int | None = None,
        at: int | None = None,
    ) -> RunUpdate:
        """Take one step, under settings that may have changed since the last.

        Parameters
        ----------
        params, head, task : SamplingParams, HeadRef or None, Task
            Settings, the head on show, and the request.
        force : int or None
            Take this token whatever the distribution says.
        at : int or None
            Step from this node of the run's tree; None is where the run stands. Where that step had
            been taken before, a different token begins a new branch.
        """
        run = self._current(params, task)
        if at is not None:
            run.go_to(at)
        run.step(force).summarise()
        return self._update(head)

    def step_on(self, params: SamplingParams, head: HeadRef | None, task: Task) -> RunUpdate:
        """Take as many steps as fit between two updates of the window, at least one."""
        run = self._current(params, task)
        # What is on show grows with the square of the length: it may take half of the time, and no more.
        until = time.perf_counter() + min(max(UPDATE_SECONDS, self._shown_seconds), LONGEST_SLICE_SECONDS)
        while not run.finished:
            run.step().summarise()
            if time.perf_counter() > until or task.cancelled.is_set():
                break
        return self._update(head)

    def back(self, params: SamplingParams, head: HeadRef | None, task: Task) -> RunUpdate:
        """Take the last step back."""
        self._current(params, task).back()
        return self._update(head)

    def go_to(self, node: int, params: SamplingParams, head: HeadRef | None, task: Task) -> RunUpdate:
        """Stand at another node of the run's tree; no model call."""
        self._current(params, task).go_to(node)
        return self._update(head)

    def restart(self, params: SamplingParams, task: Task) -> RunUpdate:
        """Stand before the first step again, seeded anew; branches stay, and no model call."""
        self._current(params, task).restart()
        return self._update(None)

    def beam_search(
        self,
        width: int,
        params: SamplingParams,
        head: HeadRef | None,
        task: Task,
        length_penalty: float | None = None,
        max_new_tokens: int | None = None,
    ) -> tuple[BeamSearch, RunUpdate]:
        """Follow several hypotheses from the first step on; the run then stands at the best one's end.

        Cancelled or failed, it leaves the run where it stood, with what was found in its tree.
        """

        def report(done: int, most: int) -> None:
            task.report(f"Searching with {width} beams: step {done + 1} of at most {most} …")

        run = self._current(params, task)
        stood, before = run.node, len(run.tree.nodes)
        found = run.beam_search(width, length_penalty, max_new_tokens, report=report, run_id=self._run_id)
        # Views ask every hypothesis for this, and not only the best one.
        steps = [*run.steps, *(node.step for node in run.tree.nodes[before:] if node.step is not None)]
        task.report(f"Ranking the tokens of {len(steps)} places …")
        for step in steps:
            if task.cancelled.is_set():
                run.go_to(stood)
                break
            step.summarise()
        return found, self._update(head)

    def inside(self, task: Task, top: int = 5) -> InsideReading | None:
        """What every layer added and would choose at each step on show; None without a run."""
        if self._run is None:
            return None
        self._model().recorder.cancel = task.cancelled
        return self._run.inside(top, run_id=self._run_id)

    def name_branch(self, node: int, name: str) -> RunUpdate:
        """Call the branch that begins at ``node`` by a name; an empty one takes it away."""
        if self._run is None:
            raise RuntimeError("There is no run.")
        self._run.name_branch(node, name)
        return self._update(None)

    def temperature_row(
        self,
        grid_id: int,
        text: str,
        params: SamplingParams,
        task: Task,
        languages: LanguagePair = NO_LANGUAGES,
    ) -> GridRow:
        """Begin a row of a temperature grid, or go on with it, as far as fits between two updates."""
        lm = self._model()
        lm.recorder.cancel = task.cancelled
        key = (grid_id, params)
        if self._row is None or self._row[0] != key:
            self._row = None  # two of them are never held
            self._row = (key, _generate(lm, text, params, languages), [])
        _, run, spans = self._row
        until = time.perf_counter() + UPDATE_SECONDS
        while not run.finished and not task.cancelled.is_set():
            run.step()
            spans.append(run.text_around(len(run.steps) - 1))
            if time.perf_counter() > until:
                break
        if run.finished:
            self._row = None
        return GridRow(params, tuple(run.token_ids), tuple(spans), run.text, run.stop_reason)

    def attention(
        self, head: HeadRef, summary: AttentionSummary = "head", places: tuple[Place, ...] = ()
    ) -> AttentionMap | None:
        """One head's map of the current run, or a summary of many; ``places`` are the chosen ones."""
        return None if self._run is None else self._run.attention_map(head, summary, places)

    def attention_maps(
        self, run_id: int, kind: AttentionKind, places: tuple[Place, ...]
    ) -> tuple[AttentionMap, ...]:
        """The whole maps of several heads; none when another run is on by now."""
        if self._run is None or self._run_id != run_id:
            return ()
        return tuple(self._run.attention_map(HeadRef(kind, *place)) for place in places)

    def inspect(self, head: HeadRef, cell: tuple[int, int]) -> CellReading | None:
        """How one weight of the current run came about; None where that is out of reach or unknown."""
        if self._run is None or self._model().info.weights_only:
            return None
        queries, keys = self._run.snapshot().attention_axes(head.kind)
        row, column = cell
        if not (row < len(queries) and column < len(keys)):
            return None
        from explorer.model.errors import UnknownWeightError

        try:
            return self._run.inspect(head, row, column)
        except UnknownWeightError:
            return None

    def overview(self, kind: AttentionKind, pooling: Pooling) -> AttentionOverview | None:
        """All heads of one kind; what follows a step is pooled likewise from here on."""
        self._pooling = pooling
        return None if self._run is None else self._run.overview(kind, pooling)

    def write_all_maps(
        self, kind: AttentionKind, path: Path, fmt: AllFormat, task: Task
    ) -> tuple[int, int, int, int] | None:
        """Write every map of a kind to a file; None when there is no run any more."""
        from explorer.app.attention_files import write_all_maps

        return (
            None if self._run is None else write_all_maps(self._run, kind, path, fmt, task.cancelled.is_set)
        )

    def _model(self) -> LanguageModel:
        if self._lm is None:
            raise RuntimeError("No model is loaded.")
        return self._lm

    def _current(self, params: SamplingParams, task: Task) -> Run:
        if self._run is None:
            raise RuntimeError("There is no run to step.")
        self._model().recorder.cancel = task.cancelled
        self._run.params = params
        return self._run

    def _update(self, head: HeadRef | None) -> RunUpdate:
        assert self._run is not None
        started = time.perf_counter()
        attention = None if head is None else self._run.attention_map(head)
        overview = None if head is None else self._run.overview(head.kind, self._pooling)
        self._shown_seconds = time.perf_counter() - started
        return RunUpdate(self._run.snapshot(self._run_id), attention, overview)


def _generate(lm: LanguageModel, text: str, params: SamplingParams, languages: LanguagePair) -> Run:
    return lm.generate(
        text,
        params,
        source_language=languages.source or None,
        target_language=languages.target or None,
    )
