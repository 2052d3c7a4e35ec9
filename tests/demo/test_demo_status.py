"""The status line of the demo."""

from agent.demo.status import status_line


def test_status_line() -> None:
    numbers = {
        "readings_per_s": 4.5, "values_per_s": 61, "stored": 1_234_567, "forwarded": 1200.0,
        "backlog": 0, "center_received": 1199,
    }  # fmt: skip
    assert status_line(numbers) == (
        "4.5 readings/s | 61 values/s | stored 1 234 567 | forwarded 1 200 | backlog 0"
        " | centre received 1 199"
    )


def test_unknown_numbers_are_dashes() -> None:
    assert status_line({}) == (
        "- readings/s | - values/s | stored - | forwarded - | backlog - | centre received -"
    )
