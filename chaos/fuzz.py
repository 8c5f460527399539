"""Ten thousand made-up and broken manifests: never a traceback, never a stop, always a position."""

import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chaos.mutation import Maker
from chaos.scenario import Options, Outcome
from reconciler.controller.preview import check_spec
from reconciler.core.accept import Seen, accept
from reconciler.core.model import Document, Now
from reconciler.core.pruning import LONG_DELAY, Memory
from reconciler.core.spec import HfModel, ServerSpec
from reconciler.engines import engine_of
from reconciler.manifests.parse import Parsed, parse
from reconciler.manifests.schema import json_schema
from reconciler.store.read import open_readonly
from reconciler.store.rows import read_documents
from reconciler.store.writer import Store
from tests.e2e.installation import Installation, document, installed

FILE = "manifests/chat.yaml"
ASKED_OF_ONE = 10
"""Files that are written to a real controller's folder between two questions."""
SHARE = 20
"""One of so many is put before a real controller too."""
TOLD = 10
"""Most failures that are told."""


class Judge:
    """Puts texts in the place of a manifest whose server runs, beside another one."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes a state database."""
        self.counts: Counter[str] = Counter()
        self._state = folder
        self._store = Store(folder)
        self._accepted = {
            name: Document("LlamaServer", name, f"manifests/{name}.yaml", ServerSpec(model="m.gguf"), generation=1)
            for name in ("chat", "other")
        }

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def faults(self, text: str | bytes) -> list[str]:
        """What should not have been."""
        try:
            return list(self._faults(text))
        except Exception:  # noqa: BLE001 - that there is none is what is played for
            return [f"a traceback:\n{traceback.format_exc()}"]

    def _faults(self, text: str | bytes) -> Iterator[str]:
        parsed = parse(text, FILE, check_spec)
        self.counts["with errors" if parsed.problems else "valid"] += 1
        self.counts["documents accepted"] += len(parsed.documents)
        self.counts["errors told"] += len(parsed.problems)
        last = len(text.splitlines()) + 2
        for problem in parsed.problems:
            if not (1 <= problem.line <= last and problem.column >= 1 and str(problem).startswith(f"{FILE}:")):
                yield f"an error without a position: {problem!r}"
            if not (problem.message and str(problem).isprintable()):
                yield f"an error that cannot be printed: {problem!r}"
        for found in parsed.documents:
            self._use(found)
        yield from self._stops(parsed)

    def _use(self, found: Document) -> None:
        """All that is done with an accepted document; it raises nothing."""
        engine = engine_of(found.spec)
        engine.fingerprint(found.spec)
        engine.render(
            found.spec, binary="llama-server", model="/m.gguf", port=8000, models_dir="/", api_key_file=None, home="/"
        )
        with self._store.transaction():
            self._store.save_document(replace(found, generation=1), Now(1.0, 1.0, "boot"))

    def _stops(self, parsed: Parsed) -> Iterator[str]:
        """While a file has an error, nothing that it declared is gone, and never what another one declares."""
        other = self._accepted["other"]
        seen = Seen((other, *(one for one in parsed.documents if one.name != "other")), parsed.problems)
        first = accept(self._accepted, seen, Memory(), 100.0)
        second = accept(dict(first.documents), seen, first.memory, 100.0 + LONG_DELAY)
        if "other" not in second.documents:
            yield "a server of another file was stopped"
        if parsed.problems and "chat" not in second.documents:
            yield "a server was stopped although its file has an error"
        if not parsed.problems and "chat" not in second.documents:
            self.counts["removals meant"] += 1

    def reread(self) -> int:
        """How many of the accepted documents the database gives back, from the names that there are."""
        self._store.close()
        connection = open_readonly(self._state)
        assert connection is not None
        found = read_documents(connection)
        connection.close()
        return len(found)


def play(options: Options) -> Outcome:
    """All of them by themselves, and one of twenty in the folder of a controller with two real servers."""
    maker = Maker(options.random(), json_schema())
    database, root = options.scratch / "judged", options.scratch / "played"
    database.mkdir()
    root.mkdir()
    judge, failures, texts = Judge(database), list[str](), []
    for number in range(options.manifests):
        text = maker.text()
        failures += [f"number {number}: {fault}\n{text!r}" for fault in judge.faults(text)]
        if number % SHARE == 0 and is_harmless(text):
            texts.append(text)
        if number % 1000 == 0:
            options.tell(f"{number} manifests, {len(failures)} faults")
        if options.is_over() or len(failures) >= TOLD:
            break
    figures: dict[str, int | float | str] = {"manifests": number + 1, **judge.counts}
    figures["names in the database"] = judge.reread()
    with installed(root, options.llama_server, options.model, options.ports) as installation:
        written, seen = _write_all(installation, texts, options)
        figures["files written before two real servers"] = written
        failures += seen
    return Outcome(figures, failures[:TOLD])


def is_harmless(text: str | bytes) -> bool:
    """Whether nothing in it asks for a stop or a download, which would be done."""
    parsed = parse(text, FILE, check_spec)
    if any(isinstance(one.spec.model, HfModel) or one.spec.suspend for one in parsed.documents):
        return False
    return bool(parsed.problems) or any(one.name == "chat" for one in parsed.documents)


def _write_all(installation: Installation, texts: list[str | bytes], options: Options) -> tuple[int, list[str]]:
    installation.declare("other")
    path = installation.declare("chat")
    installation.start()
    before = installation.wait_ready("chat", "other")
    draft = path.with_name(".draft")
    for number, text in enumerate(texts):
        draft.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
        draft.replace(path)
        if number % ASKED_OF_ONE == 0:
            installation.reconcile()
            if installation.pids() != before:
                return number, [f"a server was stopped by one of the last {ASKED_OF_ONE} before: {text!r}"]
        if options.is_over():
            return number, []
    installation.write(path, document("chat"))
    installation.reconcile()
    installation.wait_for("all to be well", lambda: installation.conditions("chat")["Reconciled"]["status"])
    return len(texts), [] if installation.pids() == before else ["a server was stopped"]
