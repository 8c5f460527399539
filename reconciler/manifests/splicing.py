"""One change to one document's text: the few characters that have to be others, and nothing else.

What comes out of here is not trusted: `changing` reads it again.
"""

from dataclasses import dataclass
from typing import Any

from reconciler.manifests import emit
from reconciler.manifests.nodes import Path
from reconciler.manifests.outline import Entry, Spot, outline
from reconciler.manifests.page import Page, SpliceError
from reconciler.manifests.removing import remove


def spliced(text: str, at: Path, after: Any, *, removed: bool = False, literal: bool = True) -> str:
    """The text with one value put in, exchanged or removed. `after` is the whole document's data then.

    `literal`: text of several lines is written on several lines. Raises SpliceError.
    """
    return _Splice(text, after, literal=literal).run(at, removed=removed)


@dataclass(slots=True)
class _Place:
    """An entry, and the mapping or list it is in."""

    within: Spot
    entry: Entry


class _Splice:
    def __init__(self, text: str, after: Any, *, literal: bool) -> None:
        self._page = Page(text)
        self._root = outline(text)
        self._after = after
        self._literal = literal

    def run(self, at: Path, *, removed: bool) -> str:
        holder: _Place | None = None
        spot = self._root
        for depth, part in enumerate(at, 1):
            last = depth == len(at)
            entry = spot.own(part)
            if last and removed and (merge := spot.merged(part)):
                raise SpliceError("it comes, too, with this '<<'", merge.start)
            if holder and spot.kind == "alias":
                self._break(holder, part, _look_up(self._after, at[: depth - 1]), whole=removed)
                break
            if entry is None:
                self._add(spot, part, _look_up(self._after, at[:depth]))
                break
            if last and removed:
                remove(self._page, spot, entry, holder.entry if holder else None)
            elif last:
                self._replace(_Place(spot, entry), _look_up(self._after, at))
            holder, spot = _Place(spot, entry), entry.value
        return self._page.result()

    # -- something new

    def _break(self, place: _Place, part: str | int, value: Any, *, whole: bool) -> None:
        """In place of an alias: a mapping that merges what it refers to, else all of it written out."""
        alias = place.entry.value
        if whole or not isinstance(value, dict):
            self._replace(place, value)
        else:
            name = str(part)
            own = emit.inline({name: value[name]})
            self._page.put(alias.start, alias.end, f"{{<<: *{alias.text}, {own[1:]}")

    def _add(self, spot: Spot, part: str | int, value: Any) -> None:
        if spot.style == "flow":
            self._add_to_flow(spot, part, value)
            return
        last = spot.entries[-1]
        column = self._page.column(spot.entries[0].start)
        if spot.kind == "sequence":
            new = [f"{' ' * column}- {emit.inline(value)}"]
        else:
            new = emit.pair(str(part), value, column, self._step(spot), literal=self._literal)
        self._page.put_lines(self._page.behind_comments(last.end, column), new)

    def _add_to_flow(self, spot: Spot, part: str | int, value: Any) -> None:
        new = emit.inline(value)
        if spot.kind == "mapping":
            new = emit.inline({str(part): value})[1:-1]
        if spot.entries:
            end = spot.entries[-1].end
            # `a:,` would be a name.
            blank = " " * (spot.entries[-1].sign == end)
            self._page.put(end, end, f"{blank}, {new}")
        else:
            behind = self._page.text.index("{" if spot.kind == "mapping" else "[", spot.start) + 1
            self._page.put(behind, behind, new)

    # -- something else in its place

    def _replace(self, place: _Place, value: Any) -> None:
        entry, old, page = place.entry, place.entry.value, self._page
        head, below = self._written(place, value)
        if entry.sign < 0 and old.is_empty:
            self._begin_value(place, head)
            return
        start, end = page.head_of(entry)
        head = " ".join(filter(None, [f"&{old.anchor}" if old.anchor else "", head]))
        if start == end and head:
            head = f" {head}"
        elif not head:
            start = entry.sign
        page.put(start, end, head)
        if below or end < old.end:
            page.put_lines(end, below, max(end, old.end))

    def _written(self, place: _Place, value: Any) -> tuple[str, list[str]]:
        """What goes behind the sign, and the lines below it."""
        entry, old, page = place.entry, place.entry.value, self._page
        quote = old.style if old.style in ("'", '"') else ""
        start, end = page.head_of(entry)
        beside = page.share_line(entry.sign, start) and (start == end or not old.is_block or end < old.end)
        if place.within.style or entry.key is None or entry.sign < 0 or not beside:
            return emit.inline(value, quote), []
        column = page.column(place.within.entries[0].start)
        return emit.behind_key(value, column, self._step(place.within), quote, literal=self._literal)

    def _begin_value(self, place: _Place, head: str) -> None:
        """A key that stands alone gets its colon too."""
        end = place.entry.end
        if place.within.style == "flow":
            self._page.put(end, end, f": {head}")
        else:
            column = self._page.column(place.entry.start)
            self._page.put_lines(end, [f"{' ' * column}: {head}"])

    def _step(self, within: Spot) -> int:
        """How much deeper what is in a mapping stands, as it is done here, else in this document."""
        found = [
            self._page.column(entry.value.entries[0].start) - self._page.column(one.entries[0].start)
            for one in (within, *self._root.walk())
            if one.kind == "mapping" and one.is_block
            for entry in one.entries
            if entry.value.kind == "mapping" and entry.value.is_block
        ]
        return next((step for step in found if step > 0), 2)


def _look_up(data: Any, at: Path) -> Any:
    for part in at:
        data = data[int(part) if isinstance(data, list) else str(part)]
    return data
