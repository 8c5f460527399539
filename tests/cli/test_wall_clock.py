"""The wall clock is for people: the ages they are told follow it, and one that was set back is no reason to fail."""

from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from tests.cli.conftest import Call
from tests.cli.filling import START, Filling

BEGAN = datetime.fromtimestamp(START, UTC)


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (timedelta(seconds=4.2), "4.2s ago"),
        (timedelta(minutes=3), "3m ago"),
        (timedelta(days=2, hours=5), "2d5h ago"),
        (timedelta(hours=-1), "0ms ago"),  # set back since
    ],
)
def test_ages_of_events(filling: Filling, call: Call, later: timedelta, told: str) -> None:
    filling.event("coder", "Crashed", "signal 9", warning=True)
    with freeze_time(BEGAN + later):
        assert told in call("get", "events").out
