"""Speaking with the controller: the one that runs, else one within this command."""

import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.cli.failure import BAD_INPUT, ControllerEndedError, Failure
from reconciler.core.durations import describe_duration
from reconciler.installation import is_controller_running, socket_path

if TYPE_CHECKING:
    from reconciler.settings import Settings

ANSWER_TIMEOUT = 120.0
"""Seconds for an answer: a pass may start a hundred servers."""
PREVIEW_TIMEOUT = 10.0
"""The same for what would happen: that does nothing."""
LEAST_TIMEOUT = 1.0
"""Seconds for an answer, however short `--timeout` is: a controller that is well needs a few milliseconds."""
CONNECT_TIMEOUT = 5.0
"""Seconds until somebody takes the call."""
BEGIN_TIMEOUT = 10.0
"""Seconds for a controller that holds the lock to open its socket, or to end."""
LOOK = 0.1
"""Seconds between looks for that."""
PATIENCE = 2.0
"""Seconds for a trouble of the state to pass: another program's lock may be a moment's."""
UNWRITABLE = "what the manifests say is done once that is mended; see how it goes with: reconciler get servers"
BAD_REQUEST, NOT_FOUND = 400, 404


class _SilentError(Failure):
    """It takes too long to answer."""

    def __init__(self, lasting: str) -> None:
        message = f"the controller has not answered within {lasting}; what was asked for may still be done"
        super().__init__(message, "see how it goes with: reconciler get servers -w")
        self.lasting = lasting


class Controller:
    """The interface of a running controller. All calls raise Failure."""

    def __init__(self, state: Path, *, is_here: bool = False, timeout: float | None = None) -> None:
        """`is_here`: it lives within this command, and ends with it. `timeout`: seconds for all that is asked of it."""
        self.state = state
        self.is_here = is_here
        self.began = time.monotonic()
        self._timeout = None if timeout is None or is_here else max(LEAST_TIMEOUT, timeout)
        import httpx  # noqa: PLC0415 - slow to import, and the help of a verb needs none of it

        # Plain HTTP on a socket that only its owner can open; to load the certificates would take longer than the rest.
        transport = httpx.HTTPTransport(uds=str(socket_path(state)), verify=False)
        self._client = httpx.Client(transport=transport, base_url="http://controller", trust_env=False)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def reconcile(self) -> Mapping[str, Any]:
        """Have it look at everything now; the answer comes when its actions are done and its statuses written.

        Raises Failure too where the state cannot be written, and that goes on for a while.
        """
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._post("/reconcile", {})
            if not (trouble := answer.get("stateTrouble")):
                return answer
            if time.monotonic() > until:
                raise Failure(trouble, UNWRITABLE)
            time.sleep(LOOK)

    def request(self, kind: str, servers: Sequence[str]) -> None:
        """Ask for `stop`, `start`, `restart`, `adopt`, `prune`, or for one `profile`; for none that is taken back."""
        self._post("/requests", {"kind": kind, "servers": list(servers)})

    def preview(self, documents: Sequence[Mapping[str, str]], against: str | None = None) -> Mapping[str, Any]:
        """What it would do with these documents in the folder, and with this revision of the Git source in force."""
        revision = {} if against is None else {"against": against}
        try:
            return self._post("/preview", {"documents": list(documents), **revision}, looks=against is not None)
        except _SilentError as error:
            message = f"the controller has not answered within {error.lasting}; nothing was changed"
            raise Failure(message, _log_hint(self.state)) from None

    def sync(self) -> Mapping[str, Any]:
        """Have it ask the source's remote now; the source after that, its errors in it."""
        source: Mapping[str, Any] = self._post("/sync", {}, looks=True)["source"]
        return source

    def suspend_source(self, name: str, *, suspended: bool) -> Mapping[str, Any]:
        """Ask that a source rests, or goes on; the source after that."""
        verb = "suspend" if suspended else "resume"
        source: Mapping[str, Any] = self._post(f"/sources/{quote(name)}/{verb}", {}, looks=True)["source"]
        return source

    def ui_code(self) -> Mapping[str, Any]:
        """`url` of the dashboard (empty: `problem` says why), and a `code` that is good once, for a minute."""
        return self._post("/ui-code", {})

    def _post(self, path: str, body: Mapping[str, Any], *, looks: bool = False) -> Mapping[str, Any]:
        """`looks`: at the remote of a source, for which git has time limits of its own."""
        import httpx  # noqa: PLC0415 - as above

        most = PREVIEW_TIMEOUT if path == "/preview" else ANSWER_TIMEOUT
        seconds = None if looks else most
        if self._timeout is not None:
            seconds = max(LEAST_TIMEOUT, self.began + self._timeout - time.monotonic())
        try:
            answer = self._client.post(path, json=body, timeout=httpx.Timeout(seconds, connect=CONNECT_TIMEOUT))
            data = answer.json()
        except httpx.ReadTimeout:
            # It has it already: a controller that stands still reads it as soon as it goes on.
            raise _SilentError(describe_duration(self._timeout or most)) from None
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            has_ended = isinstance(error, httpx.ConnectError | httpx.RemoteProtocolError | httpx.ReadError)
            kind = ControllerEndedError if has_ended else Failure
            raise kind(f"the controller does not answer: {what}", _log_hint(self.state)) from None
        except ValueError:
            raise Failure(f"the controller answers {answer.status_code} with no JSON", _log_hint(self.state)) from None
        if answer.is_success and isinstance(data, dict):
            return data
        text = data.get("error", "") if isinstance(data, dict) else ""
        message = text or f"the controller answers {answer.status_code}"
        if answer.status_code == BAD_REQUEST:
            raise Failure(message, exit_code=BAD_INPUT)
        if answer.status_code != NOT_FOUND:
            raise Failure(message, _log_hint(self.state))
        if isinstance(data, dict) and "unknown" in data:
            raise Failure(message, f"reconciler get {'profiles' if body.get('kind') == 'profile' else 'servers'}")
        raise Failure(message, "reconciler get sources", exit_code=BAD_INPUT)


def _log_hint(state: Path) -> str:
    return f"see what it says where it runs, and: reconciler --state {shlex.quote(str(state))} get events"


@contextmanager
def open_controller(
    state: Path, settings: Callable[[], "Settings"], verb: str, timeout: float | None = None
) -> Iterator[Controller]:
    """A controller of a state folder: the running one, else one within this command. Raises Failure.

    The settings are asked for only when this command has to be the controller; `timeout` is for a running one: seconds
    for all its answers together.
    """
    if is_controller_running(state):
        with connected(state, timeout=timeout) as controller:
            yield controller
        return
    with (
        _embedded_or_running(settings(), verb) as is_here,
        connected(state, is_here=is_here, timeout=timeout) as controller,
    ):
        yield controller


def acts_on_all(state: Path) -> bool:
    """Whether the controller that runs minds all servers, and not only those that the verb it lives within names."""
    from reconciler.controller.lock import CONVERGING, read_holder  # noqa: PLC0415 - seldom asked

    return read_holder(state).get("verb", "run") in ("run", *CONVERGING)


@contextmanager
def connected(state: Path, *, is_here: bool = False, timeout: float | None = None) -> Iterator[Controller]:
    """The controller that runs over a state folder."""
    controller = Controller(state, is_here=is_here, timeout=timeout)
    try:
        yield controller
    finally:
        controller.close()


@contextmanager
def _embedded_or_running(settings: "Settings", verb: str) -> Iterator[bool]:
    """Take the lock; when somebody else has it, wait until that one answers or has ended. Yields whether it is ours."""
    from reconciler.controller.embedded import embedded  # noqa: PLC0415 - a controller's imports take a while
    from reconciler.controller.lock import HeldError  # noqa: PLC0415
    from reconciler.store.opening import NewerDatabaseError  # noqa: PLC0415

    # What it decides is seen in the database; its log would stand between the lines of progress.
    logging.getLogger("reconciler").addHandler(logging.NullHandler())
    until = time.monotonic() + BEGIN_TIMEOUT
    while True:
        context = embedded(settings, verb)
        try:
            context.__enter__()
        except HeldError as error:
            if is_controller_running(Path(settings.state)):
                yield False
                return
            if time.monotonic() > until:
                raise Failure(str(error)) from None
            time.sleep(LOOK)
            continue
        except NewerDatabaseError as error:
            raise Failure(str(error)) from None
        break
    try:
        yield True
    finally:
        context.__exit__(None, None, None)
