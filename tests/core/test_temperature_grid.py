"""A grid's rows held against its greedy one, and the list of temperatures as it is typed."""

from __future__ import annotations

import itertools

import pytest

from explorer.core.sampling import SamplingParams
from explorer.core.temperature_grid import GridRow, TemperatureGrid, plan_grid, read_temperatures


def row(temperature: float, *tokens: tuple[int, str], ended: bool = True) -> GridRow:
    texts = ["", *(text for _, text in tokens)]
    ids = tuple(token_id for token_id, _ in tokens)
    spans = tuple(itertools.pairwise(texts))
    return GridRow(SamplingParams(temperature), ids, spans, texts[-1], "ended" if ended else None)


GREEDY_ROW = row(0.0, (1, "I"), (2, "I love"), (3, "I love it"), (0, "I love it"))


@pytest.mark.parametrize(
    ("other", "place", "parts"),
    [
        (GREEDY_ROW, None, ("I love it", "", "")),
        (row(1.0, (1, "I"), (5, "I like"), (3, "I like it")), 1, ("I", " like", " it")),
        (row(1.0, (9, "We"), (2, "We love")), 0, ("", "We", " love")),
        (row(1.0, (1, "I"), ended=False), None, ("I", "", "")),
        (row(1.0), None, ("", "", "")),
        # The greedy one ended there with a token that has no text.
        (
            row(1.0, (1, "I"), (2, "I love"), (3, "I love it"), (7, "I love it so")),
            3,
            ("I love it", " so", ""),
        ),
        # A token whose character is not whole before the next one.
        (row(1.0, (1, "I"), (8, "I �"), (9, "I é")), 1, ("I", " ", "é")),
    ],
)
def test_that_a_row_is_parted_where_it_first_leaves_the_greedy_one(
    other: GridRow, place: int | None, parts: tuple[str, str, str]
) -> None:
    grid = TemperatureGrid("text", (other, GREEDY_ROW))
    assert grid.reference == (0 if other is GREEDY_ROW else 1)
    assert grid.first_difference(0) == place
    assert grid.parts(0) == parts
    assert "".join(parts) == other.text


def test_that_a_filled_mask_is_parted_from_what_stands_around_it() -> None:
    filled = (("I", "I go"), ("I go to the", "I go to the station"))
    other = GridRow(SamplingParams(1.0), (2, 8), filled, "I go to the station every day.", "filled")
    grid = TemperatureGrid("text", (row(0.0, (2, ""), (5, "")), other))
    assert grid.parts(1) == ("I go to the", " station", " every day.")


def test_that_a_row_longer_than_an_ended_reference_differs_behind_its_end() -> None:
    grid = TemperatureGrid("text", (row(0.5, (1, "I")), row(1.0, (1, "I"), (2, "I love"))))
    assert (grid.reference, grid.first_difference(1)) == (0, 1)
    going_on = TemperatureGrid("text", (row(0.5, (1, "I"), ended=False), grid.rows[1]))
    assert going_on.first_difference(1) is None


def test_that_a_planned_grid_keeps_all_settings_but_the_temperature() -> None:
    grid = plan_grid("text", SamplingParams(3.0, 40, 0.9, seed=4), (0.0, 0.7))
    assert [r.params for r in grid.rows] == [SamplingParams(t, 40, 0.9, seed=4) for t in (0.0, 0.7)]
    assert grid.current == 0
    assert grid.with_row(0, row(0.0)).current == 1


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("0, 0.5, 0.7", (0.0, 0.5, 0.7)),
        ("1", (1.0,)),
        ("0,5; 1; 2", (0.5, 1.0, 2.0)),
        (" 2 1,1 ", (2.0, 1.0)),
        ("1e-9, 10", (1e-9, 10.0)),
    ],
)
def test_that_temperatures_are_read_as_they_are_typed(text: str, read: tuple[float, ...]) -> None:
    assert read_temperatures(text) == read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0, warm", "“warm” is no temperature"),
        ("-1", "“-1” is no temperature"),
        ("nan", "“nan” is no temperature"),
        ("inf", "“inf” is no temperature"),
        (" , ", "one to 12"),
        (", ".join(str(i) for i in range(13)), "one to 12"),
    ],
)
def test_that_what_is_no_list_of_temperatures_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_temperatures(text)
