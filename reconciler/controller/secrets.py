"""Reads the secrets that specs name, and takes them out of what is stored and told of servers' logs."""

import json
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.core.spec import EnvValue, FromEnv, FromFile, ServerSpec

SHORTEST = 6
"""Characters from which on a value is taken out wherever it stands; shorter ones are words of anything."""
HIDDEN = "(hidden)"
MOST_PLACES = 4096
MOST_VALUES = 4
"""Remembered of one place: a server that was started before its secret changed may tell the older one."""


class SecretMissingError(Exception):
    """What a spec names as a secret cannot be read; the message says why."""


class Secrets:
    """Where secrets are, and what was read there as long as this controller runs: that is never stored."""

    def __init__(self, environ: Mapping[str, str], resolve: Callable[[str], str]) -> None:
        """`resolve`: the absolute path of one that a spec names."""
        self._environ = environ
        self._resolve = resolve
        self._values: dict[tuple[str, str], tuple[str, ...]] = {}
        """By kind and place, the one that was read last at the end."""

    def value(self, name: str, asked: FromEnv | FromFile) -> str:
        """What a variable of a server is to be. Raises SecretMissingError."""
        found = self._of_environment(name, asked) if isinstance(asked, FromEnv) else self._of_file(name, asked)
        return self._noted(self._place(asked), found)

    def keys(self, path: str) -> list[str]:
        """The API keys in a file; none where it cannot be read."""
        with suppress(OSError, ValueError):
            if Path(path).is_file():
                return self._noted(("file", path), Path(path).read_text()).splitlines()
        return []

    def without(self, text: str, *specs: ServerSpec) -> str:
        """A log of a server without the secrets that these specs name, as far as they are known."""
        places, variables = set(), set()
        for spec in specs if text else ():
            for name, asked in _referring(spec.env):
                variables.add(name)
                places.add(self._place(asked))
                with suppress(SecretMissingError):
                    self.value(name, asked)
            if spec.api_key_file is not None:
                path = self._resolve(spec.api_key_file)
                places.add(("file", path))
                self.keys(path)
        return without_secrets(text, [one for place in places for one in self._values.get(place, ())], variables)

    def _place(self, asked: FromEnv | FromFile) -> tuple[str, str]:
        if isinstance(asked, FromEnv):
            return "environment", asked.from_env
        return "file", self._resolve(asked.from_file)

    def _noted(self, place: tuple[str, str], value: str) -> str:
        known = self._values.pop(place, ())
        self._values[place] = (*(one for one in known if one != value), value)[-MOST_VALUES:]
        if len(self._values) > MOST_PLACES:
            del self._values[next(iter(self._values))]
        return value

    def _of_environment(self, name: str, asked: FromEnv) -> str:
        if asked.from_env not in self._environ:
            raise SecretMissingError(
                f"spec.env.{name}: the controller's environment has no {asked.from_env}; "
                "set it and run the controller again"
            )
        return self._environ[asked.from_env]

    def _of_file(self, name: str, asked: FromFile) -> str:
        resolved = Path(self._resolve(asked.from_file))
        try:
            # A pipe would be waited for, and everything else with it.
            if not stat.S_ISREG(resolved.stat().st_mode):
                raise SecretMissingError(f"spec.env.{name}: {resolved} is no file; write the value into one")
            return resolved.read_text().removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SecretMissingError(f"spec.env.{name}: {resolved} cannot be read: {why}") from None


def without_secrets(text: str, values: Collection[str], variables: Collection[str]) -> str:
    """The text without these values, and without what it says of the values of these variables, however short."""
    forms = {form for value in values for form in _forms(value) if len(form) >= SHORTEST and form in text}
    if forms:
        # The longest first: one may be part of another.
        found = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        text = re.sub(found, HIDDEN, text)
    if variables:
        names = "|".join(re.escape(name) for name in sorted(variables))
        text = re.sub(rf'(environment variable \\?"(?:{names})\\?": )[^\n]*', rf"\g<1>{HIDDEN}", text)
    return text


def _referring(env: Mapping[str, EnvValue]) -> Iterator[tuple[str, FromEnv | FromFile]]:
    for name, value in env.items():
        if not isinstance(value, str):
            yield name, value


def _forms(value: str) -> Iterator[str]:
    """A value as logs may have it: each of its lines by itself, and as JSON writes it."""
    for line in (value, *value.splitlines()):
        yield line.strip()
        yield json.dumps(line.strip())[1:-1]
        yield json.dumps(line.strip(), ensure_ascii=False)[1:-1]
