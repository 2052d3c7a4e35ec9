"""Datagrams that cannot be used: why, how many, and a log that a flood of them does not fill."""

from __future__ import annotations

import logging
from collections import Counter

from agent.supervise import Episode

log = logging.getLogger(__name__)

EPISODES_MAX = 256
QUIET_S = 600.0


class Refused(ValueError):  # noqa: N818 - a verdict on a datagram, not an error of ours
    """A datagram that is not used. `counter` says why in one word, the text in a sentence."""

    def __init__(self, counter: str, text: str) -> None:
        super().__init__(text)
        self.counter = counter


class Refusals:
    """Says the first datagram of a kind from a source, and when that source has been quiet for QUIET_S.

    At most EPISODES_MAX sources and kinds are told apart; whatever comes beyond shares one episode a
    kind. `counters` is the line's own.
    """

    def __init__(self, line: str, counters: Counter[str]) -> None:
        self._line, self._counters = line, counters
        self._episodes: dict[tuple[str, str], tuple[Episode, float]] = {}

    def add(self, refused: Refused, source: str, now_s: float) -> None:
        """Count one; `now_s` is monotonic."""
        self._counters[refused.counter] += 1
        key = (source, refused.counter)
        if key not in self._episodes and len(self._episodes) >= EPISODES_MAX:
            key = ("others", refused.counter)
        episode, _ = self._episodes.get(key) or (Episode(log, f"line {self._line}, from {key[0]}"), 0.0)
        self._episodes[key] = (episode, now_s)
        episode.failed(f"{refused} (others like it: counter '{refused.counter}')")

    def tick(self, now_s: float) -> None:
        """End the episodes of those that have been quiet."""
        over = [key for key, (_, last_s) in self._episodes.items() if now_s - last_s > QUIET_S]
        for key in over:
            episode, _ = self._episodes.pop(key)
            episode.ended()
