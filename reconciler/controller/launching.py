"""From a spec to what is executed: finds the binary, resolves paths, reads secrets at the last moment."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from reconciler.controller.files import FileLooker
from reconciler.controller.flag_gate import FlagGate
from reconciler.controller.policy import crowded, denial, may_run
from reconciler.controller.secrets import SecretMissingError, Secrets
from reconciler.controller.step_gate import StepGate
from reconciler.core.gate import FileFacts, judge
from reconciler.core.ladder import PRIMARY, Step, spec_on
from reconciler.core.model import Document, GateFacts, Now
from reconciler.core.policy import Denial
from reconciler.core.spec import HfModel, ServerSpec
from reconciler.core.turns import POLICY_DENIED, Turn
from reconciler.discovery import BUILD, find_llama_server
from reconciler.engines import ENGINES, engine_of
from reconciler.engines.help import Help
from reconciler.runtimes.binary_help import BinaryHelps
from reconciler.runtimes.local import Launch
from reconciler.settings import Settings

VERDICT_KEPT = 1.0
"""Seconds for which the policy's verdict on a document is kept: there may be many passes in a second."""
MOST_CROWDED = 64
"""Up to so many servers too many are judged for themselves as well."""
MOST_VERDICTS = 256
"""From this many on, those of earlier looks are forgotten."""
NO_BINARY = (
    "no llama-server was found: put one on PATH, or start the controller with LLAMA_SERVER set to its path; "
    f"or have one built, which takes a C++ compiler and minutes: {BUILD}"
)


class LaunchError(Exception):
    """Something that a start needs cannot be had; `reason` is its name."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Launcher:
    """Renders launches for one installation, and looks whether they could be rendered."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], helps: BinaryHelps[Help] | None = None) -> None:
        """`helps`: what binaries take; without it no flags are checked."""
        self.flags = FlagGate(helps)
        self._settings = settings
        self._environ = dict(environ)
        self.secrets = Secrets(self._environ, self._resolve)
        self._files = FileLooker()
        self._steps = StepGate()
        self._found = ""
        """The discovered binary, looked for again only when it is gone."""
        self._are_many = False
        """There are so many servers too many that it would cost too much to judge them for themselves."""
        self._verdicts: dict[str, tuple[Document, float, Denial | None]] = {}
        """By name: on which document, and until which monotonic time."""

    def look(self, document: Document, now: Now, crowded: Denial | None = None) -> GateFacts:
        """The gate's facts for a document; `crowded`: why there are too many servers already."""
        denied = crowded if crowded and self._are_many else self._denial(document, now) or crowded
        if denied is not None:
            return GateFacts(POLICY_DENIED, denied.message)
        spec = document.spec
        trouble = ("", "")
        try:
            binary = self._binary(document)
            self._environment(spec)
            self._api_key_file(spec)
        except LaunchError as error:
            trouble = (error.reason, str(error))
            binary = spec.binary or ""
        program = self._files.look(binary, now)
        if spec.binary:
            program = replace(program, field="spec.binary")
        gate = self._judge(document, program, trouble, now)
        on_steps = {number: self._judge(one, program, trouble, now) for number, one in self._steps.of(document)}
        return replace(gate, on_steps=on_steps) if on_steps else gate

    def _judge(self, document: Document, program: FileFacts, trouble: tuple[str, str], now: Now) -> GateFacts:
        spec = document.spec
        facts = judge(program, self._look_at_parts(spec, now), trouble, now.monotonic)
        return self.flags.look(document, program.path, self._inherited(spec.engine), now, facts)

    def begin(self) -> None:
        """Ask the llama-server that most servers run for its flags, before the first of them is due."""
        if found := self._discovered():
            self.flags.begin(found, self._inherited("llama-server"))

    def _denial(self, document: Document, now: Now) -> Denial | None:
        """The policy's verdict, kept until the gate is looked at again: a launch asks anew."""
        before = self._verdicts.get(document.name)
        if before is not None and before[0] is document and now.monotonic < before[1]:
            return before[2]
        found = denial(document, self._settings, self._discovered())
        if len(self._verdicts) >= MOST_VERDICTS:
            self._verdicts = {name: one for name, one in self._verdicts.items() if now.monotonic < one[1]}
        self._verdicts[document.name] = (document, now.monotonic + VERDICT_KEPT, found)
        return found

    def _look_at_parts(self, spec: ServerSpec, now: Now) -> list[FileFacts]:
        """All files that a spec names."""
        folder, home = self._settings.models, self._environ.get("HOME", "")
        named = engine_of(spec).named_files(spec, folder, home) if spec.flags else ()
        return self._files.look_at_all(self._model(spec), named, now)

    def may_be_crowded(self, documents: Sequence[Document]) -> bool:
        """Whether more servers are declared than may run. Mostly not, and that is told much sooner than which."""
        declared = Counter(document.origin for document in documents)
        limits = {origin: self._settings.policy.of(origin).max_servers for origin in declared}
        return any(0 < limit < declared[origin] for origin, limit in limits.items())

    def crowded(self, documents: Sequence[Document], turns: Mapping[str, Turn]) -> Mapping[str, Denial]:
        """The documents beyond the policy's number of servers, by name."""
        found = crowded(documents, self._settings, turns)
        self._are_many = len(found) > MOST_CROWDED
        return found

    def launch(self, document: Document, port: int, step: Step = PRIMARY) -> Launch:
        """What to execute. Raises LaunchError when something changed since the gate was looked at."""
        asked = replace(document, spec=spec_on(document.spec, step))
        # A link may point elsewhere by now.
        if denied := denial(asked, self._settings, self._discovered()):
            raise LaunchError(POLICY_DENIED, denied.message)
        binary, effective = self._binary(document), self.effective(document.spec, step)
        spec = self.flags.fitted(effective, binary, self._inherited(effective.engine))
        model = self._model(spec)
        argv = engine_of(spec).render(
            spec,
            binary=binary,
            model=model,
            port=port,
            models_dir=self._settings.models,
            api_key_file=self._api_key_file(spec),
            home=self._environ.get("HOME", ""),
        )
        return Launch(argv, self._environment(spec))

    def hides_gpus(self, step: Step) -> bool:
        """Whether the GPUs are hidden from what is started on a step."""
        return step.hides_gpus or self._settings.cpu_only

    def effective(self, spec: ServerSpec, step: Step = PRIMARY) -> ServerSpec:
        """What a server is started with on a step."""
        on_step = spec_on(spec, step)
        return engine_of(spec).without_gpus(on_step) if self.hides_gpus(step) else on_step

    def public(self, spec: ServerSpec, launch: Launch) -> dict[str, Any]:
        """What may be written down of a launch: argv, and variables with their references unresolved."""
        env = {name: value if isinstance(value, str) else value.model_dump() for name, value in spec.env.items()}
        return {"argv": list(launch.argv), "env": env}

    def model_path(self, spec: ServerSpec) -> str | None:
        """The model's absolute path; None for one that llama-server downloads."""
        return self._model(spec)

    def discovered(self) -> tuple[str, str] | None:
        """The llama-server of specs that name none, and where it was found; None where there is none."""
        if named := self._settings.llama_server:
            return _absolute(named), self._settings.origins.get("llama_server", "file")
        return find_llama_server(self._environ)

    def api_key(self, spec: ServerSpec) -> str | None:
        """The first key that the server accepts, for asking it."""
        try:
            path = self._api_key_file(spec)
        except LaunchError:
            return None
        return next((line for line in self.secrets.keys(path) if line), None) if path else None

    def _binary(self, document: Document) -> str:
        spec, found = document.spec, self._discovered()
        if spec.binary is None:
            if not found:
                raise LaunchError("BinaryMissing", NO_BINARY)
            return found
        wanted = _absolute(spec.binary)
        if not may_run(wanted, document.origin, self._settings, found):
            raise LaunchError(
                "BinaryNotAllowed",
                f"{wanted} is not allowed by the settings; add it to `binaries` in reconciler.toml",
            )
        return wanted

    def _discovered(self) -> str:
        if self._settings.llama_server:
            return _absolute(self._settings.llama_server)
        if not os.path.exists(self._found):  # noqa: PTH110 - see _absolute
            found = find_llama_server(self._environ)
            self._found = found[0] if found else ""
        return self._found

    def _model(self, spec: ServerSpec) -> str | None:
        return None if isinstance(spec.model, HfModel) else self._resolve(spec.model)

    def _resolve(self, path: str) -> str:
        """Absolute, `~`, or relative to the models folder."""
        return os.path.join(self._settings.models, os.path.expanduser(path))  # noqa: PTH111, PTH118 - see _absolute

    def _api_key_file(self, spec: ServerSpec) -> str | None:
        if spec.api_key_file is None:
            return None
        path = self._resolve(spec.api_key_file)
        if not os.path.isfile(path):  # noqa: PTH113 - a Path raises where the folder may not be entered
            raise LaunchError("SecretMissing", f"spec.apiKeyFile: no file at {path}; write the keys there, one a line")
        return path

    @lru_cache(maxsize=8)  # noqa: B019 - one launcher lives as long as the controller
    def _inherited(self, engine: str) -> Mapping[str, str]:
        """What servers of an engine get of the controller's environment, which does not change."""
        return {name: value for name, value in self._environ.items() if ENGINES[engine].inherits(name)}

    def _environment(self, spec: ServerSpec) -> dict[str, str]:
        environment = dict(self._inherited(spec.engine))
        for name, value in spec.env.items():
            try:
                environment[name] = value if isinstance(value, str) else self.secrets.value(name, value)
            except SecretMissingError as error:
                raise LaunchError("SecretMissing", str(error)) from None
        return environment


def _absolute(path: str) -> str:
    """Unlike a Path, it takes `~nobody` as written instead of raising: the file is then missing, and that is told."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH111
