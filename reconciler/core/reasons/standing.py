"""How a server stands: as declared, Ready, or why not."""

from reconciler.core.reasons.reason import Mends, Reason

RUNNING = (
    Reason(
        "InvalidManifest",
        Mends.EDIT,
        "The newest text has an error; the last accepted version goes on, and is restarted when it crashes.",
        ("Correct it at the place that is named, and check it: `reconciler validate`.",),
    ),
    Reason(
        "GateShut",
        Mends.WORLD,
        "The file asks for a new process, but that could not start (the message says why), so the old one stays.",
        ("Put right what the message says.", "See what would change: `reconciler diff`."),
    ),
    Reason(
        "WaitingForSwitch",
        Mends.PASSES,
        "The active [profile](profiles.md#who-goes-first) leaves it out, and has `switch: StartFirst`: it runs on "
        "until the servers of the profile are Ready.",
    ),
    Reason(
        "SwitchHeld",
        Mends.WORLD,
        "The same, but a server of the profile cannot run, so this one stays; the message says which and why.",
        ("Help that one, or end this one all the same: `reconciler stop {server}`.",),
    ),
    Reason(
        "StateUnwritable",
        Mends.WORLD,
        "A stop or restart is due, but cannot be recorded; see [below](#the-state-cannot-be-written).",
        ("Mend what the message names: `reconciler doctor` looks at the state folder.",),
    ),
    Reason(
        "PruneHeld",
        Mends.WORLD,
        "Its document is gone, but removing it is held: by the [prune guard](operating.md#the-prune-guard), because "
        "its file or folder cannot be read, or because the file is empty.",
        ("If the removal is meant: `reconciler apply {server} --prune`, or without names for all that are held.",),
    ),
    Reason(
        "ContextCapped",
        Mends.EDIT,
        "It asks for more context than its model was trained with, and gets that much for each slot. A condition, "
        "True while it is so.",
        (
            (
                "Ask for the context in effect, which is shown beside what was asked for: `reconciler get servers "
                "{server} -o wide`."
            ),
            "Use a model that was trained with more: `reconciler models`.",
        ),
    ),
    Reason(
        "Slow",
        Mends.PASSES,
        "`/health` takes long to answer, mostly because the machine is short of CPU. A condition, True while it is "
        "so; nothing is restarted for it.",
        ("See what takes the CPU: `reconciler top`.",),
    ),
    Reason(
        "CpuOnly",
        Mends.EDIT,
        "It asks for layers on the GPU, and `cpu_only` (`RECONCILER_CPU_ONLY`) keeps [all servers on the "
        "CPU](fallback.md#the-cpu-alone).",
        (
            "Have the GPUs used: unset that, and start the controller again: `reconciler run`.",
            "Ask for the CPU: `reconciler set server/{server} spec.gpuLayers=0`.",
        ),
    ),
)
"""Reasons of Reconciled=False and Degraded=True: it runs, but not as the file says."""

WAITING = (
    Reason(
        "Starting",
        Mends.PASSES,
        "It was spawned, and does not answer yet.",
    ),
    Reason(
        "Loading",
        Mends.PASSES,
        "It answers 503: it loads its model. After it was Ready: it reloads, or wakes from sleep.",
    ),
    Reason(
        "LivenessFailed",
        Mends.RETRY,
        "It was Ready, and `failureThreshold` looks in a row failed; the message says of what: `/health`, its "
        "slots, or the completion. After as many more it is restarted. What counts as a failure: [busy or "
        "hung](operating.md#busy-or-hung).",
        ("Read the end of its log: `reconciler logs {server}`.",),
    ),
    Reason(
        "Busy",
        Mends.PASSES,
        "It is Ready, but `/health` does not answer in time, while the process computes; it counts as failing after "
        "`probes.liveness.busyLimit`.",
        (
            (
                "On a machine that is so slow, raise that: `reconciler set server/{server} "
                "spec.probes.liveness.busyLimit=20m`."
            ),
        ),
    ),
    Reason(
        "PortShared",
        Mends.WORLD,
        "Another program listens on its port too, and gets part of its requests; nothing is restarted.",
        ("End that one, as the message says; see both: `ss -ltnp sport = :{port}`.",),
    ),
    Reason(
        "NotAnswering",
        Mends.PASSES,
        "It was Ready, and has not answered since the controller began, or since it was Unhealthy.",
    ),
    Reason(
        "NoController",
        Mends.WORLD,
        "No controller runs, so nobody knows; the phase of a process that is alive is `Unknown`.",
        ("Start one: `reconciler run`.",),
    ),
    Reason(
        "BackOff",
        Mends.RETRY,
        "It ended unasked and is started again after the delay; the diagnosis is in the message.",
        ("See what the cause is, and what mends it: `reconciler describe server {server}`.",),
    ),
    Reason(
        "RestartsExhausted",
        Mends.LATER,
        "It has Failed, and nothing is known of why it ended. Where more is known, the cause stands here. It is tried "
        "once more after `restart.retryFailedAfter`.",
        ("See how it ended: `reconciler get restarts {server}`.", "Try again now: `reconciler restart {server}`."),
    ),
    Reason(
        "Suspended",
        Mends.NOTHING,
        "`suspend: true` is in its manifest.",
        ("Have it run: `reconciler resume {server}`.",),
    ),
    Reason(
        "NotInProfile",
        Mends.NOTHING,
        "The active [profile](profiles.md) leaves it out.",
        (
            (
                "Take another: `reconciler profile use NAME`, or none, so that all servers run: `reconciler profile "
                "use --none`."
            ),
        ),
    ),
    Reason(
        "StopRequested",
        Mends.NOTHING,
        "Somebody stopped it.",
        ("Have it run: `reconciler start {server}`.",),
    ),
    Reason(
        "ControllerEnded",
        Mends.NOTHING,
        "It was stopped along with its controller (`run --on-exit stop`).",
        ("Start it again: `reconciler run`.",),
    ),
    Reason(
        "Completed",
        Mends.NOTHING,
        "It exited with 0 and its restart policy asks for no more.",
        ("Run it again: `reconciler restart {server}`.",),
    ),
)
"""It is there, but not Ready."""

WELL = (
    Reason(
        "AsDeclared",
        Mends.NOTHING,
        "`Reconciled=True`: what runs is what the file says.",
    ),
    Reason(
        "AsAsked",
        Mends.NOTHING,
        "`Degraded=False`: it runs, and that with the settings that were asked for.",
    ),
    Reason(
        "NotRunning",
        Mends.NOTHING,
        "`Degraded=False`: nothing of it runs, so nothing is less than was asked for; `Ready` says why it does not.",
    ),
    Reason(
        "StateWritable",
        Mends.NOTHING,
        "A condition of the controller itself: True while the state can be written; also an event.",
        ("While it is False, mend what its message names: `reconciler doctor` looks at the state folder.",),
    ),
    Reason(
        "Written",
        Mends.NOTHING,
        "`StateWritable=True`: the state can be written.",
    ),
    Reason(
        "Ready",
        Mends.NOTHING,
        "It answers, and its settings were checked.",
    ),
    Reason(
        "Pending",
        Mends.PASSES,
        "It is declared, and waits for its start.",
    ),
    Reason(
        "Stopping",
        Mends.PASSES,
        "It was told to end, and is given its grace.",
    ),
    Reason(
        "Stopped",
        Mends.NOTHING,
        "It does not run, as was asked for.",
        ("Have it run: `reconciler start {server}`.",),
    ),
    Reason(
        "Unhealthy",
        Mends.RETRY,
        "It was Ready, and its looks fail; if that goes on it is restarted.",
        ("Read the end of its log: `reconciler logs {server}`.",),
    ),
    Reason(
        "Failed",
        Mends.LATER,
        "It is not started again before its manifest or its files change, or, where another try can help, "
        "`restart.retryFailedAfter` is over.",
        ("See the cause: `reconciler describe server {server}`; when it is mended: `reconciler restart {server}`.",),
    ),
    Reason(
        "Blocked",
        Mends.WORLD,
        "What a start needs is missing; it starts by itself once that is there.",
        ("See what: `reconciler describe server {server}`.",),
    ),
    Reason(
        "Invalid",
        Mends.EDIT,
        "No valid version of its manifest was ever accepted.",
        ("Correct it, and check it: `reconciler validate`.",),
    ),
)
"""Words for what is well, and phases."""
