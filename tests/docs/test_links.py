"""Relative links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of, prose

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
LINKS = [
    (page, found["target"])
    for page in PAGES
    for found in LINK.finditer(prose(page))
    if not found["target"].startswith(("http://", "https://"))
]


def test_there_are_links() -> None:
    assert len(LINKS) > 20


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{name_of(page)}-{target}" for page, target in LINKS])
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.is_relative_to(ROOT)
    assert linked.exists()
    if anchor:
        assert anchor in {_slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(linked), re.MULTILINE)}


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_is_an_orphan(page: Path) -> None:
    """Every page can be reached from the README or from one that links to it."""
    if page.name == "README.md" or page.parent.name == "decisions":
        return
    assert page in {(other.parent / target.partition("#")[0]).resolve() for other, target in LINKS if other != page}
