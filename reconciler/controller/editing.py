"""Edits of manifests for those who ask the controller: judged as a whole first, then written, then looked at."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.controller.drafting import Drafting, texts_shown
from reconciler.controller.loop import Loop
from reconciler.controller.manifest_files import CHANGED, ManifestFiles, about, changed_meanwhile, digest_of
from reconciler.controller.preview import as_read, check_spec, judged, problems_of
from reconciler.core.kinds import PROFILE
from reconciler.core.preview import SUSPENDED
from reconciler.core.refusals import EditRefusedError, UnknownServersError
from reconciler.core.source import GIT, PREFIX
from reconciler.core.worsening import worsened
from reconciler.manifests.changing import REMOVED, Change
from reconciler.manifests.folder import Look, overlaid

SERVER = "LlamaServer"
TRIES = 3
"""Of an edit, while another editor writes the same file."""
Answer = dict[str, Any]
Foresee = Callable[[Look], Awaitable[Answer]]
Allowed = Callable[[str | None], bool]
"""Whether a file of this digest may be written over; None: there is none."""


@dataclass(frozen=True)
class House:
    """What edits need of their controller."""

    loop: Loop
    settled: Callable[[], Awaitable[Look]]
    """What the manifests say, once the files are quiet."""
    foresee: Foresee
    """What a look would lead to, as `POST /preview` tells it."""
    ask: Callable[[str, Sequence[str]], Awaitable[list[int]]]
    """Commit a request."""
    reconcile: Callable[[], Awaitable[Answer]]
    git: str
    """Where documents of Git come from."""


class Editing:
    """Edits, one at a time. Whatever reads or writes a file does so in a thread: disks may be slow."""

    def __init__(self, house: House, files: ManifestFiles) -> None:
        self._house = house
        self._files = files
        self._one_at_a_time = asyncio.Lock()

    # -- reading

    async def manifests(self) -> list[Answer]:
        """All manifest files: what they declare, and what is wrong with them."""
        names = await asyncio.to_thread(self._files.find)
        looked, problems = self._house.loop.looked, problems_of(self._house.loop.acceptance)
        every = (*looked.documents, *looked.others)
        of_git = sorted({one.file for one in (*every, *problems) if one.file.startswith(PREFIX)})
        placed = [(name, self._files.shown(name)) for name in names] + [(file, file) for file in of_git]
        return [about(name, file, every, problems) for name, file in placed]

    async def manifest(self, name: str) -> Answer:
        """One of them with its `text`, and the `digest` that stands for it; those of Git have none here."""
        looked, problems = self._house.loop.looked, problems_of(self._house.loop.acceptance)
        every = (*looked.documents, *looked.others)
        if name.startswith(PREFIX):
            if not any(one.file == name for one in (*every, *problems)):
                raise self._none(name)
            return {**about(name, name, every, problems), "text": None, "digest": ""}
        name = await asyncio.to_thread(self._files.own_name, name)
        content = await asyncio.to_thread(self._files.read, name)
        if content is None:
            raise self._none(name)
        text, file = content.decode(errors="replace"), self._files.shown(name)
        # The file may be newer than the last pass.
        now = await asyncio.to_thread(as_read, self._house.loop.looked, file, text)
        shown = about(name, file, every, problems) if now is None else about(name, file, *now)
        return {**shown, "text": text, "digest": digest_of(content)}

    async def plan(self, texts: Mapping[str, str | None]) -> Answer:
        """What would happen with these texts of files; None: without the file."""
        draft = Drafting(self._files)
        for name, text in texts.items():
            await asyncio.to_thread(draft.put, await asyncio.to_thread(self._files.own_name, name), text)
        return await self._foresee(draft)

    # -- editing

    async def put(self, name: str, text: str | None, allowed: Allowed, *, dry_run: bool) -> Answer:
        """Write a whole file, or remove it."""
        async with self._one_at_a_time:
            draft, name = Drafting(self._files), await asyncio.to_thread(self._files.own_name, name)
            before = await asyncio.to_thread(draft.before, name)
            if not allowed(None if before is None else digest_of(before)):
                raise changed_meanwhile(self._files.shown(name))
            if text is None and before is None:
                raise self._none(name)
            if text is not None and not text.strip():
                do = "remove it with DELETE, or give it a document"
                raise EditRefusedError("InvalidManifest", f"{self._files.shown(name)} would be empty", do)
            draft.put(name, text)
            draft.put_whole.add(name)
            answer = await self._carry_out(draft, dry_run=dry_run)
            return {**answer, "digest": "" if text is None else digest_of(text.encode())}

    async def respec(self, server: str, changes: Sequence[Change], *, dry_run: bool) -> Answer:
        """Set and remove fields of a server's document."""

        async def once() -> Answer:
            return await self._carry_out(await self._respecced(server, changes), dry_run=dry_run)

        return await self._whoever_writes(once)

    async def suspend(self, server: str, *, suspended: bool, dry_run: bool) -> Answer:
        """Have a server's document say whether it rests."""
        field = ("spec", "suspend")

        async def once() -> Answer:
            draft = await self._respecced(server, [(field, True if suspended else REMOVED)])
            if not suspended and await self._rests(draft, server):
                # Where the defaults of several servers say it, only its own word helps.
                draft = await self._respecced(server, [(field, False)])
            return await self._carry_out(draft, dry_run=dry_run)

        return await self._whoever_writes(once)

    async def apply(self, text: str, *, dry_run: bool) -> Answer:
        """Put documents into the folder, each in the place of the one of its name."""

        async def once() -> Answer:
            draft = Drafting(self._files)
            await asyncio.to_thread(draft.take, text, "<request>")
            return await self._carry_out(draft, dry_run=dry_run)

        return await self._whoever_writes(once)

    async def use(self, profile: str, *, dry_run: bool) -> Answer:
        """Make a profile the active one; empty: none."""
        async with self._one_at_a_time:
            self._refuse_switch_of_git(profile)
            draft = Drafting(self._files)
            if not await asyncio.to_thread(draft.use, profile) and not self._is_active(profile):
                known = [one.name for one in self._house.loop.acceptance.others.values() if one.kind == PROFILE]
                raise UnknownServersError([profile], "profile", known)
            if dry_run:
                return await self._carry_out(draft, dry_run=True)
            return await self._switch(draft, profile)

    # -- how

    async def _whoever_writes(self, edit: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make an edit that hangs on no certain text; of what the file says then, where another editor was faster."""
        async with self._one_at_a_time:
            for _ in range(TRIES - 1):
                try:
                    return await edit()
                except EditRefusedError as error:
                    if error.reason != CHANGED:
                        raise
            return await edit()

    async def _respecced(self, server: str, changes: Sequence[Change]) -> Drafting:
        draft = Drafting(self._files)
        if not await asyncio.to_thread(draft.respec, SERVER, server, changes):
            raise self._not_here(server)
        return draft

    async def _rests(self, draft: Drafting, server: str) -> bool:
        plan = await self._foresee(draft)
        return any(one["server"] == server and one["reason"] == SUSPENDED for one in plan["changes"])

    async def _carry_out(self, draft: Drafting, *, dry_run: bool) -> Answer:
        """Judge it, and write it unless that is all that was asked for."""
        self._refuse_blind()
        await self._refuse_owned(draft)
        for name in draft.changed:
            await asyncio.to_thread(self._files.refuse_published, name)
        before, after = await self._looks(draft)
        plan = await self._house.foresee(after)
        await self._refuse_worse(draft, plan, before, after)
        files = [
            {"path": name, "written": not dry_run, "diff": await asyncio.to_thread(draft.diff, name)}
            for name in draft.changed
        ]
        if not dry_run and files:
            await asyncio.to_thread(draft.write)
            self._house.loop.poke()
            await self._house.loop.run_pass()
        first = files[0]["path"] if files else next(iter(draft.texts), None)
        diff = "".join(str(one["diff"]) for one in files)
        return {"path": first, "written": bool(files) and not dry_run, "diff": diff, "files": files, "plan": plan}

    async def _switch(self, draft: Drafting, profile: str) -> Answer:
        """Committed before the edit, it is there when the files are read: no guard asks whether that is meant."""
        house = self._house
        requests = await house.ask("profile", [profile])
        answer: Answer = {}
        try:
            answer = await self._carry_out(draft, dry_run=False)
            await house.reconcile()
        finally:
            if not (answer and self._is_active(profile)):
                # It was meant of this edit: where that fails, the next one is guarded again.
                await house.ask("profile", [])
        if not self._is_active(profile):
            raise self._held(profile)
        return {**answer, "requests": requests}

    async def _foresee(self, draft: Drafting) -> Answer:
        return await self._house.foresee((await self._looks(draft))[1])

    async def _looks(self, draft: Drafting) -> tuple[Look, Look]:
        """What the manifests say, and would say."""
        texts, look = texts_shown(self._files, draft.changed), await self._house.settled()
        # A megabyte of YAML takes seconds to read, for which no restart may wait.
        return look, await asyncio.to_thread(overlaid, look, texts, check_spec)

    # -- refusing

    def _refuse_blind(self) -> None:
        """Where the folder is away, a new one in its place would hide what it holds."""
        failed, acceptance = self._house.loop.look().failed, self._house.loop.acceptance
        every = (*acceptance.documents.values(), *acceptance.others.values())
        if failed and any(one.origin != GIT for one in every):
            raise EditRefusedError("ManifestUnreadable", failed, "mend that first: reconciler doctor")

    async def _refuse_worse(self, draft: Drafting, plan: Answer, before: Look, after: Look) -> None:
        """As files alone tell it, where what is in force still hides nothing; then what the controller knows beside."""
        edited = await asyncio.to_thread(draft.edited)
        found = worsened(await asyncio.to_thread(judged, before), await asyncio.to_thread(judged, after), edited)
        every = [problem.data for problem in found]
        # What has neither kind nor name, as text that is no YAML, is judged by its file.
        whole = {self._files.shown(name) for name in draft.put_whole}
        mine = [one for one in plan["problems"] if (one["kind"], one["server"]) in edited or one["file"] in whole]
        every += [one for one in mine if one not in every]
        if every:
            happened = f"that leads to {len(every)} error{'s' if len(every) > 1 else ''}: {every[0]['text']}"
            do = "correct it, and send it again; lines are told as they would be then"
            raise EditRefusedError("InvalidManifest", happened, do, every)

    async def _refuse_owned(self, draft: Drafting) -> None:
        """What Git declares cannot be declared in the folder too."""
        acceptance = self._house.loop.acceptance
        for kind, name in sorted(await asyncio.to_thread(draft.edited)):
            is_server = kind == SERVER
            one = acceptance.documents.get(name) if is_server else acceptance.others.get(f"{kind}/{name}")
            if one is not None and one.origin == GIT:
                what = f"server '{name}'" if is_server else f"{kind} '{name}'"
                raise self._of_git(what, one.file, "or give the new one another name")

    def _not_here(self, server: str) -> Exception:
        documents = self._house.loop.acceptance.documents
        document = documents.get(server)
        if document is None:
            return UnknownServersError([server], known=documents)
        if document.origin == GIT:
            return self._of_git(f"server '{server}'", document.file, f"until then there is: reconciler stop {server}")
        happened = f"server '{server}' has no manifest to edit: its document is gone from the manifests"
        do = f"write it again: reconciler apply -f FILE, or let it go: reconciler delete server/{server}"
        return EditRefusedError("NoManifest", happened, do)

    def _of_git(self, what: str, file: str, meanwhile: str) -> EditRefusedError:
        place = f"{file.removeprefix(PREFIX)}{f' in {self._house.git}' if self._house.git else ''}"
        happened = f"{what} comes from Git; change it there: {place}"
        return EditRefusedError("FromGit", happened, f"commit the change, and then: reconciler sync; {meanwhile}")

    def _refuse_switch_of_git(self, wanted: str) -> None:
        for one in self._house.loop.acceptance.others.values():
            active = getattr(one.spec, "active", False)
            if one.kind == PROFILE and one.origin == GIT and bool(active) != (one.name == wanted):
                what = f"profile '{one.name}', whose spec.active would have to be {str(not active).lower()},"
                raise self._of_git(what, one.file, "until then there is: reconciler stop NAME")

    def _is_active(self, profile: str) -> bool:
        selection = self._house.loop.acceptance.selection
        return selection.profile == profile and not selection.held

    def _held(self, profile: str) -> EditRefusedError:
        acceptance = self._house.loop.acceptance
        told = [one for found in acceptance.other_problems.values() for one in found if one.kind == PROFILE]
        why = str(told[0]) if told else acceptance.selection.held or acceptance.folder_problem
        asked = f"the profile '{profile}' is" if profile else "all servers are"
        happened = f"{asked} not in force: {why or 'another selection is in force still'}"
        return EditRefusedError("SelectionHeld", happened, "correct that, and ask again; see: reconciler get profiles")

    def _none(self, name: str) -> EditRefusedError:
        happened = f"there is no file {name if name.startswith(PREFIX) else self._files.shown(name)}"
        return EditRefusedError("NoManifest", happened, "see which there are: GET /api/v1/manifests")
