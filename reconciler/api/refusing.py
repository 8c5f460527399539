"""What the controller refuses of an act, as problem documents."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.problems import ProblemError
from reconciler.core.refusals import EditRefusedError
from reconciler.manifests.changing import EditError

STATUS: Mapping[str, int] = {
    "BadPath": 400,
    "LinkedOut": 403,
    "NoManifest": 404,
    "ManifestChanged": 412,
    "TooLarge": 413,
    "InvalidManifest": 422,
    "ManifestUnwritable": 503,
    "ManifestUnreadable": 503,
}
"""By reason; all others are conflicts with what there is."""
CONFLICT = 409

Endpoint = Callable[[Request], Awaitable[Response]]


def told(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with what it refuses as a problem."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except EditRefusedError as error:
            status = STATUS.get(error.reason, CONFLICT)
            more = {"problems": error.problems} if error.problems or status == 422 else {}
            raise ProblemError(status, error.reason, error.happened, error.do, **more) from None

        except EditError as error:
            raise ProblemError(400, "BadField", error.message, error.remedy) from None

    return answer
