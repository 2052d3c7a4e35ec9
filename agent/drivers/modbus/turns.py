"""Whose turn it is on a line: one at a time, the urgent first, each kind in the order it came.

Rules: writes are urgent, reads are patient; a turn that is handed to a waiter who was cancelled goes to
the next; `fail` ends every wait, so nobody waits on a line that is gone; the urgent queue is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque

URGENT_MAX = 64


class BusyError(Exception):
    """Too many writes wait for this line already."""


class Turns:
    """`take`, use the line, `give` (in a `finally`)."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())

    def take_now(self) -> bool:
        """Take the turn if it is free; False if one has to wait for it."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def take(self, *, urgent: bool = False) -> None:
        """Wait for the turn; what `fail` was given is raised. BusyError: too many urgent ones wait."""
        if self.take_now():
            return
        queue = self._waiting[0 if urgent else 1]
        if len(queue) >= URGENT_MAX:
            raise BusyError(f"{len(queue)} requests wait for this line already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.give()  # it was handed to us in the very moment we were cancelled
            raise
        finally:
            if turn in queue:
                queue.remove(turn)

    def give(self) -> None:
        """End the turn: the first urgent waiter has it next, or the first patient one, or nobody."""
        for queue in self._waiting:
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._taken = False

    def fail(self, error: Exception) -> None:
        """Everyone who waits gets `error`."""
        for queue in self._waiting:
            for turn in queue:
                if not turn.done():
                    turn.set_exception(error)
            queue.clear()
