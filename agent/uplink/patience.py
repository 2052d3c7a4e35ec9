"""How long an uplink waits where only time tells something. A test is less patient."""

from __future__ import annotations

from typing import NamedTuple


class Patience(NamedTuple):
    """All in seconds, but for `rival_lives_max`."""

    held_first_s: float = 5.0  # before a held device is tried again; doubles up to
    held_most_s: float = 600.0
    after_loss_s: float = 2.0  # a reading that ends the connection is not tried at once: the others go first
    greetings_check_s: float = 5.0
    rest_s: float = 5.0  # without any news a link is looked after so often
    rival_wait_s: tuple[float, float] = (5.0, 15.0)  # two boxes that fight every second help nobody
    rival_lives_max: int = 5  # short lives of a connection, before a rival is suspected
    hiccup_s: float = 5.0  # a primary that waits longer with something to deliver is not well
    steady_s: float = 30.0  # a primary is well for so long (or takeover_s) before its standby gives back


PATIENT = Patience()
