"""`completion`: what a shell has to read to complete command lines."""

import click

from reconciler.cli.invocation import Verb
from reconciler.cli.output import show


@click.command(
    cls=Verb,
    short_help="Print the completion of a shell.",
    examples=(
        ('eval "$(reconciler completion bash)"', "in this bash; for all, put that line into ~/.bashrc"),
        ("reconciler completion zsh > ~/.zfunc/_reconciler", "for all, where ~/.zfunc is in fpath"),
        ("reconciler completion fish > ~/.config/fish/completions/reconciler.fish", "for all"),
    ),
    exit_codes={0: "done", 2: "there is no such shell"},
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes verbs, options, and the names of what there is.

    Names, phases, labels and fields are those of the moment: the script asks this program at each press of the key.
    """
    from reconciler.cli.shells import script  # noqa: PLC0415 - it knows all the verbs

    show(script(shell).rstrip("\n"))
