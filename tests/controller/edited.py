"""A whole controller in the test's own process, over manifests that start nothing."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from reconciler.controller.daemon import Daemon
from reconciler.settings import load_settings
from tests.controller.answering import until


def server(name: str, **spec: object) -> str:
    """A manifest with a comment in it; suspended unless told."""
    lines = "".join(f"  {key}: {value}\n" for key, value in {"model": "m.gguf", "suspend": "true", **spec}.items())
    return (
        "# who needs it\napiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\n"
        f"metadata:\n  name: {name}\nspec: # what runs\n{lines}"
    )


def profile(name: str, *servers: str, active: bool = False) -> str:
    """A manifest of a profile."""
    chosen = ", ".join(servers)
    return (
        f"apiVersion: llama.reconciler/v1alpha1\nkind: Profile\nmetadata:\n  name: {name}\n"
        f"spec:\n  servers: [{chosen}]\n  active: {str(active).lower()}\n"
    )


@asynccontextmanager
async def controlled(root: Path, settings: str = "", *, follows: bool = False) -> AsyncIterator[Daemon]:
    """Its folders are below `root`; `settings` is the text of its file. `follows`: a Git source too."""
    # As a controller of its own does: files that nobody writes to are then used at once.
    before = signal.signal(signal.SIGIO, lambda *_: None)
    (root / "state").mkdir()
    (root / "reconciler.toml").write_text(settings)
    folders = {f"RECONCILER_{name.upper()}": str(root / name) for name in ("state", "manifests", "models")}
    daemon = Daemon(load_settings(folders, str(root / "reconciler.toml")), {}, 0o022)
    looping = asyncio.create_task(daemon.loop.run())
    if follows:
        daemon._syncing.start()
        await daemon._syncing.first()
    daemon.poke()
    await until(lambda: daemon.loop.passes)
    try:
        yield daemon
    finally:
        looping.cancel()
        daemon._syncing.close()
        daemon._launcher.flags.close()
        daemon.loop.close()
        daemon._store.close()
        signal.signal(signal.SIGIO, before)
