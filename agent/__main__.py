"""`uicps-agent`, also as `python -m agent`."""

import signal
import sys

# Until everything is imported an interrupt just ends us: Python's own way, an exception in the middle of
# whatever library is being loaded, is a long traceback at best and a crash at worst.
_handler = signal.signal(signal.SIGINT, signal.SIG_DFL)

from agent.cli import done, understood  # noqa: E402 - after that


def start() -> int:
    """Run the command of this process."""
    arguments = understood(sys.argv[1:])
    signal.signal(signal.SIGINT, _handler)
    return done(arguments)


if __name__ == "__main__":
    raise SystemExit(start())
