"""Documents that want one port: who changed gives way. In time that grows with their number, not with its square."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from reconciler.core.model import Document, Problem
from reconciler.core.ports import ANY_ADDRESS, addresses

RIVALS = 3
"""Most rivals that a document's problems name one by one."""
Sharing = dict[str, Document]
"""Documents by name."""


def without_port_clashes(
    accepted: Mapping[str, Document],
    candidates: Mapping[str, Document],
    problems: dict[str, list[Problem]],
    is_selected: Callable[[Document], bool] = lambda _: True,
) -> dict[str, Document]:
    """What would be in force; a candidate that clashes gives way to its last accepted form, round by round.

    Only servers that are selected, and not suspended, need their ports.
    """
    effective = {**{name: accepted[name] for name in accepted if name in problems}, **candidates}
    by_port: dict[int, Sharing] = defaultdict(dict)
    for document in effective.values():
        _put(by_port, document, is_selected)
    told: dict[str, list[Problem]] = defaultdict(list)
    doubtful = list(by_port)
    while doubtful:
        yielding = {}
        for document, rivals in (clash for port in doubtful for clash in _clashes(by_port[port])):
            _tell(told[document.name], document, rivals)
            if not _is_unchanged(document, accepted.get(document.name)):
                yielding[document.name] = document
        returned = [_give_way(document, accepted, effective, by_port) for document in yielding.values()]
        doubtful = list(dict.fromkeys(_put(by_port, document, is_selected) for document in returned if document))
    for name, found in told.items():
        problems[name].extend(found)
    return effective


def clashing(documents: Iterable[Document]) -> Iterator[tuple[Document, Document]]:
    """Servers that could not all run at once, each with one that wants its port."""
    by_port: dict[int, Sharing] = defaultdict(dict)
    for document in documents:
        _put(by_port, document, lambda _: True)
    for sharing in by_port.values():
        for document, rivals in _clashes(sharing):
            yield document, next(rival for name, rival in rivals.items() if name != document.name)


def _put(by_port: dict[int, Sharing], document: Document, is_selected: Callable[[Document], bool]) -> int:
    """The port on which the document now is; 0 for none that it must have."""
    port = document.spec.port
    if not isinstance(port, int) or document.spec.suspend or not is_selected(document):
        return 0
    by_port[port][document.name] = document
    return port


def _give_way(
    document: Document, accepted: Mapping[str, Document], effective: dict[str, Document], by_port: dict[int, Sharing]
) -> Document | None:
    """The accepted form in its place, if there is one."""
    name, port = document.name, document.spec.port
    assert isinstance(port, int)
    del by_port[port][name]
    if name not in accepted:
        del effective[name]
        return None
    effective[name] = accepted[name]
    return accepted[name]


def _is_unchanged(document: Document, before: Document | None) -> bool:
    return before is not None and document.says_the_same(before)


def _clashes(sharing: Sharing) -> Iterator[tuple[Document, Sharing]]:
    """Those of one port that cannot all have it, each with all that want it at its address, itself among them."""
    at: dict[str, Sharing] = defaultdict(dict)
    for name, document in sharing.items():
        for address in addresses(document.spec.host):
            at[address][name] = document
    rivals: dict[frozenset[str], Sharing] = {}
    for document in sharing.values():
        own = addresses(document.spec.host)
        if own not in rivals:
            everywhere = ANY_ADDRESS in own
            rivals[own] = sharing if everywhere else _together(at[address] for address in (*sorted(own), ANY_ADDRESS))
        if len(rivals[own]) > 1:
            yield document, rivals[own]


def _together(parts: Iterable[Sharing]) -> Sharing:
    return {name: document for part in parts for name, document in part.items()}


def _tell(told: list[Problem], document: Document, rivals: Sharing) -> None:
    if len(told) > RIVALS:
        return
    for name, rival in rivals.items():
        found = _problem(document, _wanted_by(rival))
        if name == document.name or found in told:
            continue
        if len(told) == RIVALS:
            told.append(_problem(document, f"{len(rivals) - 1} others want port {document.spec.port} in all"))
            return
        told.append(found)


def _wanted_by(rival: Document) -> str:
    return (
        f"server '{rival.name}' ({rival.file}:{rival.line}) wants port {rival.spec.port} too; "
        "give one of them another port, or port: auto"
    )


def _problem(document: Document, message: str) -> Problem:
    place = document.port_line
    return Problem(document.file, message, *place, "spec.port", document.name, document.kind, labels=document.labels)
