from agent.hub import Hub
from agent.model import Quality, Reading
from tests.conftest import group_of

GROUP = group_of()


def test_the_image_holds_the_newest_not_the_last_to_arrive() -> None:
    hub = Hub([GROUP])
    hub.publish([Reading(GROUP, 2000, (2.0, 2.0))])
    hub.publish([Reading(GROUP, 1000, (1.0, 1.0))])
    assert hub.latest[GROUP].time_ms == 2000
    hub.publish([GROUP.bad(3000)])
    assert hub.latest[GROUP].quality is Quality.BAD


def test_every_listener_hears_every_batch_until_it_leaves() -> None:
    hub = Hub([GROUP])
    heard: list[int] = []
    leave = hub.listen(lambda batch: heard.append(len(batch)))
    hub.listen(lambda batch: heard.append(-len(batch)))
    hub.publish([Reading(GROUP, 1, (1.0, 1.0)), Reading(GROUP, 2, (1.0, 1.0))])
    leave()
    hub.publish([Reading(GROUP, 3, (1.0, 1.0))])
    assert heard == [2, -2, -1]
    assert (hub.published_readings, hub.published_values) == (3, 6)


def test_a_listener_may_leave_while_it_is_called() -> None:
    hub = Hub([GROUP])
    heard: list[str] = []

    def once(_: object) -> None:
        heard.append("once")
        leave()

    leave = hub.listen(once)
    hub.listen(lambda _: heard.append("other"))
    hub.publish([Reading(GROUP, 1, (1.0, 1.0))])
    hub.publish([Reading(GROUP, 2, (1.0, 1.0))])
    assert heard == ["once", "other", "other"]
