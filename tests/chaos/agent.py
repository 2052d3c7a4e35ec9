"""The agent as `uicps-agent run` runs it, but for what a test must not do to its machine or cannot wait for.

The wall clock is off by what the file `clock_off_s` says; a disk that refused is asked again every second.
"""

import asyncio
import contextlib
import time
from pathlib import Path

from agent.config import load
from agent.logs import start_logging
from agent.sheltered import Anywhere

CLOCK_FILE = "clock_off_s"


def wall_s() -> float:
    with contextlib.suppress(OSError, ValueError):
        return time.time() + float(Path(CLOCK_FILE).read_text())
    return time.time()


if __name__ == "__main__":
    config = load(Path("config.toml"))
    start_logging(config.options.agent.log_level, config.options.agent.log_format)
    asyncio.run(Anywhere(config, check_s=1.0, wall_s=wall_s).run())
