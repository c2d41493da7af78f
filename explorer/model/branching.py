"""The branches of a run on the model's side: what was computed at every node, and which are on show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from explorer.core.branches import ROOT, Node, RunTree
from explorer.core.records import StepRecord
from explorer.model.attention_notes import PassNotes


@dataclass(slots=True, eq=False)
class Stash:
    """What a pass left in a run's cache and notes, while its node is on no branch on show.

    Attributes
    ----------
    cache : torch.Tensor
        (n,) the position's keys and values, layer after layer, see `explorer.model.kv_cache`.
    notes : PassNotes
        Its attention.
    """

    cache: torch.Tensor
    notes: PassNotes


@dataclass(slots=True, eq=False)
class Reading:
    """The forward pass that read a node's token, with all before it.

    Attributes
    ----------
    logits : numpy.ndarray
        (V,) float32, raw: for the token after it.
    seconds : float
        Wall time.
    on_device : torch.Tensor or None
        The same logits as (1, V), until a token was chosen from them.
    stash : Stash or None
        None while the node is on the branch on show, or where its family keeps no cache.
    """

    logits: npt.NDArray[np.float32]
    seconds: float
    on_device: torch.Tensor | None = None
    stash: Stash | None = None


@dataclass(slots=True, eq=False)
class Place:
    """A node and what is known there.

    Attributes
    ----------
    node : Node
        Its value for views.
    generator_state : torch.Tensor
        The generator's after this node's token was chosen; shared by nodes that drew nothing between.
    reading : Reading or None
        None while no pass has read its token.
    children : dict of int to int
        Nodes that follow it, by token ID.
    """

    node: Node
    generator_state: torch.Tensor
    reading: Reading | None = None
    children: dict[int, int] = field(default_factory=dict)


class Branches:
    """The tree of a run, and the path through it that the run stands at the end of.

    Attributes
    ----------
    places : list of Place
        By node.
    path : list of int
        From the root to the current node, both included.
    names : dict of int to str
        Branches' names by node.
    """

    def __init__(self, generator_state: torch.Tensor) -> None:
        self._nodes = [Node(ROOT, ROOT, None)]
        self.places = [Place(self._nodes[ROOT], generator_state)]
        self.path = [ROOT]
        self.names: dict[int, str] = {}

    @property
    def current(self) -> int:
        """The node that the run stands at."""
        return self.path[-1]

    @property
    def here(self) -> Place:
        """What is known there."""
        return self.places[self.path[-1]]

    def grow(self, parent: int, step: StepRecord, generator_state: torch.Tensor | None = None) -> int:
        """The node of ``step`` after ``parent``, made where it is not there yet.

        One that is there keeps its pass and all that follows it; its record is renewed where the token
        was chosen in another way than before. Without a generator's state, a new node takes its
        parent's, and one that is there keeps its own.
        """
        before = self.places[parent]
        node = before.children.get(step.token.id)
        if node is None:
            node = before.children[step.token.id] = len(self.places)
            state = before.generator_state if generator_state is None else generator_state
            self._nodes.append(Node(node, parent, step))
            self.places.append(Place(self._nodes[node], state))
            return node
        place = self.places[node]
        if generator_state is not None:
            place.generator_state = generator_state
        if place.node.step is None or not _same(place.node.step, step):
            place.node = self._nodes[node] = Node(node, parent, step)
        return node

    def record(self, node: int) -> StepRecord:
        """The step that ``node`` stands for; never of the root."""
        step = self.places[node].node.step
        assert step is not None
        return step

    def check(self, node: int) -> None:
        """Raise a ValueError that says which nodes there are, where ``node`` is none of them."""
        if not 0 <= node < len(self.places):
            raise ValueError(
                f"There is no node {node}: this run's tree has nodes 0 to {len(self.places) - 1}."
            )

    def way_to(self, node: int) -> tuple[list[int], list[int]]:
        """(nodes of the path to leave, nodes to enter) to come to ``node``; both from the root outwards."""
        way = [node]
        while way[-1] != ROOT:
            way.append(self.places[way[-1]].node.parent)
        way.reverse()
        common = 0
        for ours, theirs in zip(self.path, way, strict=False):
            if ours != theirs:
                break
            common += 1
        return self.path[common:], way[common:]

    def value(self) -> RunTree:
        """The tree as it stands, for views; O(nodes)."""
        return RunTree(tuple(self._nodes), self.current, dict(self.names))


def _same(one: StepRecord, other: StepRecord) -> bool:
    return (
        one.choice == other.choice
        and one.params == other.params
        and (one.scores is other.scores or np.array_equal(one.scores, other.scores))
    )


class IdHistory:
    """Token IDs that grow and shrink at the end; what was handed out stays as it was, and is not copied.

    Parameters
    ----------
    ids : sequence of int
        What it begins with.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._buffer = np.array(ids, dtype=np.int64)
        self._length = self._written = len(ids)

    def view(self) -> npt.NDArray[np.int64]:
        """(t,) int64, read-only; shares its memory with other views."""
        view = self._buffer[: self._length]
        view.setflags(write=False)
        return view

    def extend(self, ids: Sequence[int]) -> None:
        """Add IDs at the end; amortised O(1) each, O(t) for the first after `drop`."""
        end = self._length + len(ids)
        if self._written > self._length or end > self._buffer.size:
            # Others may look at what stands there, or there is no room.
            grown = np.empty(max(end, 2 * self._length), dtype=np.int64)
            grown[: self._length] = self._buffer[: self._length]
            self._buffer = grown
        self._buffer[self._length : end] = ids
        self._length = self._written = end

    def drop(self, count: int) -> None:
        """Take the last ``count`` away."""
        self._length -= count
