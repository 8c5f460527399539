"""`validate`: check manifests without a controller or a state."""

from dataclasses import asdict
from pathlib import Path

import click

from reconciler.cli.documents import (
    Source,
    check_together,
    read_files,
    read_sources,
    shown_folder,
)
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.output import plural, print_json, print_problems


@click.command(cls=Verb, short_help="Check manifests without touching anything.")
@click.argument("paths", metavar="[FILE|DIR|-]…", nargs=-1)
@click.option("-o", "--output", type=click.Choice(["json"]), help="Output format.  [default: text]")
@pass_invocation
def validate(invocation: Invocation, paths: tuple[str, ...], output: str | None) -> int:
    """Check files, folders of them, or stdin (-); without any, the manifests folder.

    All of them are checked together: names must be unique, and ports not be wanted twice.

    Exit code: 0 all is well, 2 there are errors.
    """
    sources = read_sources(paths) if paths else _folder(invocation)
    checked = check_together((), sources)
    if output:
        problems = [{**asdict(problem), "text": str(problem)} for problem in checked.problems]
        print_json({"manifests": len(sources), "servers": len(checked.documents), "problems": problems})
        return BAD_INPUT if problems else 0
    print_problems([str(problem) for problem in checked.problems])
    if checked.problems:
        click.echo(f"error: {plural(len(checked.problems), 'error')} in {plural(len(sources), 'manifest')}", err=True)
        return BAD_INPUT
    click.echo(f"{plural(len(sources), 'manifest')}, {plural(len(checked.documents), 'server')}: ok")
    return 0


def _folder(invocation: Invocation) -> list[Source]:
    folder = invocation.existing_or_new().manifests
    if not Path(folder).is_dir():
        hint = "name manifests: reconciler validate FILE…, or the folder with --manifests"
        raise Failure(f"the manifests folder {folder} does not exist", hint, exit_code=BAD_INPUT)
    return read_files(Path(folder), shown_folder(folder))
