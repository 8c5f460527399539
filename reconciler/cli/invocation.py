"""What was named on the command line for all verbs, and what follows from it: the state folder and the settings."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler import installation
from reconciler.cli.entering import require_entry
from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean
from reconciler.cli.habits import elsewhere

if TYPE_CHECKING:
    from reconciler.settings import Settings

_VARIABLES = {"manifests": "RECONCILER_MANIFESTS", "models": "RECONCILER_MODELS"}


@dataclass
class Invocation:
    """The global options, as far as they were given."""

    config: str | None = None
    state: str | None = None
    manifests: str | None = None
    models: str | None = None
    debug: bool = False
    quiet: bool = False
    """Print data and errors, and nothing besides."""

    def state_folder(self, example: str = "get servers") -> Path:
        """The folder of an installation that exists. Raises Failure; `example`: what its owner types."""
        try:
            state = installation.find_state(Path.cwd(), os.environ, self.state, self.config)
        except installation.NotFoundError as error:
            raise Failure(str(error)) from None
        require_entry(state, example)
        return state

    def settings(self) -> "Settings":
        """The settings of the working folder. Raises Failure."""
        return self._load(self.config, {"state": self.state, "manifests": self.manifests, "models": self.models})

    def settings_of(self, state: Path) -> "Settings":
        """The settings for an installation that exists: its own folders, unless others were named.

        The working folder may be another project's, whose manifests must not be put in force here.
        """
        recorded = _recorded(state)
        flags = {"state": str(state), "manifests": self.manifests, "models": self.models}
        settings = self._load(self.config or self._settings_file(state, recorded), flags)
        if state == Path.cwd() / installation.STATE:
            return settings
        own = {
            name: recorded.get(name) or str(state.parent / name)
            for name, variable in _VARIABLES.items()
            if flags[name] is None
            and not os.environ.get(variable)
            and getattr(settings, name) == str(Path.cwd() / name)
        }
        return settings.model_copy(update=own)

    def _settings_file(self, state: Path, recorded: Mapping[str, Any]) -> str | None:
        """Where an installation's settings are: where its last controller had them, unless this folder is its own.

        Another project's must not decide here what may run, or which repository is followed.
        """
        here = os.path.exists(installation.CONFIG)  # noqa: PTH110 - a Path raises in a folder that is closed to us
        if here and self._is_at_home(state):
            return None
        last, above = recorded.get("settings"), state.parent / installation.CONFIG
        if last and Path(last).exists():
            return str(last)
        return str(above) if above.exists() and not here else None

    def _is_at_home(self, state: Path) -> bool:
        """Whether the working folder's settings are this installation's."""
        try:
            named = installation.named_state(Path.cwd(), {}, None, None)
        except installation.NotFoundError:
            return False
        return state == (named[0] if named else Path.cwd() / installation.STATE)

    def existing_or_new(self) -> "Settings":
        """The settings of the installation meant; where there is none, of the one that would be made here."""
        if self.state is None and self.config is None and installation.is_project(Path.cwd()):
            return self.settings()
        try:
            found = installation.find_state(Path.cwd(), os.environ, self.state, self.config)
        except installation.NotFoundError:
            return self.settings()
        require_entry(found, "get servers")
        return self.settings_of(found)

    def _load(self, config: str | None, flags: Mapping[str, str | None]) -> "Settings":
        from reconciler.settings import SettingsError, load_settings  # noqa: PLC0415 - pydantic is slow to import

        try:
            return load_settings(os.environ, config, flags)
        except SettingsError as error:
            raise Failure(str(error), "correct that setting", exit_code=BAD_INPUT) from None


def _recorded(state: Path) -> Mapping[str, Any]:
    """The folders that the installation's last controller used."""
    from reconciler.cli.standing import opened  # noqa: PLC0415 - not all verbs need it
    from reconciler.store import read  # noqa: PLC0415

    try:
        with opened(state) as db:
            facts = read.meta(db)
    except read.ReadError as error:
        raise Failure(str(error)) from None
    folder = facts.get("manifests", {}).get("folder")
    return {"manifests": folder, **facts.get("controller", {})} if folder else facts.get("controller", {})


# ---------------------------------------------------------------- the global options


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Note an option that was given; one behind the verb comes later, and wins."""
    invocation = context.ensure_object(Invocation)
    if value and parameter.name:
        setattr(invocation, parameter.name, value)


def global_options() -> list[click.Parameter]:
    """The options that every verb takes, and that may stand before the verb too."""
    texts = {
        "config": ("FILE", "Settings file.  [default: reconciler.toml]"),
        "state": ("DIR", "Folder of the database and logs.  [env: RECONCILER_STATE; default: state, here or above]"),
        "manifests": ("DIR", "Folder of the manifests.  [env: RECONCILER_MANIFESTS; default: manifests]"),
        "models": ("DIR", "Folder that relative model paths start from.  [env: RECONCILER_MODELS; default: models]"),
    }
    options = [
        click.Option([f"--{name}"], metavar=metavar, help=text, expose_value=False, callback=_keep)
        for name, (metavar, text) in texts.items()
    ]
    quiet = "Print data and errors, and nothing besides."
    debug = "Show tracebacks.  [env: RECONCILER_DEBUG=1]"
    return [
        *options,
        click.Option(["-q", "--quiet"], is_flag=True, help=quiet, expose_value=False, callback=_keep),
        click.Option(["--debug"], is_flag=True, help=debug, expose_value=False, callback=_keep),
    ]


def version_option() -> click.Option:
    """`--version`, for before the verb."""

    def show_version(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        del parameter
        if value and not context.resilient_parsing:
            from reconciler.cli.version import version_line  # noqa: PLC0415 - importlib.metadata takes a while

            click.echo(version_line())
            context.exit()

    text = "Print the version, and exit."
    return click.Option(
        ["--version"], is_flag=True, is_eager=True, help=text, expose_value=False, callback=show_version
    )


EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "it did not work out, or not yet",
    2: "the command line, the settings or the manifests have errors; nothing was changed",
}
"""What the exit codes say of a verb that does not tell otherwise."""


def write_epilog(
    formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]], exit_codes: Mapping[int, str]
) -> None:
    """What people copy, and what scripts ask for."""
    if examples:
        with formatter.section("Examples"):
            formatter.write_dl(list(examples), col_max=60)
    with formatter.section("Exit codes"):
        formatter.write_dl([(str(code), text) for code, text in exit_codes.items()])


class Verb(click.Command):
    """A command that takes the global options beside its own, and tells examples and exit codes in its help."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        exit_codes: Mapping[int, str] = EXIT_CODES,
        **more: Any,
    ) -> None:
        """`examples`: command lines that work, each with what it is for. `exit_codes`: those of the verb's own."""
        super().__init__(*args, **more)
        self.params.extend(global_options())
        self.examples = examples
        self.exit_codes = exit_codes

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples and exit codes."""
        write_epilog(formatter, self.examples, self.exit_codes)
        super().format_epilog(ctx, formatter)


class VerbGroup(click.Group):
    """A verb with verbs below it, such as `rollout history`."""

    command_class = Verb

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **more: Any) -> None:
        """`elsewhere`: what other tools have below a verb of that name, and the verb that it is here."""
        super().__init__(*args, **more)
        self._elsewhere = elsewhere or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples and exit codes of the verbs below it."""
        verbs = [verb for verb in self.commands.values() if isinstance(verb, Verb)]
        codes: dict[int, list[str]] = {}
        for verb in verbs:
            for code, text in verb.exit_codes.items():
                codes.setdefault(code, []).extend([text] if text not in codes.get(code, ()) else [])
        examples = [example for verb in verbs for example in verb.examples]
        write_epilog(formatter, examples, {code: "; or: ".join(texts) for code, texts in sorted(codes.items())})
        super().format_epilog(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A misspelt one is answered with the one that was meant."""
        if args and args[0] not in self.commands:
            there = ", ".join(f"{ctx.command_path} {name}" for name in self.commands)
            meant = elsewhere(self._elsewhere, args) or did_you_mean(args[0], self.commands)
            unknown = f"no such command '{ctx.command_path} {args[0]}'{meant}"
            raise click.UsageError(f"{unknown}; there is: {there}", ctx)
        return super().resolve_command(ctx, args)


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)
