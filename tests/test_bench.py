"""The measuring programs run; what they find at these sizes means nothing and is not looked at."""

import pytest

from bench.__main__ import PROGRAMS
from tests.conftest import needs


@pytest.mark.mosquitto
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_bench_program_fills_its_table(name):
    if name in {"bridge", "memory"}:
        needs("mosquitto")
    table = PROGRAMS[name](is_quick=True)
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.command == f"python -m bench {name}"
