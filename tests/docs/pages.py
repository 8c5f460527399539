"""The project's documents, taken apart: code blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL_ENDS = {"|", "&&", "||", ";", "&", ">", "<", ")", "("}


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    text: str
    heading: str
    """The heading above it."""

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """A page's path from the top of the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(language: str, page: Path | None = None) -> list[Block]:
    """All blocks of a language, of one page or of all."""
    return [found for each in ([page] if page else PAGES) for found in _blocks(each) if found.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        above = text[: found.start()]
        headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", above), re.MULTILINE)
        yield Block(page, above.count("\n") + 1, found["language"], found["text"], headings[-1] if headings else "")


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def reconciler_commands() -> list[tuple[str, list[str]]]:
    """Every `reconciler …` of shell blocks and inline code: its place, and its arguments."""
    found = [(str(block), line) for block in blocks("sh") for line in block.text.splitlines()]
    for page in PAGES:
        found += [(name_of(page), code) for code in re.findall(r"`([^`\n]+)`", prose(page))]
    return [(place, arguments) for place, line in found for arguments in _calls(line)]


def _calls(line: str) -> Iterator[list[str]]:
    """The arguments of each call of reconciler in a line of shell."""
    try:
        lexer = shlex.shlex(line.replace("$(", " ( "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return
    for index, word in enumerate(words):
        begins = word == "reconciler" and (index == 0 or words[index - 1] in _SHELL_ENDS)
        if (begins or word.endswith("bin/reconciler")) and index + 1 < len(words):
            rest = words[index + 1 :]
            yield rest[: next((at for at, each in enumerate(rest) if each in _SHELL_ENDS), len(rest))]
