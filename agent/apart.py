"""Our own functions in a process of their own: numpy, HiGHS and their memory only while they are used.

Rules.
1. The child gets one call after the other (where the function is, its arguments) on its standard input and
   answers each on its output, as pickles: it is our own child, nobody else writes there. It ends when its
   input does, at work or not, so it never outlives us; `rest` ends it at once, and the next call starts a new
   one.
2. What a function raises is raised here. A child that cannot be started, dies, has no memory, is not done in
   time or says what is no answer (another release of us, say) is an OSError (TimeoutError is one) that says
   so. It, or one left in the middle of a call for whatever reason, is killed; the next call starts a new one.
3. Functions are named, "agent.module:function", and not given: whoever held them would have to load them.
   What they take and return comes from modules that the resident process may load.

Calls block: make them in a thread, one at a time.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

START_S = 20.0  # Python and numpy, on a slow box at a bad time
PROGRAM = "agent.apart"
# The other cores are the agent's; threads that wait for work take 40 ms to start, and memory.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class Apart:
    """Enter it for one task of several calls, or keep it and `rest` it. `nice`: how far it stands back."""

    def __init__(
        self, limit_s: float, *, start_s: float = START_S, nice: int = 0, program: str = PROGRAM
    ) -> None:
        self._limit_s, self._start_s = limit_s, start_s
        self._argv = (sys.executable, "-P", "-m", program, str(nice))
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def __call__(self, function: str, *given: Any) -> Any:
        """What `function` returns, or its exception; OSError without an answer in `limit_s`."""
        call = pickle.dumps((function, given), pickle.HIGHEST_PROTOCOL)
        limit_s = self._limit_s + (self._start_s if self._child is None else 0.0)
        child = self._child = self._child or self._started(function)
        late = threading.Event()
        timer = threading.Timer(limit_s, _give_up, (child, late))
        try:
            timer.start()
            raised, answer = _asked(child, call)
        except Exception as error:  # also no thread; and what is no answer may raise anything as it is read
            self.rest()
            if late.is_set():
                raise TimeoutError(f"{function}: no answer in {limit_s:.0f} s") from None
            raise OSError(f"{function}: its process ended ({child.returncode}): {error!r}") from error
        except BaseException:
            self.rest()  # what it says next would be taken for the answer to another call
            raise
        finally:
            timer.cancel()
        if raised:
            raise answer
        return answer

    def _started(self, function: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        environment = {**os.environ, **ONE_THREAD}
        try:
            return subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, env=environment)  # noqa: S603 - our own
        except OSError as error:
            raise OSError(f"{function}: no process can be started for it: {error}") from error

    def rest(self) -> None:
        """End the child, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def interrupt(self) -> None:
        """Kill the child, from any thread: whoever waits for its answer sees its end."""
        child = self._child
        if child is not None:
            child.kill()


def _give_up(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    child.kill()  # whoever waits for its pipes now sees their end


def _asked(child: subprocess.Popen[bytes], call: bytes) -> tuple[bool, Any]:
    if child.stdin is None or child.stdout is None:
        raise OSError("no pipes")
    child.stdin.write(call)
    child.stdin.flush()
    raised, answer = pickle.load(child.stdout)  # noqa: S301 - from our own child
    return bool(raised), answer


def main(calls: IO[bytes], answers: IO[bytes]) -> None:
    """As a program: an answer to each call, until there are no more."""
    while True:
        try:
            function, given = pickle.load(calls)  # noqa: S301 - from our own parent
        except EOFError:
            return
        answers.write(_answer(function, given))
        answers.flush()


def _answer(function: str, given: tuple[Any, ...]) -> bytes:
    """`(False, what it returned)` or `(True, what it raised)`."""
    module, _, name = function.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)(*given)
        return pickle.dumps((False, found), pickle.HIGHEST_PROTOCOL)
    except MemoryError as error:
        return _pickled(OSError(errno.ENOMEM, f"{function}: no memory in its process: {error}"))
    except Exception as error:
        return _pickled(error)


def _pickled(error: Exception) -> bytes:
    try:
        pickle.loads(said := pickle.dumps((True, error)))  # noqa: S301 - what we have just made
    except Exception:
        return pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}")))
    return said


def _end_with(calls: int) -> None:
    """End this process as soon as nobody can call any more."""
    hang_up = select.poll()
    hang_up.register(calls, 0)
    hang_up.poll()
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody waits for the answer any more
    # A terminal and a service manager tell all of us at once; it is for the agent, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A sandbox may forbid it: the unit's does.
    with contextlib.suppress(OSError):
        os.nice(int(sys.argv[1]))
    with contextlib.suppress(OSError):  # when memory is short it goes before the agent does
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to the log and not between the answers
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    main(sys.stdin.buffer, _answers)
