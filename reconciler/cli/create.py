"""`create`: a first manifest for a server, with comments that say what more there is."""

from typing import Any

import click

from reconciler.cli.invocation import Invocation, Verb, VerbGroup, pass_invocation
from reconciler.cli.names import SERVER_NAME
from reconciler.cli.targets import EXIT_CODES
from reconciler.cli.waiting import may_wait

_EXAMPLES = (
    ("reconciler create server coder --model coder.gguf --ctx 8192", "a file of the models folder"),
    ("reconciler create server --from-model coder.gguf", "with a name and fields that fit what the file tells"),
    ("reconciler create server chat --model hf:ggml-org/gemma-3-1b-it-GGUF --wait", "wait until it is Ready"),
    ("reconciler create server embed --model bge.gguf --flag embeddings --dry-run", "only print the manifest"),
)


@click.group(cls=VerbGroup, short_help="Write a manifest for a new server.")
def create() -> None:
    """Write a manifest for something new."""


@create.command("server", cls=Verb, examples=_EXAMPLES, exit_codes=EXIT_CODES)
@click.argument("name", metavar="[NAME]", required=False, type=SERVER_NAME)
@click.option("--model", metavar="FILE|hf:REPO", help="The model: a GGUF, or hf:user/repo:quant.")
@click.option("--from-model", metavar="FILE", help="The model, and what fits it, read off the GGUF.")
@click.option("--ctx", metavar="TOKENS", help="Context size over all slots.")
@click.option("--parallel", metavar="SLOTS", help="Number of slots.")
@click.option("--gpu-layers", metavar="N|auto|all", help="Layers kept on the GPU.")
@click.option("--port", metavar="PORT|auto", help="Port to listen on.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label.")
@click.option("--flag", "flags", multiple=True, metavar="NAME=VALUE", help="A llama-server flag, by its long name.")
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="Any other field, as `set` takes them.")
@click.option("--dry-run", is_flag=True, help="Only print the manifest; on stderr what would happen.")
@may_wait
@pass_invocation
def server(invocation: Invocation, /, name: str | None, dry_run: bool, timeout: float | None, **given: Any) -> int:
    """Write a manifest NAME.yaml into the manifests folder, with comments, and tell what follows from it.

    One of --model and --from-model is needed; with the latter NAME may be left out. A server of that name must not be
    there yet.
    """
    if given["model"] is not None and given["from_model"] is not None:
        raise click.UsageError("give one of --model and --from-model, not both")
    if given["model"] is None and given["from_model"] is None:
        raise click.UsageError("name the model: --model FILE, or --from-model FILE to have the manifest proposed")
    if name is None and given["from_model"] is None:
        raise click.UsageError("name the server: create server NAME --model FILE")
    from reconciler.cli.creating import create_server  # noqa: PLC0415 - what reads manifests is slow to import

    return create_server(invocation, name, given, dry_run=dry_run, timeout=timeout)
