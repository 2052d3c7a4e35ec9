"""Limits that a child process puts on itself before it does anything else; as a program, in front of another.

Rules.
1. Memory is counted as data pages (RLIMIT_DATA) beyond what this process has now, so that a limit says what
   the work may use, not what Python and its libraries need.
2. It dies with the agent, comes last when processor time or memory is short, leaves no core, fills no disk.
3. These are limits against mistakes. The code runs as the agent's own user: they are no prison.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

FILE_BYTES_MAX = 2**31
NICER = 10
_PR_SET_PDEATHSIG = 1
_DATA_PAGES = 5  # the place in /proc/self/statm


def confine(memory_mb_max: int, cpu_s_max: int | None, parent: int) -> None:
    """Limit this process; SystemExit if the agent (`parent`) is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the agent is gone")
    # A sandbox may forbid some of it: the agent watches memory and time from outside as well.
    with contextlib.suppress(OSError):
        os.nice(NICER)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    most = data_bytes() + memory_mb_max * 2**20
    for what, limit in (
        (resource.RLIMIT_DATA, most),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_BYTES_MAX),
        *([(resource.RLIMIT_CPU, cpu_s_max)] if cpu_s_max is not None else []),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (limit, limit))


def data_bytes() -> int:
    """The data pages that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[_DATA_PAGES]
    return int(pages) * resource.getpagesize()


def main() -> None:
    """`python -m agent.confined MEMORY_MB CPU_S PARENT PROGRAM ARGUMENT ...`."""
    memory_mb, cpu_s, parent, program, *arguments = sys.argv[1:]
    confine(int(memory_mb), int(cpu_s), int(parent))
    os.execv(program, [program, *arguments])  # noqa: S606 - the agent's own command line


if __name__ == "__main__":
    main()
