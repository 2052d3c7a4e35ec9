"""`uicps-agent`, also as `python -m agent`."""

import signal

# Until everything is imported an interrupt just ends us: Python's own way, an exception in the middle of
# whatever library is being loaded, is a long traceback at best and a crash at worst.
_handler = signal.signal(signal.SIGINT, signal.SIG_DFL)

from agent.cli import main  # noqa: E402 - after that


def start() -> int:
    """Run the command of this process."""
    signal.signal(signal.SIGINT, _handler)
    return main()


if __name__ == "__main__":
    raise SystemExit(start())
