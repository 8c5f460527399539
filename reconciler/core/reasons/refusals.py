"""Why the controller does not edit or show a manifest for who asks it."""

from reconciler.core.reasons.reason import Mends, Reason

REFUSALS = (
    Reason(
        "BadPath",
        Mends.EDIT,
        "The name is not one that a manifest may have: it ends in `.yaml` or `.yml`, lies below the manifests folder, "
        "and no part of it is hidden.",
        (
            "Name it below the manifests folder, such as `team/coder.yaml`.",
            "See where servers are declared: `reconciler get servers -o wide`.",
        ),
    ),
    Reason(
        "LinkedOut",
        Mends.EDIT,
        "A symbolic link leads out of the manifests folder: what is there is neither shown nor written over the API.",
        ("Edit it on the machine itself: `reconciler edit {server}`.",),
    ),
    Reason(
        "NoManifest",
        Mends.EDIT,
        "There is no such file, or no file declares the document any more.",
        ("See which there are: `reconciler get servers -o wide`.",),
    ),
    Reason(
        "FromGit",
        Mends.EDIT,
        "It comes from the Git source, and can only be changed there.",
        ("Change it in the repository, commit it, and then: `reconciler sync`.",),
    ),
    Reason(
        "DeclaredTwice",
        Mends.EDIT,
        "Two files declare it, so that nobody knows which one is meant.",
        ("Remove it from one of them; see both: `reconciler validate`.",),
    ),
    Reason(
        "ManifestPublished",
        Mends.EDIT,
        "The file is put there by another program (a volume of Kubernetes, git-sync), which writes over every edit.",
        ("Change it where it comes from, and see what arrives: `reconciler get servers -o wide`.",),
    ),
    Reason(
        "ManifestChanged",
        Mends.RETRY,
        "Somebody else has changed the file since it was read; nothing was written.",
        ("Look at what it says now, and make the change again: `reconciler edit {server}`.",),
    ),
    Reason(
        "ManifestUnwritable",
        Mends.WORLD,
        "The file cannot be read or written: rights, a full disk, a read-only file system.",
        ("See what is wrong: `reconciler doctor`.",),
    ),
    Reason(
        "EditRefused",
        Mends.EDIT,
        "The place is written in a way in which a single field cannot be changed without harm to the rest.",
        ("Change it in an editor: `reconciler edit {server}`.",),
    ),
    Reason(
        "SelectionHeld",
        Mends.EDIT,
        "The profile was written, but another selection stays in force; the message says why.",
        ("Correct that, and see which is in force: `reconciler get profiles`.",),
    ),
    Reason(
        "TooLarge",
        Mends.EDIT,
        "It is larger than a manifest may be (1 MiB).",
        ("Split it: `---` parts documents, and each may have a file of its own: `reconciler edit {server}`.",),
    ),
)
"""Reasons of problem documents about manifests."""
