"""`models`: the models that lie in the models folder, and which servers use them."""

import os
import shlex
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from reconciler import installation
from reconciler.cli.failure import Failure
from reconciler.cli.folding import fold_behind
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.output import format_option, list_of, plural, print_json, print_yaml, say, show
from reconciler.cli.servers import NOTHING
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import clean, width
from reconciler.runtimes.header_cache import HeaderCache, cache_file
from reconciler.runtimes.listed_models import model_item, used_by
from reconciler.runtimes.models import find_models
from reconciler.store import read
from reconciler.store.items import running_spec

HEADERS = ("NAME", "KIND", "ARCH", "SIZE", "QUANT", "PARAMS", "CTX", "THINKING", "USED-BY")
WIDE = (*HEADERS, "PARTS", "TITLE")
_GIVES_WAY = (("USED-BY", 12), ("NAME", 24), ("ARCH", 6), ("USED-BY", 7), ("NAME", 8))
_EXIT_CODES = {
    0: "done, also when there are none",
    1: "the models folder, or the database, cannot be read",
    2: "the command line or the settings have errors",
}
_EXAMPLES = (
    ("reconciler models", "what could be served"),
    ("reconciler models -o wide", "with the title that each gives itself, and its parts"),
    ("reconciler models --models ~/Downloads", "those of another folder"),
)


@click.command(cls=Verb, short_help="List the models of the models folder.", examples=_EXAMPLES, exit_codes=_EXIT_CODES)
@format_option
@pass_invocation
def models(invocation: Invocation, output: str | None) -> None:
    """List the GGUF files of the models folder and the folders below it: found, whether a manifest names them or not.

    Only their headers are read. Models in parts are one row. A file that cannot be loaded is told with the reason.
    """
    folder = models_folder(invocation)
    if not folder.is_dir():
        hint = f"make it: mkdir -p {shlex.quote(str(folder))}, or name another with --models"
        raise Failure(f"the models folder {folder} does not exist", hint)
    found = find_models(folder, HeaderCache(cache_file(os.environ)))
    users = used_by(_specs(invocation), folder)
    items = [model_item(model, folder, users) for model in found]
    if output == "json":
        print_json(list_of("ModelList", items))
    elif output == "yaml":
        print_yaml(list_of("ModelList", items))
    elif output == "name":
        for item in items:
            show(clean(item["file"]))
    elif items:
        show("\n".join(_lines(items, wide=output == "wide")))
        say("\n".join(fold_behind("", clean(_summary(items, folder)), width())))
    else:
        say(clean(f"no GGUF files in {folder} or below it"), err=True)


def models_folder(invocation: Invocation) -> Path:
    """Where relative paths of models start from. Raises Failure."""
    if named := invocation.models or os.environ.get("RECONCILER_MODELS"):
        return Path(os.path.abspath(Path(named).expanduser()))
    here = Path.cwd()
    config = here / installation.CONFIG
    if not (invocation.state or invocation.config) and (config.exists() or (here / "manifests").is_dir()):
        # As the settings have it, which take 0.2 s to import.
        with suppress(OSError, ValueError):
            value = tomllib.loads(config.read_text()).get("models", "models") if config.exists() else "models"
            return Path(os.path.abspath(here / Path(str(value)).expanduser()))
    return Path(invocation.existing_or_new().models)


# ---------------------------------------------------------------- who uses them


def _specs(invocation: Invocation) -> list[tuple[str, Mapping[str, Any]]]:
    """Each server with what is declared and what runs: of the installation, else of the manifests alone."""
    try:
        state = invocation.state_folder()
    except Failure:
        return _declared(invocation)
    try:
        with opened(state, warns=True) as db:
            items = read.servers(db, now=time.time(), controller=True)
    except read.ReadError as error:
        raise Failure(str(error)) from None
    return [(item["metadata"]["name"], spec) for item in items for spec in (item["spec"], running_spec(item))]


def _declared(invocation: Invocation) -> list[tuple[str, Mapping[str, Any]]]:
    """As the files of the manifests folder have them; what is wrong with them is not this verb's to tell."""
    from reconciler.cli.documents import read_files  # noqa: PLC0415 - slow to import, and seldom needed
    from reconciler.core.spec import dump_spec  # noqa: PLC0415

    folder = invocation.existing_or_new().manifests
    sources = read_files(Path(folder), folder) if Path(folder).is_dir() else ()
    return [(one.name, dump_spec(one.spec)) for source in sources for one in source.parse().documents]


# ---------------------------------------------------------------- as it is shown


def _lines(items: Sequence[Mapping[str, Any]], *, wide: bool) -> list[str]:
    """The table, and below it what is wrong with files."""
    columns = None if wide else width()
    table = Table(WIDE if wide else HEADERS, width=columns, gives_way=_GIVES_WAY)
    told = [clean(item["problem"]) for item in items if item["problem"]]
    notes = [line for text in told for line in fold_behind("broken: ", text, width())]
    return [*table.lines([_row(item, wide=wide) for item in items]), *notes]


def _row(item: Mapping[str, Any], *, wide: bool) -> list[str]:
    more = [str(len(item["parts"])), item["title"] or NOTHING]
    return [
        item["file"],
        item["kind"],
        item["architecture"] or NOTHING,
        in_bytes(item["size"]),
        item["quantization"] or NOTHING,
        _in_short(item["parameters"]),
        str(item["ctxTrained"] or NOTHING),
        item["thinking"] or NOTHING,
        ",".join(item["usedBy"]) or NOTHING,
        *(more if wide else ()),
    ]


def _summary(items: Sequence[Mapping[str, Any]], folder: Path) -> str:
    total = sum(item["size"] for item in items)
    unused = sum(not item["usedBy"] for item in items)
    rest = f", {unused} that no server uses" if unused else ""
    return f"{plural(len(items), 'model')} in {folder}: {in_bytes(total)}{rest}"


def in_bytes(size: float) -> str:
    """Bytes as people and shops of models count them: `540 kB`, `4.7 GB`."""
    return _scaled(size, (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), " ") or f"{size:.0f} B"


def _in_short(count: float | None) -> str:
    """`7.6B`, as models are named by their parameters."""
    if not count:
        return NOTHING
    return _scaled(count, (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)), "") or str(count)


def _scaled(value: float, units: Sequence[tuple[str, float]], gap: str) -> str:
    """A value in the largest unit of which there is one, in two or three digits; empty where there is none."""
    for unit, size in units:
        # 999,950 is a million to people.
        if value >= 0.99995 * size:
            number = value / size
            return f"{number:.1f}{gap}{unit}" if number < 99.95 else f"{number:.0f}{gap}{unit}"
    return ""
