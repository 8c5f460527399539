"""Real repositories to follow: a bare one in a folder, and one behind a small HTTP server that asks for a password."""

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_ENVIRON = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/dev/null",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
}


class BareRemote:
    """A bare repository. Commits are made from memory, so that a tree may hold what no checkout could."""

    def __init__(self, folder: Path, branch: str = "main", object_format: str = "sha1") -> None:
        self.folder = folder
        self.branch = branch
        self._date = 1_700_000_000
        form = f"--object-format={object_format}"
        self.git("init", "--quiet", "--bare", f"--initial-branch={branch}", form, str(folder))

    @property
    def url(self) -> str:
        """Its `file://` address."""
        return f"file://{self.folder}"

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What a git command in it says."""
        environ = _ENVIRON | {
            "GIT_DIR": str(self.folder),
            "GIT_AUTHOR_DATE": f"{self._date} +0000",
            "GIT_COMMITTER_DATE": f"{self._date} +0000",
        }
        return subprocess.run(["git", *arguments], input=stdin, env=environ, capture_output=True, check=True).stdout

    def text(self, *arguments: str) -> str:
        """The same without the end of the line."""
        return self.git(*arguments).decode().strip()

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        subject: str = "Change",
        branch: str = "",
        *,
        parent: str | None = None,
    ) -> str:
        """Commit on top of a branch: files with their new content, None for those to remove. Its name.

        `parent` is the commit to build on instead; an empty one begins a new history. The branch is moved by force.
        """
        branch = branch or self.branch
        base = self.head(branch) if parent is None else parent
        tree = dict(self.listing(base) if base else {})
        for path, content in files.items():
            if content is None:
                del tree[path]
            else:
                tree[path] = ("100644", self.blob(content))
        return self.commit_tree(self.tree(tree), subject, branch, base)

    def commit_tree(self, tree: str, subject: str = "Change", branch: str = "", parent: str = "") -> str:
        """Commit a tree object to a branch."""
        self._date += 60
        parents = ["-p", parent] if parent else []
        commit = (
            self.git("commit-tree", tree, *parents, stdin=subject.encode("utf-8", "surrogateescape")).decode().strip()
        )
        self.git("update-ref", f"refs/heads/{branch or self.branch}", commit)
        return commit

    def head(self, branch: str = "") -> str:
        """The commit of a branch; empty when there is none."""
        return self.text("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch or self.branch}")

    def blob(self, content: str | bytes) -> str:
        """The name of a new blob."""
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", stdin=raw).decode().strip()

    def listing(self, commit: str) -> dict[str, tuple[str, str]]:
        """Mode and object of each path of a commit."""
        found = {}
        for line in self.git("ls-tree", "-r", "-z", commit).decode("utf-8", "surrogateescape").split("\0"):
            if line:
                facts, _, path = line.partition("\t")
                found[path] = (facts.split()[0], facts.split()[2])
        return found

    def tree(self, entries: Mapping[str, tuple[str, str]]) -> str:
        """The name of a new tree object, made of mode and object by path, its folders too."""
        here: dict[bytes, tuple[str, str]] = {}
        below: dict[str, dict[str, tuple[str, str]]] = {}
        for path, entry in entries.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = entry
            else:
                here[first.encode("utf-8", "surrogateescape")] = entry
        for name, inner in below.items():
            here[name.encode("utf-8", "surrogateescape")] = ("40000", self.tree(inner))
        return self.raw_tree([(mode, name, one) for name, (mode, one) in here.items()])

    def raw_tree(self, entries: list[tuple[str, bytes, str]], *, in_order: bool = True) -> str:
        """A tree object with any names, `..` and the like too: git itself refuses to write those."""
        key = {True: lambda one: one[1] + (b"/" if one[0] == "40000" else b""), False: lambda _: b""}[in_order]
        ordered = sorted(entries, key=key)
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in ordered)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw).decode().strip()


@dataclass
class HttpRemote:
    """Repositories below a folder, served over HTTP by `git http-backend` to those who know the password."""

    port: int
    user: str
    password: str
    """Empty: nobody is asked for one."""
    answers: list[tuple[str, int]] = field(default_factory=list)
    """Each request with its answer."""
    override: Callable[[BaseHTTPRequestHandler], bool] | None = None
    """Called with each request first; True: it has answered."""

    def url(self, name: str) -> str:
        """The address of a repository by its folder's name."""
        return f"http://127.0.0.1:{self.port}/{name}"

    @property
    def authorization(self) -> str:
        """The header that is let in."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@contextmanager
def http_remote(folder: Path, password: str = "", user: str = "x-access-token") -> Iterator[HttpRemote]:
    """Serve all repositories below a folder on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            _answer(self, remote, folder)

        def do_POST(self) -> None:
            _answer(self, remote, folder)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name for it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    remote = HttpRemote(server.server_address[1], user, password)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield remote
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, remote: HttpRemote, folder: Path) -> None:
    if remote.override is not None and remote.override(request):
        return
    if remote.password and request.headers.get("Authorization") != remote.authorization:
        remote.answers.append((request.path, 401))
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="git"')
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    path, _, query = request.path.partition("?")
    size = int(request.headers.get("Content-Length") or 0)
    environ = _ENVIRON | {
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(size),
        "REMOTE_ADDR": "127.0.0.1",
    }
    body = request.rfile.read(size)
    said = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False).stdout
    head, _, content = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200 OK").split()[0])
    remote.answers.append((request.path, status))
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
