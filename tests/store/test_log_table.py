import sqlite3

import pytest

from agent.model import Quality, Reading
from agent.store import layout, log_table
from tests.conftest import group_of

GROUP = group_of()


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 149])
def test_every_row_comes_in_once_in_few_statements(count: int) -> None:
    readings = [Reading(GROUP, 1000 + at, (float(at), 2.0), Quality.UNCERTAIN) for at in range(count)]
    known = [layout.packer(2).pack(*reading.values) for reading in readings[: count // 2]]
    rows = log_table.rows_of(7, readings, {GROUP: 3}, known)
    statements: list[str] = []
    with sqlite3.connect(":memory:", isolation_level=None) as db:
        db.execute("CREATE TABLE reading (seq, group_id, time_ms, quality, packed)")
        db.set_trace_callback(statements.append)
        log_table.insert(db, "reading", rows)
        db.set_trace_callback(None)
        found = db.execute("SELECT * FROM reading ORDER BY seq").fetchall()
    db.close()
    assert found == [
        (7 + at, 3, 1000 + at, 1, layout.packer(2).pack(float(at), 2.0)) for at in range(count)
    ]  # fmt: skip
    assert len(statements) <= count // 64 + 9
