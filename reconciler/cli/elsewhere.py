"""What no file of the manifests folder declares: where it is, and what to type."""

from typing import TYPE_CHECKING

from reconciler.cli.failure import BAD_INPUT, Failure, database_trouble, did_you_mean
from reconciler.cli.judging import Item, name_of
from reconciler.cli.sources import followed, held, is_from_git
from reconciler.cli.standing import opened
from reconciler.cli.targets import KINDS, SERVER, Target
from reconciler.core.kinds import PROFILE
from reconciler.core.source import PREFIX
from reconciler.installation import holds_one
from reconciler.manifests import edit
from reconciler.manifests.identity import identify
from reconciler.store import read

if TYPE_CHECKING:
    from reconciler.cli.drafts import Draft


def why_not_here(draft: "Draft", target: Target) -> Failure:
    """Why a document cannot be edited that no file declares. Raises Failure where the state cannot be read."""
    if not draft.root.is_dir() and not draft.present():
        message = f"the manifests folder {draft.root} does not exist"
        return Failure(message, "make a first manifest: reconciler create server NAME --model FILE")
    items = draft.present() if target.kind == SERVER else _others(draft, target.kind)
    if (item := items.get(target.name)) and is_from_git(item):
        return _from_git(draft, target, item)
    if item and target.kind == SERVER:
        why = held(item) or "its document is gone from the manifests"
        hint = f"write it again: reconciler apply -f FILE, or let it go: reconciler delete server/{target.name}"
        return Failure(f"{target.words} has no manifest to edit: {why}", hint)
    known = [*items, *(name for kind, name in _declared(draft) if kind == target.kind)]
    message = f"no {target.words}{did_you_mean(target.name, known)}"
    listing = f"{KINDS.get(target.kind, 'server').rstrip('s')}s"
    return Failure(message, f"see which there are with: reconciler get {listing}")


def place_in_git(draft: "Draft", item: Item) -> str:
    """The file, and the repository, that declare what comes from there."""
    where = followed(draft.state, draft.settings)
    return f"{str(item['metadata']['source']['file']).removeprefix(PREFIX)}{f' in {where}' if where else ''}"


def _from_git(draft: "Draft", target: Target, item: Item) -> Failure:
    message = f"{target.words} comes from Git; change it there: {place_in_git(draft, item)}"
    hint = "commit the change, and then: reconciler sync"
    if target.kind == SERVER:
        hint += f"; until then there is: reconciler stop {target.name}"
    return Failure(message, hint, exit_code=BAD_INPUT)


def _others(draft: "Draft", kind: str) -> dict[str, Item]:
    """What was accepted of another kind, by name."""
    if not holds_one(draft.state):
        return {}
    with database_trouble(draft.state), opened(draft.state) as db:
        found = read.profiles(db) if kind == PROFILE else read.defaults(db)
    return {name_of(item): item for item in found}


def _declared(draft: "Draft") -> list[tuple[str, str]]:
    """Kind and name of all documents, broken or not."""
    texts = (source.content.decode(errors="replace") for source in draft.sources(edited=False))
    return [identify(document) for text in texts for _, document in edit.document_texts(text)]
