"""Where the branches of a run stand when they are drawn: one row each, steps from left to right."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from explorer.core.branches import ROOT, RunTree
from explorer.core.records import RunSnapshot


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: what a branch has for itself.

    Attributes
    ----------
    column : int
        Step of its first node.
    nodes : tuple of int
        Its nodes, one step after another.
    parent_row : int or None
        Row that it forks off; None where it begins the text.
    """

    column: int
    nodes: tuple[int, ...]
    parent_row: int | None

    def node_at(self, column: int) -> int | None:
        """Its node at a step; None where it has none."""
        place = column - self.column
        return self.nodes[place] if 0 <= place < len(self.nodes) else None

    def column_of(self, node: int) -> int:
        """Step of one of its nodes; O(log steps), as a node comes to be after the one before it."""
        return self.column + bisect_left(self.nodes, node)


@dataclass(frozen=True, eq=False)
class LaneLayout:
    """All rows, top to bottom, so that no fork's line crosses another row's steps.

    Attributes
    ----------
    lanes : tuple of Lane
        The rows.
    """

    lanes: tuple[Lane, ...]

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Row of each node."""
        return {node: row for row, lane in enumerate(self.lanes) for node in lane.nodes}

    @cached_property
    def columns(self) -> int:
        """Steps of the longest branch."""
        return max((lane.column + len(lane.nodes) for lane in self.lanes), default=0)

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """Per row, the letter that names it: A for the branch that was there first."""
        order = sorted(range(len(self.lanes)), key=lambda row: self.lanes[row].nodes[0])
        letters = [""] * len(self.lanes)
        for age, row in enumerate(order):
            letters[row] = _letter(age)
        return tuple(letters)


def lay_out(children: Sequence[Sequence[int]]) -> LaneLayout:
    """Place the nodes of a tree in rows; O(nodes).

    A node's first child goes on in its row; each other one begins a row below. Forks further right
    come first, because their rows lie clear of the lines that lead further down.

    Parameters
    ----------
    children : sequence of sequence of int
        Per node, those that follow it, as `RunTree.children` gives them; the first of each goes on
        in the row.
    """
    lanes: list[Lane] = []
    waiting: list[tuple[int, int, int | None]] = [(node, 0, None) for node in reversed(children[ROOT])]
    while waiting:
        node, column, parent_row = waiting.pop()
        row, nodes = len(lanes), [node]
        forks: list[tuple[int, int, int | None]] = []
        while children[node]:
            after = column + len(nodes)
            forks += [(child, after, row) for child in reversed(children[node][1:])]
            node = children[node][0]
            nodes.append(node)
        lanes.append(Lane(column, tuple(nodes), parent_row))
        waiting += forks
    return LaneLayout(tuple(lanes))


def taken_children(tree: RunTree, results: Iterable[int] = ()) -> Sequence[Sequence[int]]:
    """Per node, those that follow it, without what beam searches dropped on their way.

    What stays: every step that was taken otherwise, the ``results`` of a search, named nodes, the
    branch on show, and all that leads there. O(nodes).
    """
    stays = [False] * len(tree.nodes)
    for place in {*results, *tree.names, tree.current}:
        stays[place] = True
    for node in reversed(tree.nodes[1:]):
        if stays[node.id] or node.step is None or not node.step.beam:
            stays[node.id] = stays[node.parent] = True
    if all(stays[1:]):
        return tree.children
    return [[child for child in row if stays[child]] for row in tree.children]


def lane_name(tree: RunTree, lane: Lane) -> str:
    """What a person called the branch of ``lane``; empty where nobody did."""
    return next((tree.names[node] for node in lane.nodes if node in tree.names), "") if tree.names else ""


def log_probabilities(tree: RunTree) -> list[float]:
    """Per node, the sum of its branch's log-probabilities up to it: natural logarithm, model's own.

    O(nodes), as long as every step has been summarised.
    """
    sums = [0.0] * len(tree.nodes)
    for node in tree.nodes[1:]:
        assert node.step is not None
        probability = node.step.probability
        sums[node.id] = sums[node.parent] + (math.log(probability) if probability > 0 else -math.inf)
    return sums


def run_at(run: RunSnapshot, node: int, text: str = "", stop_reason: str | None = None) -> RunSnapshot:
    """``run`` as it stands at another node of its tree; what only the model can tell is given."""
    tree = replace(run.tree, current=node)
    steps = tuple(step for place in tree.path(node) if (step := tree.nodes[place].step) is not None)
    return replace(run, steps=steps, text=text, stop_reason=stop_reason, tree=tree)


def _letter(index: int) -> str:
    """A to Z, then AA, AB, …, as columns of a table are named."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("A") + rest) + text
    return text
