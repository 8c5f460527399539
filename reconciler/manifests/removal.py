"""A document taken out of its file."""

from collections.abc import Sequence

from reconciler.manifests.text import Chunk, is_blank, lines, split


def without(text: str, chunk: Chunk) -> str | None:
    """A file's text without one of its documents; None when nothing is left that is worth a file.

    What stands between its markers goes with it, but for what is set off by a blank line: comments at the file's top,
    and those below it at the left edge, which are about what follows. Of a file's only document they are its own.
    """
    chunks = split(text)
    index = next(number for number, one in enumerate(chunks) if one.start == chunk.start)
    rest = [one for one in chunks if one is not chunks[index]]
    if not any(one.content_line for one in rest) and not any("#" in one.text for one in rest[bool(index) :]):
        return None
    start, end = _bounds(text, chunks, index)
    before = text[:start]
    if not any(one.content_line for one in chunks[index + 1 :]):
        before = _without_directives(before, chunks, index)
    return before + ("" if index else _above(chunk.text)) + _below(chunk.text) + text[end:]


def _bounds(text: str, chunks: Sequence[Chunk], index: int) -> tuple[int, int]:
    """The document with the marker that parts it from its neighbour."""
    chunk = chunks[index]
    if index and not chunk.on_marker:
        return chunks[index - 1].end, chunk.end
    if chunk.closed and not index and text[chunk.end : chunks[1].start].strip() in ("---", "..."):
        return chunk.start, chunks[1].start
    return chunk.start, chunk.end


def _above(text: str) -> str:
    """The comments above a document, down to the last blank line between them and its content."""
    found = lines(text)
    end = next((number for number, line in enumerate(found) if not is_blank(line)), 0)
    while end and found[end - 1].strip():
        end -= 1
    return _if_comments(found[:end])


def _below(text: str) -> str:
    """The comments below a document at the left edge, from the first blank line between them and its content."""
    found = lines(text)
    begin = len(found)
    while begin and is_blank(found[begin - 1]) and not (found[begin - 1].strip() and found[begin - 1][0] in " \t"):
        begin -= 1
    while begin < len(found) and found[begin].strip():
        begin += 1
    return _if_comments(found[begin:])


def _if_comments(found: Sequence[str]) -> str:
    return "".join(found) if any("#" in line for line in found) else ""


def _without_directives(before: str, chunks: Sequence[Chunk], index: int) -> str:
    """A directive that no document follows is an error."""
    if not index or chunks[index - 1].content_line:
        return before
    above = chunks[index - 1]
    return before[: above.start] + "".join(line for line in lines(above.text) if not line.startswith("%"))
