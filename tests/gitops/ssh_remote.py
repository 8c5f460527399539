"""Repositories behind a real SSH server on loopback."""

import asyncio
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from tests.gitops.remotes import _ENVIRON


@dataclass(frozen=True)
class SshRemote:
    """A server that lets one key in and runs `git-upload-pack`, nothing else."""

    port: int
    key_file: Path
    other_key_file: Path
    """Of somebody who is not let in."""
    known_hosts_file: Path

    def url(self, repository: Path) -> str:
        """The address of a repository on this machine."""
        return f"ssh://git@127.0.0.1:{self.port}{repository}"


async def _serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    words = shlex.split(process.command or "")
    if len(words) != 2 or words[0] != "git-upload-pack":
        process.exit(1)
        return
    child = await asyncio.create_subprocess_exec(
        *words,
        env=_ENVIRON,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr
    asking = asyncio.create_task(_copy(process.stdin, child.stdin))
    await asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    process.exit(await child.wait())


async def _copy(source: Any, target: Any) -> None:
    with suppress(asyncssh.Error, OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()


async def _listen(host_key: asyncssh.SSHKey, allowed: asyncssh.SSHAuthorizedKeys) -> asyncssh.SSHAcceptor:
    return await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=allowed,
        process_factory=_serve,
        encoding=None,
        password_auth=False,
        kbdint_auth=False,
    )


@contextmanager
def ssh_remote(folder: Path) -> Iterator[SshRemote]:
    """Serve on a free port; keys and known hosts are written to a folder."""
    host_key, key, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    files = [folder / "key", folder / "other"]
    for file, private in zip(files, (key, other), strict=True):
        file.touch(0o600)
        file.write_bytes(private.export_private_key())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    allowed = asyncssh.import_authorized_keys(key.export_public_key().decode())
    server = asyncio.run_coroutine_threadsafe(_listen(host_key, allowed), loop).result(10)
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.get_port()} {host_key.export_public_key().decode()}")
    try:
        yield SshRemote(server.get_port(), files[0], files[1], known)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncssh.SSHAcceptor) -> None:
    server.close()
    await server.wait_closed()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
