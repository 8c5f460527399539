"""Keys and items taken out of one document's text."""

from reconciler.manifests.outline import Entry, Spot
from reconciler.manifests.page import Page, SpliceError


def remove(page: Page, within: Spot, entry: Entry, holder: Entry | None) -> None:
    """Wants an entry away; `holder` is that of which the mapping or list `within` is the value.

    Comments above it stay, and the one behind it goes. Raises SpliceError.
    """
    if within.style == "flow":
        _remove_from_flow(page, within, entry)
    elif len(within.entries) == 1:
        _remove_last(page, within, entry, holder)
    elif page.leads(entry.start):
        page.put(page.line_start(entry.start), page.behind_line(entry.end), "")
    else:
        # It stands behind a dash, and so will the next one then.
        following = within.entries[within.entries.index(entry) + 1]
        if page.text[entry.end : following.start].strip():
            raise SpliceError("a comment stands between it and what would take its place", entry.start)
        page.put(entry.start, following.start, "")


def _remove_last(page: Page, within: Spot, entry: Entry, holder: Entry | None) -> None:
    """Without entries, a mapping has to be written as one."""
    if holder is None:
        raise SpliceError("nothing would be left", entry.start)
    empty = "{}" if within.kind == "mapping" else "[]"
    if not page.leads(entry.start):
        page.put(entry.start, entry.end, empty)
        return
    _, behind = page.head_of(holder)
    page.put(behind, behind, f" {empty}")
    page.put(page.line_start(entry.start), page.behind_line(entry.end), "")


def _remove_from_flow(page: Page, within: Spot, entry: Entry) -> None:
    index = within.entries.index(entry)
    start, end = entry.start, max(entry.comma, entry.end)
    before = within.entries[index - 1].end if index else start
    if entry is not within.entries[-1]:
        following = within.entries[index + 1].start
        if page.share_line(end, following) and not page.text[end:following].strip(" \t"):
            end = following
    elif index and not page.text[before:start].strip(" \t,"):
        start = before
        end = entry.end
    if page.leads(start):
        end += len(page.text[end:]) - len(page.text[end:].lstrip(" \t"))
        if page.text[end : end + 1] in ("", "#", "\r", "\n"):
            start, end = page.line_start(start), page.behind_line(end)
    page.put(start, end, "")
