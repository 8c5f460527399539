"""What else events tell."""

from reconciler.core.reasons.reason import Mends, Reason

EVENTS = (
    Reason(
        "Started",
        Mends.NOTHING,
        "An instance was spawned.",
    ),
    Reason(
        "Ready",
        Mends.NOTHING,
        "It answers, and its settings were checked.",
    ),
    Reason(
        "Stopping",
        Mends.PASSES,
        "It was told to end.",
    ),
    Reason(
        "Stopped",
        Mends.NOTHING,
        "It has ended, as was asked for.",
    ),
    Reason(
        "Crashed",
        Mends.RETRY,
        "It ended unasked; the message has the diagnosis.",
        ("See what mends it: `reconciler describe server {server}`.",),
    ),
    Reason(
        "Failed",
        Mends.LATER,
        "It is given up until something changes or, where another try can help, `restart.retryFailedAfter` is over; "
        "the message has the diagnosis.",
        ("See what mends it: `reconciler describe server {server}`.",),
    ),
    Reason(
        "Completed",
        Mends.NOTHING,
        "It exited with 0, and its restart policy asks for no more.",
    ),
    Reason(
        "Unhealthy",
        Mends.RETRY,
        "It was Ready, and its looks fail.",
        ("Read the end of its log: `reconciler logs {server}`.",),
    ),
    Reason(
        "Degraded",
        Mends.LATER,
        "It runs with less than was asked for: on a [fallback step](fallback.md), or without the GPU.",
        (
            "See what runs, and what mends it: `reconciler describe server {server}`.",
            "Try what was asked for again: `reconciler restart {server} --primary`.",
        ),
    ),
    Reason(
        "Fallback",
        Mends.RETRY,
        "A safer setting is tried; the message says which, and why.",
        ("See what was tried: `reconciler describe server {server}`.",),
    ),
    Reason(
        "PrimaryRetried",
        Mends.NOTHING,
        "What was asked for is tried again in place of a fallback step that runs.",
    ),
    Reason(
        "RequestTooLarge",
        Mends.EDIT,
        "A client's request has more tokens than the context of a slot; it was refused.",
        (
            (
                "Ask for more context: `reconciler set server/{server} spec.ctx=16384`, or for fewer slots, which "
                "share it: `reconciler set server/{server} spec.parallel=1`."
            ),
            "Send less: an earlier part of the conversation can be left out.",
        ),
    ),
    Reason(
        "Killed",
        Mends.NOTHING,
        "It did not end within `gracePeriod` of SIGTERM, and was sent SIGKILL. As a diagnosis of older versions: a "
        "signal from outside ended it.",
        ("Give it more time to end: `reconciler set server/{server} spec.stop.gracePeriod=30s`.",),
    ),
    Reason(
        "Superfluous",
        Mends.NOTHING,
        "A second process of the same server was found, and killed.",
    ),
    Reason(
        "Swept",
        Mends.NOTHING,
        "What an earlier instance left behind, or what bears its mark, was sent SIGKILL; the message names pids and "
        "programs.",
    ),
    Reason(
        "MarkCopied",
        Mends.NOTHING,
        "A process bears a server's mark, but has a terminal: somebody copied that server's environment into a "
        "shell. It is left alone.",
    ),
    Reason(
        "RestartIgnored",
        Mends.NOTHING,
        "A restart was asked for, but the server is stopped or suspended.",
        ("Have it run: `reconciler start {server}`, or where it is suspended: `reconciler resume {server}`.",),
    ),
    Reason(
        "AdoptIgnored",
        Mends.NOTHING,
        "`reconciler adopt NAME` found nobody on the port, or the server is running or suspended.",
        ("See which it is: `reconciler describe server {server}`.",),
    ),
    Reason(
        "AdoptRefused",
        Mends.WORLD,
        "`reconciler adopt NAME` found somebody who cannot be taken over, as the message says.",
        ("End that one as the message says, or take a free port: `reconciler set server/{server} spec.port=auto`.",),
    ),
    Reason(
        "Removed",
        Mends.NOTHING,
        "Its document is gone and nothing of it runs: it is forgotten, its history is kept.",
        ("See that: `reconciler rollout history {server}`.",),
    ),
    Reason(
        "ManifestUnreadable",
        Mends.EDIT,
        "Text in a file cannot be assigned to a server: its place is told.",
        ("Correct it at that place, and check it: `reconciler validate`.",),
    ),
    Reason(
        "InvalidManifest",
        Mends.EDIT,
        "Without a server: a `Profile` or `LlamaServerDefaults` has an error, told with its place; what was last "
        "accepted of it stays in force.",
        ("Correct it, and check it: `reconciler validate`.",),
    ),
    Reason(
        "PruneHeld",
        Mends.WORLD,
        "Without a server: the document of a `Profile` or of `LlamaServerDefaults` is gone, but counts still; the "
        "message says why.",
        ("If the removal is meant: `reconciler apply --prune`.",),
    ),
    Reason(
        "ManifestsHeld",
        Mends.WORLD,
        "The folder as a whole is missing, unreadable or empty, or the active profile selects no server any more: "
        "nothing is stopped.",
        ("Put the folder back, or if it is meant: `reconciler apply --prune`.",),
    ),
    Reason(
        "ListenFailed",
        Mends.RETRY,
        "The dashboard and the interface cannot be served at the address of `listen` under [http]; servers are minded "
        "all the same, and the address is tried again each 10 s.",
        (
            "See who has the port: `ss -ltnp`.",
            "Take another: `listen` under [http] in reconciler.toml, or RECONCILER_HTTP; then start the controller.",
        ),
    ),
    Reason(
        "Listening",
        Mends.NOTHING,
        "The address that could not be had is served now: `reconciler ui` opens it.",
    ),
    Reason(
        "NotifyFailed",
        Mends.RETRY,
        "One of [those who are to be told](notify.md) cannot be told of events; the message names it, and why. "
        "What it is to be told waits for it.",
        (
            "See what is wrong with files and programs: `reconciler doctor`. They are looked at anew with each try.",
            "Where an address or a command of the settings is wrong, correct it and start the controller again.",
        ),
    ),
    Reason(
        "NotifiedAgain",
        Mends.NOTHING,
        "It could be told again; what it was not told is counted in the next message (`dropped`).",
    ),
)
"""Other events."""

STATE = (
    Reason(
        "StateUnwritable",
        Mends.WORLD,
        "The state cannot be written; nothing is started that could not be recorded.",
        ("Mend what the message names: `reconciler doctor` looks at the state folder.",),
    ),
    Reason(
        "StateRecovered",
        Mends.NOTHING,
        "The state can be written again; the message says what was done.",
    ),
    Reason(
        "StateRebuilt",
        Mends.NOTHING,
        "The database was found damaged at the start: the message names the file that it is kept as.",
    ),
    Reason(
        "RowUnreadable",
        Mends.NOTHING,
        "A single row could not be understood, and was dropped.",
    ),
    Reason(
        "InstallationMoved",
        Mends.NOTHING,
        "The state folder was copied or moved. It has a new id, so that it does not control the servers of the one "
        "it comes from; the message names them, and how to stop them.",
    ),
)
"""Events of the state folder."""
