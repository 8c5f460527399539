"""The state folders, manifests and settings that earlier versions left, laid out for a test."""

import os
import sqlite3
from pathlib import Path

FOLDER = Path(__file__).parent / "specimens"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
HOME = "/tmp/reconciler-specimen"
"""The folder that they were taken in."""


def lay_out(name: str, root: Path, *, home: str = HOME) -> Path:
    """A specimen's files below `root`, as if it had been taken in `home`; the state folder."""
    source, state = FOLDER / name, root / "state"
    state.mkdir(parents=True)
    for path in source.rglob("*"):
        if path.suffix in (".yaml", ".toml"):
            target = root / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace(HOME, home))
            os.utime(target, (0, 0))  # long ago: a fresh file is waited for
    if (source / "installation").exists():
        identity, *folder = (source / "installation").read_text().splitlines()
        told = [identity, *(str(state.resolve()) for _ in folder)]
        (state / "installation").write_text("\n".join(told) + "\n")
    with sqlite3.connect(state / "state.db") as db:
        db.executescript((source / "state.sql").read_text().replace(HOME, home))
        db.execute("pragma journal_mode = wal")
        # Elsewhere it would be another installation.
        db.execute("update meta set value = ? where key = 'installationFolder'", [str(state.resolve())])
    db.close()
    return state
