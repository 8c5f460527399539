"""`[source.git]`: which Git repository is followed, and how."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from reconciler.core.git_url import checked_url, is_ref_name
from reconciler.core.spec import Duration


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GitAuth(_Section):
    """`[source.git.auth]`: what a remote asks for.

    Git and ssh read the files themselves, at each use. The controller looks before whether they can, and looks for the
    token in what git says, to take it out; it keeps and hands on nothing of them.
    """

    token_file: str = ""
    """File that holds an access token or password for `https`, and nothing else."""
    username: str = "x-access-token"
    """User that goes with the token; GitHub and GitLab take any."""
    ssh_key_file: str = ""
    """Private key without a passphrase, for `ssh`."""
    known_hosts_file: str = ""
    """The host keys that are trusted for `ssh`; other hosts are refused."""


class GitSource(_Section):
    """`[source.git]`: a Git repository that holds manifests."""

    url: str
    """`https://…`, `ssh://…`, `user@host:path` or `file:///…`; `http://` for this machine alone."""
    branch: str = ""
    """The branch that is followed.  [default: main, unless `tag` is set]"""
    tag: str = ""
    """The tag that is followed, in place of a branch."""
    path: str = ""
    """Folder in the repository that holds the manifests; empty: all of it."""
    interval: Annotated[Duration, Field(ge=1)] = 60.0
    """Time between two looks at the remote."""
    timeout: Annotated[Duration, Field(gt=0)] = 120.0
    """Time that one git command may take. A look takes two of them, one that brings a new revision about a dozen."""
    max_mib: Annotated[int, Field(ge=1)] = 64
    """Size in MiB that one fetch, and all manifests of a revision, may have."""
    auth: GitAuth = GitAuth()

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = value.strip("/")
        if path == ".":
            raise ValueError("leave it out for the top of the repository")
        if any(part in ("", ".", "..", ".git") for part in path.split("/") if path):
            raise ValueError("expected a folder in the repository, such as `clusters/home`")
        return path

    @model_validator(mode="after")
    def _one_ref(self) -> "GitSource":
        if self.branch and self.tag:
            raise ValueError("give branch or tag, not both")
        for name in (self.branch, self.tag):
            if name and not is_ref_name(name):
                raise ValueError(f"{name!r} is no name of a branch or tag")
        return self

    @property
    def ref(self) -> str:
        """The full name that is followed."""
        return f"refs/tags/{self.tag}" if self.tag else f"refs/heads/{self.branch or 'main'}"

    @property
    def where(self) -> str:
        """The address and what is followed, in words."""
        return f"{self.url}, tag {self.tag}" if self.tag else f"{self.url}, branch {self.branch or 'main'}"
