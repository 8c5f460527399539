"""The text of `/metrics`. It needs prometheus-client, which is slow to import: only who is asked for figures has it."""

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric

from reconciler.api.controller import Controller
from reconciler.api.own_figures import own_families, source_families
from reconciler.api.server_figures import server_families
from reconciler.api.views import Views

CONTENT_TYPE = CONTENT_TYPE_LATEST


def parts(controller: Controller, views: Views) -> Iterator[bytes]:
    """One family after the other, as text; each is made when it is asked for."""
    return (generate_latest(Alone(family)) for family in _families(controller, views))


def _families(controller: Controller, views: Views) -> Iterator[Metric]:
    meter = controller.meter
    yield from own_families(views.summary(), controller.counts)
    yield from source_families(views.standing.sources)
    yield from server_families(views.servers(), meter.latest() if meter else {}, meter.cpu_seconds() if meter else {})


class Alone:
    """One family as a registry has several."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """It."""
        return (self._family,)
