"""Why nothing is started yet."""

from reconciler.core.reasons.reason import Mends, Reason

STARTS = (
    Reason(
        "ModelMissing",
        Mends.WORLD,
        "There is no file at the model's path, at that of one of its parts (`…-00001-of-00003.gguf`), or at that of "
        "another file that the spec names.",
        (
            (
                "Copy it there, or correct the path, which starts from the models folder where it is relative: "
                "`reconciler edit {server}`."
            ),
            "See which models there are: `reconciler models`.",
        ),
    ),
    Reason(
        "ModelGrowing",
        Mends.PASSES,
        "The model changed less than 2 s ago and may still be being copied.",
    ),
    Reason(
        "FileMissing",
        Mends.WORLD,
        "A file that a flag names (`grammar-file`, `chat-template-file`, `ssl-key-file` …) is not there; the message "
        "has the field and the path.",
        ("Put it there, or correct the path: `reconciler edit {server}`.",),
    ),
    Reason(
        "ModelBroken",
        Mends.WORLD,
        "The file does not begin with `GGUF`: a download page saved as a model, or an unfinished download.",
        ("Download it again, and rename it into place; see what it is: `head -c 64 {file}`.",),
    ),
    Reason(
        "PermissionDenied",
        Mends.WORLD,
        "The controller's user may not read the model or another file of the spec, or may not execute llama-server.",
        (
            "Allow it: `chmod a+rX {file}`, and `chmod a+rx {file}` where it is a program.",
            "See whose it is: `ls -ld {file}`.",
        ),
    ),
    Reason(
        "BinaryMissing",
        Mends.WORLD,
        "No llama-server was found, or none is at the path named.",
        (
            (
                "Set `LLAMA_SERVER`, put it on `PATH`, or name it in the settings (`llama_server`); see what is "
                "found: `reconciler doctor`."
            ),
        ),
    ),
    Reason(
        "BinaryNotAllowed",
        Mends.WORLD,
        "`spec.binary` names a program that the settings do not list under `binaries`.",
        (("Add it to `binaries` in reconciler.toml, or take it out: `reconciler unset server/{server} spec.binary`."),),
    ),
    Reason(
        "InvalidFlag",
        Mends.EDIT,
        "This very llama-server does not know one of `spec.flags`, or not with that value; the message names the "
        "nearest that it knows.",
        ("Correct the flag: `reconciler edit {server}`.",),
    ),
    Reason(
        "SecretMissing",
        Mends.WORLD,
        "A file or variable behind `apiKeyFile`, `fromFile` or `fromEnv` is not there.",
        (
            (
                "Make the file, or set the variable in the controller's environment, which is that of its start, "
                "and start the controller anew: `reconciler run`."
            ),
        ),
    ),
    Reason(
        "PortInUse",
        Mends.WORLD,
        "Another program, or another server, listens on the port; the message names it where that can be seen. As "
        "an event of a server that is Stopped, in BackOff or Failed: who listens on its port meanwhile.",
        (
            (
                "End it, with the command that the message has, or take it over "
                "([adopt](operating.md#what-somebody-started-by-hand)): `reconciler adopt {server}`."
            ),
            "Let a free port be taken: `reconciler set server/{server} spec.port=auto`.",
        ),
    ),
    Reason(
        "NoFreePort",
        Mends.WORLD,
        "All ports of the range for `port: auto` are taken.",
        ("Widen the range: `ports` in reconciler.toml; then start the controller anew: `reconciler run`.",),
    ),
    Reason(
        "WaitingForPort",
        Mends.PASSES,
        "One of our own servers is leaving the port, or a llama-server that somebody started by hand has it and is "
        "being asked what it is.",
    ),
    Reason(
        "WaitingForSlot",
        Mends.PASSES,
        "As many servers load as may at once (`loads` in the settings).",
    ),
    Reason(
        "WaitingForSwitch",
        Mends.PASSES,
        "The [profile](profiles.md) has changed, and servers that it leaves out are still ending; or one of them "
        "has the place that this one needs.",
    ),
    Reason(
        "SwitchHeld",
        Mends.WORLD,
        "A command without a controller was to start it, and what the [profile](profiles.md) leaves out still runs: "
        "that command ends only what it names.",
        ("Make the whole switch: `reconciler apply`.",),
    ),
    Reason(
        "WaitingForDependency",
        Mends.PASSES,
        "A server that it [depends on](profiles.md#starting-in-order) is not Ready; the message says which, and "
        "what is wrong there.",
    ),
    Reason(
        "DependencyUnavailable",
        Mends.WORLD,
        "A server that it depends on is not declared, suspended, stopped, completed, or left out by the active "
        "profile, so that waiting would not help; the message has the command that does.",
        ("Start this one without it: `reconciler restart {server}`.",),
    ),
    Reason(
        "WaitingForTurn",
        Mends.PASSES,
        "Many start at once, and others come first.",
    ),
    Reason(
        "WaitingForLeftovers",
        Mends.PASSES,
        "Processes of an earlier instance, such as its helpers, are being ended first: all that bear its mark or "
        "share its session. Where SIGKILL does not end one, it waits in the kernel, mostly for a disk or a GPU, and "
        "the message has its pid.",
    ),
    Reason(
        "ResourcesExhausted",
        Mends.WORLD,
        "The controller has no descriptor, process, memory or disk left for the start, or for looking whether it "
        "may start. It is tried again after a pause of 0.5 s that grows to 10 s.",
        ("Raise or free what the message names; see the rest: `reconciler doctor`.",),
    ),
    Reason(
        "LogUnwritable",
        Mends.WORLD,
        "Something is in the way of the server's log file: rights, a read-only file system, a file or link where "
        "its folder should be. It is tried again as above.",
        ("Mend it as the message says; see the rest: `reconciler doctor`.",),
    ),
    Reason(
        "StateUnwritable",
        Mends.WORLD,
        "The database cannot be written, so that no start could be recorded; see "
        "[below](#the-state-cannot-be-written).",
        ("Mend what the message names: `reconciler doctor` looks at the state folder.",),
    ),
    Reason(
        "NotLookedYet",
        Mends.PASSES,
        "The controller has not looked yet, or waits (2 s at most) for what this llama-server says of its flags.",
    ),
    Reason(
        "PolicyDenied",
        Mends.EDIT,
        "The [policy](security.md) of this machine does not allow what the manifest asks for; the message names the "
        "rule, and the setting that would allow it.",
        ("Change the setting that the message names.", "Change the manifest: `reconciler edit {server}`."),
    ),
    Reason(
        "InvalidManifest",
        Mends.EDIT,
        "The document has an error, told with its place. Phase `Invalid`, or `Reconciled=False` while the last "
        "accepted version is in force.",
        ("Correct it at the place that is named, and check it: `reconciler validate`.",),
    ),
    Reason(
        "InvalidProfile",
        Mends.EDIT,
        "After the loss of the database, or in a new installation: a `Profile` has an error, or the active one "
        "selects no server, so that nobody knows which servers are to run. What runs goes on as it is "
        "(unsupervised), and nothing is started.",
        (
            (
                "Mend the profile as the message says; of one that is meant to select nobody: `reconciler profile "
                "use NAME`."
            ),
        ),
    ),
    Reason(
        "InvalidDefaults",
        Mends.EDIT,
        "`LlamaServerDefaults` of which nothing was ever accepted have an error, and may be about this server, "
        "which is new (after the loss of the database all are). What runs of it goes on as it is (unsupervised), "
        "and it is not started.",
        ("Mend them as the message says, and check them: `reconciler validate`.",),
    ),
)
"""Reasons of Blocked and Pending: why nothing is started yet."""
