"""What reaches the journal: one line an event, with its level, and never a flood."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from agent.logs import MESSAGES_MAX, MINUTE_S, PER_MINUTE_MAX, JsonLines, Quota, TextLines


def record(text: str = "meter %s", *values: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("agent.store", level, __file__, 1, text, values, None)


def failed() -> logging.LogRecord:
    try:
        int("two\nlines")
    except ValueError:
        return logging.LogRecord("agent", logging.ERROR, __file__, 1, "oh", (), sys.exc_info())


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
@pytest.mark.parametrize("lines", [TextLines, JsonLines])
def test_the_journal_is_told_the_level(
    lines: type[TextLines] | type[JsonLines], level: int, priority: int
) -> None:
    assert lines(journal=True).format(record(level=level)).startswith(f"<{priority}>")
    assert not lines(journal=False).format(record(level=level)).startswith("<")


def test_the_journal_has_the_time_itself() -> None:
    assert TextLines(journal=True).format(record("well", level=logging.INFO)) == "<6>INFO agent.store: well"


@pytest.mark.parametrize("lines", [TextLines(journal=True), JsonLines(journal=True)])
def test_a_traceback_is_one_line(lines: logging.Formatter) -> None:
    said = lines.format(failed())
    assert "\n" not in said
    assert "ValueError: invalid literal" in said


def test_json_is_json() -> None:
    said = json.loads(JsonLines(journal=False).format(record("meter %s", "a\nb")))
    assert (said["level"], said["logger"], said["message"]) == ("warning", "agent.store", "meter a\nb")
    assert said["time"].endswith("+00:00")


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_of_one_message_only_so_many_come_in_a_minute_and_the_rest_is_counted() -> None:
    now = Now()
    quota = Quota(now)
    assert sum(quota.filter(record("meter %s", at)) for at in range(100)) == PER_MINUTE_MAX
    assert quota.filter(record("another %s", 1))
    assert quota.filter(record("meter %s", 1, level=logging.ERROR))
    now.s = MINUTE_S
    last = record("meter %s", 7)
    assert quota.filter(last)
    assert last.getMessage() == f"meter 7 (and {100 - PER_MINUTE_MAX} more like this were left out)"
    after = record("meter %s", 8)
    assert quota.filter(after)
    assert after.getMessage() == "meter 8"


def test_what_is_counted_is_bounded() -> None:
    quota = Quota(Now())
    for at in range(3 * MESSAGES_MAX):
        quota.filter(record(f"text {at}"))
    assert len(quota._counts) <= MESSAGES_MAX
