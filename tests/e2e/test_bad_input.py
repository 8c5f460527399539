"""Whatever is written into a manifest: nothing that runs stops, a crashed server comes back, and the place is told."""

import os
import signal

import pytest

from reconciler.core.pruning import PRUNE_DELAY
from tests.e2e.installation import Installation, document
from tests.sampling import some

pytestmark = pytest.mark.real

GOOD = document("chat")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "broken-yaml": ("apiVersion: [\nkind: }", "chat.yaml:"),
    "wrong-type": (document("chat", port="eight"), "chat.yaml:"),
    "unknown-field": (GOOD.replace('"ctx"', '"ctxt"'), "did you mean 'ctx'"),
    "unknown-kind": (GOOD.replace("LlamaServer", "LamaServer"), "LamaServer"),
    "unknown-version": (GOOD.replace("v1alpha1", "v9"), "v9"),
    "zero-bytes": ("", ""),
    "junk": ("\x00\x01\x02\xff" * 64, "chat.yaml"),
    "huge": ("# " + "x" * 10_000_000, "chat.yaml"),
    "alias-bomb": (BOMB, "chat.yaml:"),
    "unknown-tag": (GOOD.replace('"tiny.gguf"', "!exec rm"), "chat.yaml:"),
    "duplicate-key": ("kind: LlamaServer\nkind: LlamaServer\n", "chat.yaml:"),
    "refused-flag": (document("chat", flags={"api-key": "x"}), "apiKeyFile"),
}


@pytest.mark.parametrize("case", some(BROKEN, ["broken-yaml", "unknown-field", "zero-bytes", "alias-bomb"]))
def test_a_broken_document_stops_nothing(installation: Installation, case: str) -> None:
    text, told = BROKEN[case]
    path = installation.declare("chat")
    installation.declare("other")
    installation.start()
    before = installation.wait_ready("chat", "other")
    installation.write(path, text)

    def is_told() -> bool:
        return told in " ".join(message for _, message in installation.events()) and bool(installation.problem("chat"))

    installation.wait_for("the place to be told", is_told)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == before, PRUNE_DELAY + 0.2)
    assert installation.conditions("chat")["Ready"]["status"] is True
    installation.write(path, GOOD)
    installation.wait_for("all to be well", lambda: installation.conditions("chat")["Reconciled"]["status"])
    assert installation.pids() == before


@pytest.mark.parametrize("case", some(["wrong-type", "junk", "zero-bytes"], ["junk"]))
def test_what_crashes_beside_a_broken_document_is_restarted_as_it_was(installation: Installation, case: str) -> None:
    path = installation.declare("chat")
    installation.declare("other")
    installation.start()
    before = installation.wait_ready("chat", "other")
    installation.write(path, BROKEN[case][0])
    installation.wait_for("it to be told", lambda: bool(installation.problem("chat")))
    os.kill(before["chat"], signal.SIGKILL)
    installation.wait_for("chat again", lambda: installation.pids().get("chat", before["chat"]) != before["chat"])
    after = installation.wait_ready("chat", "other")
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a controller", installation.is_controlled)
    installation.reconcile()
    installation.stays(lambda: installation.pids() == after, 1.0)
    os.kill(after["chat"], signal.SIGKILL)
    installation.wait_for("chat again", lambda: installation.pids().get("chat", after["chat"]) != after["chat"])
    after = installation.wait_ready("chat", "other")

    installation.write(path, GOOD)
    installation.wait_for("all to be well", lambda: installation.conditions("chat")["Reconciled"]["status"])
    assert installation.pids() == after


def test_duplicate_names_and_ports_are_errors_on_both(installation: Installation) -> None:
    installation.declare("one", port=installation.ports.start)
    installation.declare("two", port=installation.ports.start + 1)
    installation.start()
    before = installation.wait_ready("one", "two")

    installation.write(installation.manifests / "again.yaml", document("one", ctx=512))
    installation.wait_for("the name to be told", lambda: "one.yaml" in installation.problem("one"))
    assert "again.yaml" in installation.problem("one")
    installation.write(installation.manifests / "again.yaml", document("three", port=installation.ports.start + 1))
    installation.wait_for("the port to be told", lambda: "wants port" in installation.problem("two"))
    assert "wants port" in installation.problem("three")
    assert installation.phases()["three"] == "Invalid"
    installation.wait_for("one to be well", lambda: installation.conditions("one")["Reconciled"]["status"])
    assert installation.pids() == before


def test_a_missing_or_emptied_folder_stops_nothing(installation: Installation) -> None:
    for name in ("one", "two"):
        installation.declare(name)
    installation.start(RECONCILER_TICK="1")
    before = installation.wait_ready("one", "two")
    aside = installation.root / "aside"
    installation.manifests.rename(aside)
    installation.wait_for("the folder to be missed", lambda: "missing" in installation.problem("one"))
    installation.stays(lambda: installation.pids() == before, 3.0)
    installation.manifests.mkdir()
    installation.wait_for("the guard to be told", lambda: "--prune" in installation.problem("one"))
    installation.stays(lambda: installation.pids() == before, 3.0)
    installation.manifests.rmdir()
    aside.rename(installation.manifests)
    installation.wait_for("all to be well", lambda: installation.conditions("one")["Reconciled"]["status"])
    installation.declare("one", ctx=512)  # the folder is watched again
    installation.wait_for("a new process", lambda: installation.pids().get("one", before["one"]) != before["one"])


def test_losing_more_than_half_is_held_until_it_is_confirmed(installation: Installation) -> None:
    paths = [installation.declare(f"s{number}") for number in range(5)]
    names = [path.stem for path in paths]
    installation.start()
    before = installation.wait_ready(*names)
    for path in paths[:3]:
        path.unlink()
    installation.wait_for("the guard to be told", lambda: "--prune" in installation.problem("s0"))
    installation.stays(lambda: installation.pids() == before, 3.0)
    installation.cli("apply", "--prune")
    installation.wait_for("the rest to be left", lambda: set(installation.pids()) == {"s3", "s4"})
    assert {name: installation.pids()[name] for name in ("s3", "s4")} == {name: before[name] for name in ("s3", "s4")}
