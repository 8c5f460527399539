"""Names of folders are written by whoever may write there."""

import os
from pathlib import Path

import pytest

from reconciler.manifests.scan import Scan


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain", "plain"),
        (b"\x1b[2J", "\\x1b[2J"),
        (b"two\nlines", "two\\nlines"),
        (b"no text \xff", "no text \\udcff"),
        ("\u202e\x9b".encode(), "\\u202e\\x9b"),
    ],
)
def test_a_folder_that_cannot_be_read_is_named_on_one_line(tmp_path: Path, name: bytes, shown: str) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / "link").symlink_to("x" * 300)
    failed = Scan(tmp_path).run().failed
    assert failed.startswith(f"{tmp_path}/{shown}: the folder cannot be read (File name too long)")
    assert failed.isprintable()
