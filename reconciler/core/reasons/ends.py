"""Why an instance ended."""

from reconciler.core.reasons.reason import Mends, Reason

ENDS = (
    Reason(
        "ModelMissing",
        Mends.WORLD,
        "A file of the model, projector, draft or LoRA is not there.",
        (
            (
                "Put the file that is named into its place, or correct its path, which starts from the models folder "
                "where it is relative: `reconciler edit {server}`."
            ),
            "See which models there are: `reconciler models`.",
        ),
    ),
    Reason(
        "ModelBroken",
        Mends.EDIT,
        "llama-server cannot read the model: cut short, damaged, or of a kind that it does not know.",
        (
            "Copy or download the model again, and rename it into place.",
            (
                "Use a newer llama-server if it does not know the model's kind; see which one runs: `reconciler "
                "version`."
            ),
        ),
    ),
    Reason(
        "PortInUse",
        Mends.WORLD,
        "It could not listen on its address and port.",
        (
            "Free the port; see its owner: `ss -ltnp sport = :{port}`.",
            "Let a free port be taken: `reconciler set server/{server} spec.port=auto`.",
            "Where `spec.host` is written, it must be an address of this machine.",
        ),
    ),
    Reason(
        "InvalidFlag",
        Mends.EDIT,
        "llama-server does not know a flag, or not with that value.",
        (
            ("Correct the flag: `reconciler edit {server}`."),
            "See which this build has: `{program} --help`.",
        ),
    ),
    Reason(
        "GpuOutOfMemory",
        Mends.RETRY,
        "The GPU's memory did not suffice. A [fallback step](fallback.md) is tried where there is one.",
        (
            (
                "Ask for less context: `reconciler set server/{server} spec.ctx=4096`, or for fewer layers on the "
                "GPU with `spec.gpuLayers`."
            ),
            "Stop what else uses the GPU; see it: `nvidia-smi`.",
        ),
    ),
    Reason(
        "HostOutOfMemory",
        Mends.RETRY,
        "The machine's memory did not suffice. A [fallback step](fallback.md) is tried where there is one.",
        (
            "Ask for less context: `reconciler set server/{server} spec.ctx=4096`, or use a smaller model.",
            "See what takes the memory: `ps aux --sort=-rss`.",
        ),
    ),
    Reason(
        "OomKilled",
        Mends.RETRY,
        "The kernel killed it, because memory ran out: that of the machine, or that of its memory cgroup. A "
        "[fallback step](fallback.md) is tried where there is one.",
        (
            "Ask for less context: `reconciler set server/{server} spec.ctx=4096`, or use a smaller model.",
            "Give it more memory: `free -h` shows the machine's, `MemoryMax` limits that of a systemd service.",
        ),
    ),
    Reason(
        "ContextTooLarge",
        Mends.RETRY,
        "The model fits into memory, but its context does not. A [fallback step](fallback.md) is tried where there "
        "is one.",
        (
            (
                "Ask for less context: `reconciler set server/{server} spec.ctx=4096`, or for fewer slots with "
                "`spec.parallel`."
            ),
            "Use a smaller model; see which there are: `reconciler models`.",
        ),
    ),
    Reason(
        "GpuUnavailable",
        Mends.RETRY,
        "The GPU that it is to use cannot be used: no driver, no right to its device, or no device. Of a server "
        "that is Ready: layers that were asked for are not on the GPU.",
        (
            "See what llama-server finds: `{program} --list-devices`.",
            "See whether the driver answers: `nvidia-smi`.",
            "Run it on the CPU: `reconciler set server/{server} spec.gpuLayers=0`.",
        ),
    ),
    Reason(
        "SharedLibraryMissing",
        Mends.WORLD,
        "llama-server needs a library that the system's loader does not find.",
        (
            (
                "Install the library that is named, or name its folder in LD_LIBRARY_PATH where the controller is "
                "started, and start it again: `reconciler run`."
            ),
            "See what is missing: `ldd {program}`.",
        ),
    ),
    Reason(
        "BinaryMissing",
        Mends.WORLD,
        "No llama-server was found, or none is at the path that is named.",
        (
            (
                "Set `LLAMA_SERVER`, put it on `PATH`, or name it in the settings (`llama_server`); see what is "
                "found: `reconciler doctor`."
            ),
        ),
    ),
    Reason(
        "WrongArchitecture",
        Mends.EDIT,
        "The program is not one for this machine: built for another processor, or no program at all.",
        ("Install a llama-server for this machine, which is: `uname -m`.", "See what the file is: `file {program}`."),
    ),
    Reason(
        "DownloadFailed",
        Mends.RETRY,
        "A model of Hugging Face could not be had; a llama-server built without HTTPS cannot download at all.",
        (
            "Check the network, the name under `model: {hf: …}` and HF_TOKEN.",
            "Download the file, and write its path: `reconciler set server/{server} spec.model=FILE.gguf`.",
        ),
    ),
    Reason(
        "PermissionDenied",
        Mends.WORLD,
        "The controller's user may not read a file, or not execute the program.",
        (
            "Allow it: `chmod a+rX {file}`, and `chmod a+rx {file}` where it is a program.",
            "See whose it is: `ls -ld {file}`.",
        ),
    ),
    Reason(
        "StartupTimeout",
        Mends.RETRY,
        "It did not get Ready, and made no progress for `probes.startup.deadline`.",
        (
            "Read the end of its log: `reconciler logs {server}`.",
            "Give it more time: `reconciler set server/{server} spec.probes.startup.deadline=20m`.",
        ),
    ),
    Reason(
        "Hung",
        Mends.RETRY,
        "Its process is alive, but does not answer, or shows no progress; it was ended for that.",
        (
            "Read the end of its log: `reconciler logs {server}`.",
            (
                "If it was only busy, raise what it may take: `reconciler set server/{server} "
                "spec.probes.liveness.busyLimit=20m`."
            ),
        ),
    ),
    Reason(
        "Unreachable",
        Mends.RETRY,
        "Its process is alive, but nobody listens on its port any more; it was ended for that.",
        (
            "Read the end of its log: `reconciler logs {server}`.",
            "See who listens there: `ss -ltnp sport = :{port}`.",
        ),
    ),
    Reason(
        "ModelFileChanged",
        Mends.RETRY,
        "The model's file was overwritten or cut while it was in use (SIGBUS).",
        ("Replace model files by renaming the new one into place, never by overwriting: `mv NEW.gguf MODEL.gguf`.",),
    ),
    Reason(
        "CrashedInRequest",
        Mends.RETRY,
        "It crashed while it served a request; others like it may do the same.",
        (
            "Read the end of its log: `reconciler logs {server}`.",
            "A newer llama-server may help.",
            "If one kind of request does it, leave that out, or ask for less with other `spec.flags`.",
        ),
    ),
    Reason(
        "Crashed",
        Mends.RETRY,
        "llama-server crashed or gave up (SIGABRT, SIGSEGV, …); the evidence is the line that tells most.",
        (
            "Read the end of its log: `reconciler logs {server}`.",
            "A newer llama-server or other flags may help.",
        ),
    ),
    Reason(
        "KilledByUser",
        Mends.RETRY,
        "A signal ended it that neither the controller nor the kernel's memory killer has sent: somebody's `kill`.",
        ("To have it stopped, and stay so: `reconciler stop {server}`.",),
    ),
    Reason(
        "Exited",
        Mends.RETRY,
        "It ended with exit code 0, though nobody here asked it to.",
        (
            "Read the end of its log: `reconciler logs {server}`; somebody may have stopped it from outside.",
            "To have it stopped, and stay so: `reconciler stop {server}`.",
        ),
    ),
    Reason(
        "Unknown",
        Mends.RETRY,
        "Nothing tells the cause for sure. As a phase: no controller runs, and its process is alive.",
        ("Read the end of its log: `reconciler logs {server}`.",),
    ),
    Reason(
        "SpawnFailed",
        Mends.RETRY,
        "It could not even be executed; the evidence says why.",
        ("Mend what the evidence says; see what else is wrong: `reconciler doctor`.",),
    ),
    Reason(
        "NotStarted",
        Mends.NOTHING,
        "The controller ended between the decision and the record of the spawn, and no process of it was found: "
        "there was none, or it ended before anybody looked. The start is made up for, and not counted.",
    ),
    Reason(
        "OtherInstallation",
        Mends.NOTHING,
        "The state folder was copied or moved: the instance belongs to the one it comes from.",
        ("See the event: `reconciler events --reason InstallationMoved`.",),
    ),
)
"""Diagnoses: why an instance ended."""
