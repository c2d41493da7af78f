"""The branches of a run: every step that was ever taken, each after the one that it followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.core.records import StepRecord

ROOT = 0


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A place in the tree: one chosen token, after all that led to it.

    Attributes
    ----------
    id : int
        Its place in `RunTree.nodes`; `ROOT` stands before the first step.
    parent : int
        The node that it followed; of the root, the root itself.
    step : StepRecord or None
        What the model said there and what was chosen; None for the root alone.
    """

    id: int
    parent: int
    step: StepRecord | None


@dataclass(frozen=True, eq=False)
class RunTree:
    """Every step of a run, whether on the branch on show or on another.

    Attributes
    ----------
    nodes : tuple of Node
        By id; a parent comes before its children.
    current : int
        The node that the run stands at: its steps are those on show.
    names : mapping of int to str
        What a person called a branch, by the first node that is only its own.
    """

    nodes: tuple[Node, ...]
    current: int = ROOT
    names: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Per node, the nodes that follow it, oldest first; O(nodes) once."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes[1:]:
            found[node.parent].append(node.id)
        return tuple(map(tuple, found))

    def path(self, node: int) -> tuple[int, ...]:
        """Nodes from the first step to ``node``, which is the last; empty for the root."""
        ids: list[int] = []
        while node != ROOT:
            ids.append(node)
            node = self.nodes[node].parent
        return tuple(reversed(ids))

    def end_of(self, node: int) -> int:
        """The end of the branch that ``node`` is on: along the newest child each time."""
        while self.children[node]:
            node = self.children[node][-1]
        return node

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The last node of every branch, in the order in which they were first reached."""
        return tuple(node.id for node in self.nodes[1:] if not self.children[node.id])


EMPTY = RunTree((Node(ROOT, ROOT, None),))
"""A run before its first step."""
