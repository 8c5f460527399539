"""How a source of manifests stands."""

from reconciler.core.reasons.reason import Mends, Reason

SOURCES = (
    Reason(
        "RevisionRejected",
        Mends.EDIT,
        "A manifest of the newest revision has an error, told with its place: nothing of that revision is applied.",
        ("Commit a correction, and look again at once: `reconciler sync`.",),
    ),
    Reason(
        "RemoteUnreachable",
        Mends.RETRY,
        "The remote's host does not answer, or cannot be found. It is asked again each interval.",
        ("Check the network and `url` in reconciler.toml; look again at once: `reconciler sync`.",),
    ),
    Reason(
        "RepositoryMissing",
        Mends.RETRY,
        "The host answers, but has no such repository, or does not show it to this user.",
        ("Look at `url`, and at what the token or key may read; then: `reconciler sync`.",),
    ),
    Reason(
        "AuthenticationFailed",
        Mends.RETRY,
        "The token or key is missing or refused.",
        ("Put a valid one into the file that `source.git.auth` names; then: `reconciler sync`.",),
    ),
    Reason(
        "HostKeyUnknown",
        Mends.RETRY,
        "The host's key is not in `known_hosts_file`, or is another one.",
        ("Compare it with what the host publishes before you add it; then: `reconciler sync`.",),
    ),
    Reason(
        "RefMissing",
        Mends.RETRY,
        "The branch or tag is not in the repository.",
        ("Push it, or set another one under `[source.git]` in reconciler.toml; then: `reconciler sync`.",),
    ),
    Reason(
        "RevisionMissing",
        Mends.RETRY,
        "The revision that was named is not in the repository.",
        ("See what there is: `reconciler describe source git`.",),
    ),
    Reason(
        "TooLarge",
        Mends.EDIT,
        "A fetch or the manifests are larger than `max_mib`, or there are too many of them.",
        (
            (
                "Set `path` to a folder of manifests, or raise `max_mib`, in reconciler.toml; then start the "
                "controller anew: `reconciler run`."
            ),
        ),
    ),
    Reason(
        "TimedOut",
        Mends.RETRY,
        "A git command did not end within `timeout`. It is tried again each interval.",
        (("Raise `timeout` in reconciler.toml where the remote is that slow; look again at once: `reconciler sync`."),),
    ),
    Reason(
        "ReadingSlow",
        Mends.RETRY,
        "The manifests of a revision take longer to read than 20 s. The next look goes on where this one ended; a "
        "file that alone takes too long is an error of the revision.",
        ("Go on at once: `reconciler sync`.",),
    ),
    Reason(
        "CacheBroken",
        Mends.PASSES,
        "The cache in `state/git` is damaged. It is made anew at the next look.",
        ("Make it anew at once: `reconciler sync`.",),
    ),
    Reason(
        "GitMissing",
        Mends.RETRY,
        "There is no `git` command on the controller's `PATH`.",
        ("Install it (Debian: `apt-get install git`); then: `reconciler sync`.",),
    ),
    Reason(
        "GitFailed",
        Mends.RETRY,
        "Git said something that is not known here; the message has its last words.",
        ("Mend what they say; then: `reconciler sync`.",),
    ),
    Reason(
        "StateUnwritable",
        Mends.RETRY,
        "The state folder cannot be written.",
        ("Look at its space and rights: `reconciler doctor`.",),
    ),
)
"""Reasons of a source that is Degraded."""

SYNCED = (
    Reason(
        "UpToDate",
        Mends.NOTHING,
        "What the remote has is in force.",
    ),
    Reason(
        "NotSyncedYet",
        Mends.PASSES,
        "Nothing was looked at yet.",
    ),
    Reason(
        "Suspended",
        Mends.NOTHING,
        "Somebody has suspended the source.",
        ("Go on: `reconciler resume source git`.",),
    ),
    Reason(
        "RevisionApplied",
        Mends.NOTHING,
        "A revision is in force.",
    ),
    Reason(
        "HistoryRewritten",
        Mends.NOTHING,
        "The revision before this one is not among its last commits: somebody rewrote the branch.",
        ("See which there are: `reconciler describe source git`.",),
    ),
    Reason(
        "SourceRecovered",
        Mends.NOTHING,
        "The remote can be read again.",
    ),
    Reason(
        "SourceSuspended",
        Mends.NOTHING,
        "Somebody has suspended the source.",
        ("Go on: `reconciler resume source git`.",),
    ),
    Reason(
        "SourceResumed",
        Mends.NOTHING,
        "Somebody has resumed the source.",
    ),
    Reason(
        "SyncedFilesRestored",
        Mends.NOTHING,
        "Somebody had changed files under `state/git`, and they were put back.",
        ("Change them in the repository.",),
    ),
)
"""Other reasons of a source's Ready, and its events."""
