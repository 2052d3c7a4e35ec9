"""A ThingsBoard on real MQTT sockets, with its surprises; each is a field of `Behaviour`.

    async with FakeThingsBoard() as board:            # a gateway with the token "T0KEN" is there
        ... an agent connects to board.port ...
        assert board.centre.stored == {("meter", "p0", 1000): 1.5}

`centre` outlives `kill()` and `start()`, as the platform's database does.
"""

from tests.thingsboard.behaviour import Behaviour, Limits
from tests.thingsboard.centre import Centre, Entity
from tests.thingsboard.server import FakeThingsBoard

__all__ = ["Behaviour", "Centre", "Entity", "FakeThingsBoard", "Limits"]
