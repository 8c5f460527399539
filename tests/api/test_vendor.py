import hashlib
import re

import pytest

from reconciler.api.pages import STATIC

VENDOR = STATIC / "vendor"
SUMS = {line.split()[1]: line.split()[0] for line in (VENDOR / "SHA256SUMS").read_text().splitlines()}
MODULES = sorted(path for path in STATIC.rglob("*.js") if path.parent != VENDOR)


def test_every_library_has_its_sum_and_its_licence() -> None:
    names = {path.name for path in VENDOR.iterdir()} - {"README.md", "SHA256SUMS"}
    assert names == set(SUMS)
    described = (VENDOR / "README.md").read_text()
    assert [name for name in names if f"`{name}`" not in described] == []


@pytest.mark.parametrize("name", SUMS)
def test_a_library_is_as_its_package_has_it(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == SUMS[name]


def test_what_a_module_imports_is_there() -> None:
    wanted = {
        (path, (path.parent / found).resolve())
        for path in MODULES
        for found in re.findall(r"""^(?!//).*(?:from|import\(|URL\()\s*"([^"]+)\"""", path.read_text(), re.MULTILINE)
    }
    assert len(wanted) > len(MODULES)
    assert [(path.name, target.name) for path, target in wanted if not target.is_file()] == []


def test_no_module_takes_text_for_html() -> None:
    ways = re.compile(
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|eval|new Function)\b"
    )
    found = {
        path.name: [line for line in path.read_text().splitlines() if ways.search(line) and not line.startswith("//")]
        for path in MODULES
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_nothing_is_fetched_from_elsewhere() -> None:
    files = [*MODULES, *STATIC.glob("*.css"), STATIC / "index.html"]
    elsewhere = re.compile(r"""(?:src|href)="(?:https?:)?//|url\(["']?(?:https?:)?//|import[^;]*["']https?://""")
    assert [path.name for path in files if elsewhere.search(path.read_text())] == []
