from __future__ import annotations

import numpy as np

from explorer.panels.embedding.label_layout import MOST_LABELS, place_labels


def test_that_labels_never_lie_on_each_other_or_outside() -> None:
    rng = np.random.default_rng(1)
    anchors = [(float(x), float(y), 4.0) for x, y in rng.uniform(40, 360, (40, 2))]
    sizes = [(float(w), 14.0) for w in rng.uniform(20, 70, 40)]
    placed = place_labels(anchors, sizes, 400, 400, 4.0)
    assert len(placed) >= 30
    boxes = [(p.left, p.top, p.left + sizes[p.index][0], p.top + 14.0) for p in placed]
    for i, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[1] >= 0
        assert a[2] <= 400
        assert a[3] <= 400
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_that_a_label_keeps_its_place_while_it_is_free_and_no_more_are_placed_than_can_be_read() -> None:
    anchors = [(200.0, 200.0, 4.0)]
    first = place_labels(anchors, [(40.0, 14.0)], 400, 400, 4.0)[0]
    assert (first.place, first.left, first.top) == (0, 208.0, 193.0)
    kept = place_labels(anchors, [(40.0, 14.0)], 400, 400, 4.0, before=[5])[0]
    assert kept.place == 5
    right = (205.0, 150.0, 300.0, 250.0)
    moved = place_labels(anchors, [(40.0, 14.0)], 400, 400, 4.0, [right], before=[0])[0]
    assert moved.place == 1
    assert place_labels(anchors, [(40.0, 14.0)], 400, 400, 4.0, [(0.0, 0.0, 400.0, 400.0)]) == []
    # A point without a label of its own is not covered either.
    beside = [*anchors, (230.0, 200.0, 4.0)]
    assert place_labels(beside, [(40.0, 14.0)], 400, 400, 4.0)[0].place == 1
    many = [(float(x), float(y), 1.0) for x in range(0, 4000, 100) for y in range(0, 4000, 100)]
    placed = place_labels(many, [(20.0, 10.0)] * len(many), 4000, 4000, 4.0)
    assert [spot.index for spot in placed] == list(range(MOST_LABELS))


def test_that_what_is_pointed_at_is_named_in_a_crowd_too() -> None:
    rng = np.random.default_rng(4)
    crowd = [(float(x), float(y), 5.0) for x, y in rng.uniform(0, 400, (1500, 2))]
    anchors = [(200.0, 200.0, 8.0), (230.0, 200.0, 8.0), *crowd]
    sizes = [(60.0, 14.0)] * 40
    assert place_labels(anchors, sizes, 400, 400, 4.0)[:1] == []
    first, second, *others = place_labels(anchors, sizes, 400, 400, 4.0, must=2)
    assert (first.index, second.index, others) == (0, 1, [])
    assert abs(first.left - second.left) >= 60.0 or abs(first.top - second.top) >= 14.0
    # Where there is room, nothing is covered; and a taken place stays taken.
    assert place_labels(anchors[:2], sizes[:2], 400, 400, 4.0, must=2) == place_labels(
        anchors[:2], sizes[:2], 400, 400, 4.0
    )
    assert place_labels(anchors, sizes, 400, 400, 4.0, [(0.0, 0.0, 400.0, 400.0)], must=2) == []
