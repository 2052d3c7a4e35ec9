"""A plug-in's own process: limits itself, loads the file, does the runs that the agent asks for.

Standard output is the way to the agent; what the plug-in prints goes to standard error.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, BinaryIO
from zoneinfo import ZoneInfo

import numpy as np

from agent.confined import confine
from agent.plugins.author import (
    MARK,
    Alarm,
    History,
    Latest,
    Now,
    Progress,
    Publish,
    Refused,
    Submit,
)
from agent.schedule import frames

if TYPE_CHECKING:
    from agent.plugins.author import Floats, Ints

TEXT_CHARS_MAX = 1500


class Pipe:
    """The way to the agent. EOFError: it is gone."""

    def __init__(self, into: BinaryIO, out: BinaryIO) -> None:
        self._into, self._out = into, out

    def receive(self) -> frames.Frame:
        frame = frames.read(self._into)
        if frame is None:
            raise EOFError("the agent is gone")
        return frame

    def send(self, head: dict[str, Any]) -> None:
        self._out.write(frames.packed(head))
        self._out.flush()

    def ask(self, head: dict[str, Any]) -> dict[str, Any]:
        """The answer. Refused: there is none, and why."""
        answer, _ = self._answer(head)
        return answer

    def _answer(self, head: dict[str, Any] | None) -> frames.Frame:
        if head is not None:
            self.send(head)
        answer, body = self.receive()
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer, body

    def columns(self, head: dict[str, Any], count: int) -> tuple[Ints, Floats]:
        """Times, and values with `count` columns."""
        times, values = [np.empty(0, np.int64)], [np.empty((0, count))]
        question: dict[str, Any] | None = head
        while True:
            answer, body = self._answer(question)
            question = None
            rows = answer["rows"]
            times.append(np.frombuffer(body, "<i8", rows))
            values.append(np.frombuffer(body, "<f8", rows * count, 8 * rows).reshape(rows, count))
            if not answer["more"]:
                return _in_time_order(np.concatenate(times), np.concatenate(values))


def _in_time_order(times: Ints, values: Floats) -> tuple[Ints, Floats]:
    """A point that was in another group once comes group by group."""
    if bool(np.all(times[1:] >= times[:-1])):
        return times, values
    order = np.argsort(times, kind="stable")
    return times[order], values[order]


def main() -> None:
    """Speak with the agent that started us, until it has nothing more to ask."""
    into, out = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = Pipe(into, out)
    start, _ = pipe.receive()
    confine(start["memory_mb"], start["cpu_s"], start["parent"])
    sys.dont_write_bytecode = True
    try:
        file = Path(start["file"])
        code = compile(file.read_bytes(), str(file), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        pipe.receive()
        pipe.send({"ask": "done", "how": "failed", "text": str(error)})
        return
    while frame := frames.read(into):
        pipe.send({"ask": "done"} | one_run(pipe, code, start, frame[0]["now_ms"]))


def one_run(pipe: Pipe, code: CodeType, start: dict[str, Any], now_ms: int | None) -> dict[str, str]:
    """Run the file anew and call its function (without an instant: not); how it went."""
    try:
        namespace: dict[str, Any] = {"__name__": "plugin", "__file__": start["file"]}
        exec(code, namespace)  # noqa: S102 - what plug-ins are for
        function = next(each for each in namespace.values() if getattr(each, MARK, False) is True)
        said = None if now_ms is None else function(**_given(function, pipe, start, now_ms))
    except MemoryError:
        return {"how": "memory", "text": f"it needs more than {start['memory_mb']} MB"}
    except EOFError:
        raise
    except BaseException as error:
        return {"how": "failed", "text": _told(error)}
    return {"how": "well", "text": "" if said is None else str(said)[:TEXT_CHARS_MAX]}


def _given(function: Callable[..., Any], pipe: Pipe, start: dict[str, Any], now_ms: int) -> dict[str, Any]:
    tools = {
        "history": History(pipe, now_ms),
        "latest": Latest(pipe),
        "publish": Publish(pipe),
        "alarm": Alarm(pipe),
        "submit": Submit(pipe),
        "progress": Progress(pipe),
        "now": Now(now_ms, ZoneInfo(start["zone"])),
    }
    wanted = inspect.signature(function).parameters
    options: dict[str, Any] = start["options"]
    return options | {name: tool for name, tool in tools.items() if name in wanted}


def _told(error: BaseException) -> str:
    """The error and where in the plug-in it came from."""
    frames_ = [each for each in traceback.extract_tb(error.__traceback__) if each.filename != __file__]
    place = next((each for each in reversed(frames_) if "/agent/plugins/" not in each.filename), None)
    where = f"{Path(place.filename).name}, line {place.lineno}: " if place else ""
    return f"{where}{type(error).__name__}: {error}"[:TEXT_CHARS_MAX]


if __name__ == "__main__":
    main()
