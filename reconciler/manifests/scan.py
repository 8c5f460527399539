"""Which manifest files there are below a folder."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.core.clean import escaped

SUFFIXES = (".yaml", ".yml")
"""What the name of a manifest file ends in."""


class SuffixError(OSError):
    """The name of a file ends in something like `.YAML`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"its name ends in {name[name.rindex('.') :]}: let it end in .yaml, or in something else")


@dataclass(slots=True)
class Scan:
    """The manifest files below a folder, with their versions."""

    root: Path
    files: dict[str, os.stat_result | OSError] = field(default_factory=dict)
    """By path relative to the root. An error: it is there, but cannot be asked."""
    devices: dict[str, int] = field(default_factory=dict)
    """The file system of each folder, by path relative to the root, with a `/` behind it."""
    failed: str = ""
    _links: list[tuple[str, str]] = field(default_factory=list)
    _visited: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> "Scan":
        """Real folders first: a folder that links reach too is read under its own name, and only once."""
        pending = [(str(self.root), "")]
        while pending:
            path, prefix = pending.pop()
            try:
                found = os.stat(path)  # noqa: PTH116 - measured: pathlib doubles the cost of a look
                if (found.st_dev, found.st_ino) not in self._visited:
                    self._visited.add((found.st_dev, found.st_ino))
                    self.devices[prefix] = found.st_dev
                    pending += sorted(self._folder(path, prefix), reverse=True)
            except OSError as error:
                if prefix and isinstance(error, FileNotFoundError):
                    continue  # gone since it was listed, or a link to nowhere
                self.failed = self.failed or _failure(path, error)
            if not pending and self._links:
                pending, self._links = sorted(self._links, reverse=True), []
        return self

    def _folder(self, path: str, prefix: str) -> Iterator[tuple[str, str]]:
        """Notes the folder's files and links to folders, yields its real folders."""
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name[0] in ".#" or name[-1] == "~":
                    continue
                if name.endswith(SUFFIXES):
                    self._file(entry, prefix + name)
                elif name.lower().endswith(SUFFIXES):
                    self.files[prefix + name] = SuffixError(name)
                elif entry.is_dir(follow_symlinks=False):
                    yield entry.path, f"{prefix}{name}/"
                elif entry.is_symlink():
                    self._link(entry, prefix + name)

    def _file(self, entry: "os.DirEntry[str]", relative: str) -> None:
        try:
            self.files[relative] = entry.stat()
        except FileNotFoundError as error:
            if entry.is_symlink():
                self.files[relative] = error
        except OSError as error:
            self.files[relative] = error

    def _link(self, entry: "os.DirEntry[str]", relative: str) -> None:
        if _leads_to_folder(entry):
            self._links.append((entry.path, f"{relative}/"))
        elif not os.path.lexists(os.path.realpath(entry.path)):
            # A folder of manifests may have been there, on a volume that is away.
            self.files[relative] = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.path)


def _leads_to_folder(link: "os.DirEntry[str]") -> bool:
    try:
        return link.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _failure(path: str, error: OSError) -> str:
    path = escaped(path)
    if isinstance(error, FileNotFoundError):
        return f"{path}: the folder is missing: make it, or name another one; until then what runs goes on"
    if isinstance(error, NotADirectoryError):
        return f"{path}: this is no folder: name the folder that holds the manifests; until then what runs goes on"
    return f"{path}: the folder cannot be read ({error.strerror}): let this user read and enter it (chmod u+rx)"
