"""The tables of which schedule is which say what is true."""

import pytest

from tests.schedule_parity import ABOUT, ROWS, SYSTEMS, Row, amounts_to, names, namespace
from updaters.schedules.base import Schedule


@pytest.mark.parametrize(("system", "row"), [(system, row) for system, rows in ROWS.items() for row in rows], ids=str)
def test_a_call_amounts_to_what_its_row_says(system: str, row: Row) -> None:
    schedule = eval(row.call, namespace(system))
    assert isinstance(schedule, Schedule)
    assert amounts_to(schedule) == row.here


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_schedule_of_a_system_has_a_row(system: str) -> None:
    assert [row.name for row in ROWS[system]] == sorted(names(system))
    assert system in ABOUT
