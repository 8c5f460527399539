"""Why instances were started and stopped."""

from reconciler.core.reasons.reason import Mends, Reason

TRIGGERS = (
    Reason(
        "Created",
        Mends.NOTHING,
        "It is new.",
    ),
    Reason(
        "SpecChanged",
        Mends.NOTHING,
        "Its command line, `env` or `binary` changed.",
    ),
    Reason(
        "Crashed",
        Mends.RETRY,
        "It ended unasked.",
        ("See why: `reconciler describe server {server}`.",),
    ),
    Reason(
        "Unresponsive",
        Mends.RETRY,
        "It was stopped for not answering, or not getting Ready.",
        ("See why: `reconciler describe server {server}`.",),
    ),
    Reason(
        "Requested",
        Mends.NOTHING,
        "`reconciler restart`, or a start after it had failed or completed.",
    ),
    Reason(
        "Resumed",
        Mends.NOTHING,
        "A stop was taken back, or `suspend`, or its profile is active again.",
    ),
    Reason(
        "Rebooted",
        Mends.NOTHING,
        "The machine was rebooted.",
    ),
    Reason(
        "Retried",
        Mends.RETRY,
        "It had Failed, and time passed or its files changed.",
    ),
    Reason(
        "Fallback",
        Mends.RETRY,
        "What was asked for, or the [step](fallback.md) before, did not run: a safer setting is tried.",
        ("See what was tried: `reconciler describe server {server}`.",),
    ),
    Reason(
        "PrimaryRetried",
        Mends.NOTHING,
        "It ran on a [fallback step](fallback.md), and what was asked for is tried again, as "
        "`restart.retryPrimaryAfter` says.",
    ),
    Reason(
        "CpuOnly",
        Mends.NOTHING,
        "[`cpu_only`](fallback.md#the-cpu-alone) (`RECONCILER_CPU_ONLY`) was set or unset since it was started.",
    ),
    Reason(
        "Unblocked",
        Mends.NOTHING,
        "Something outside its manifest had ended its start, and it is tried whether that is mended. No restart is "
        "counted.",
    ),
    Reason(
        "Adopted",
        Mends.NOTHING,
        "A controller found it running: under this installation's mark without a record of it, or [started by "
        "hand](operating.md#what-somebody-started-by-hand).",
    ),
)
"""Why an instance was started."""

STOPS = (
    Reason(
        "SpecChanged",
        Mends.NOTHING,
        "Its command line, `env` or `binary` changed.",
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
        "The active profile leaves it out.",
        ("Have all servers run: `reconciler profile use --none`.",),
    ),
    Reason(
        "Removed",
        Mends.NOTHING,
        "Its document is gone.",
    ),
    Reason(
        "StopRequested",
        Mends.NOTHING,
        "`reconciler stop`, or the end of a controller with `--on-exit stop`.",
        ("Have it run: `reconciler start {server}`.",),
    ),
    Reason(
        "RestartRequested",
        Mends.NOTHING,
        "`reconciler restart`.",
    ),
    Reason(
        "Unresponsive",
        Mends.RETRY,
        "Twice `failureThreshold` looks in a row failed.",
        ("Read the end of its log: `reconciler logs {server} --previous`.",),
    ),
    Reason(
        "StartupTimeout",
        Mends.RETRY,
        "It made no progress for `probes.startup.deadline`.",
        ("Read the end of its log: `reconciler logs {server} --previous`.",),
    ),
    Reason(
        "PrimaryRetried",
        Mends.NOTHING,
        "It makes room for what was asked for, which is tried again.",
    ),
    Reason(
        "CpuOnly",
        Mends.NOTHING,
        "[`cpu_only`](fallback.md#the-cpu-alone) (`RECONCILER_CPU_ONLY`) was set or unset since it was started.",
    ),
)
"""Why an instance was stopped."""
