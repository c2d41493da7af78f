"""A beam search as rows: which hypotheses shared which steps, and where others were dropped."""

from __future__ import annotations

from explorer.core.beams import BeamSearch, Hypothesis
from explorer.core.branch_lanes import LaneLayout, lay_out
from explorer.core.branches import ROOT, RunTree


def lay_out_search(search: BeamSearch, tree: RunTree, *, dropped: bool = True) -> LaneLayout:
    """Place the nodes that a search kept in rows, the best hypothesis whole in the first.

    Where hypotheses part, the row goes on with the better one: by final rank, and among those that
    were dropped on the way by the sum of log-probabilities. Without ``dropped`` the results alone are
    placed. O(nodes of the search).
    """
    worst = len(search.hypotheses)
    # Per node, what it is ordered by: smaller is better.
    order: dict[int, tuple[int, float]] = {}

    def walk(node: int, key: tuple[int, float]) -> None:
        while node != ROOT and (node not in order or key < order[node]):
            order[node] = key
            node = tree.nodes[node].parent

    for rank, hypothesis in enumerate(search.hypotheses):
        walk(hypothesis.node, (rank, 0.0))
    for step in search.steps if dropped else ():
        for node, log_probability in zip(step.nodes, step.log_probabilities, strict=True):
            walk(node, (worst, -log_probability))
        for node in step.ended:
            walk(node, (worst, 0.0))
    children: list[list[int]] = [[] for _ in tree.nodes]
    for node in sorted(order):
        children[tree.nodes[node].parent].append(node)
    for row in children:
        row.sort(key=lambda node: order[node])
    return lay_out(children)


def sums(search: BeamSearch) -> dict[int, float]:
    """Per node that a search kept, the sum of log-probabilities up to it, as ``generate`` adds them."""
    found = {h.node: h.log_probability for h in search.hypotheses}
    for step in search.steps:
        found |= dict(zip(step.nodes, step.log_probabilities, strict=True))
    return found


def hypothesis_at(search: BeamSearch, node: int) -> tuple[int, Hypothesis] | None:
    """(rank, hypothesis) that ends in a node; None where none does."""
    return next(((rank, h) for rank, h in enumerate(search.hypotheses) if h.node == node), None)
