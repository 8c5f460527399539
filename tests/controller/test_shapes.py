from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.launching import Launcher
from reconciler.controller.shapes import Shapes
from reconciler.core.history import History, ServerRecord, Tried
from reconciler.core.model import Desired, Document, GateFacts, Identity, Limits, Process, Wanted
from reconciler.core.spec import ServerSpec
from reconciler.demo.models import write_model
from reconciler.settings import Settings

DEAD = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=False)
SHAPE = (512, 3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "a.gguf", layers=3)
    (folder / "junk.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    return folder


def shape(
    models: Path,
    spec: dict[str, Any],
    process: Process | None = None,
    record: ServerRecord | None = None,
    limits: Limits | None = None,
) -> tuple[int, int]:
    """What is read for a server `chat`."""
    document = Document("LlamaServer", "chat", "f", ServerSpec.model_validate({"model": "a.gguf", **spec}))
    wanted = Wanted(document, "fp")
    desired = Desired({"chat": wanted}, limits=limits or Limits())
    shapes = Shapes(Launcher(Settings(models=str(models)), {}))
    history = History(servers={"chat": record} if record else {})
    found = shapes.add(
        {"chat": GateFacts(identity="i")}, [wanted], {"chat": (process,) if process else ()}, desired, history
    )
    assert found["chat"].identity == "i"
    return found["chat"].trained, found["chat"].layers


@pytest.mark.parametrize(
    ("process", "record"),
    [
        (replace(DEAD, diagnosis="GpuOutOfMemory"), None),
        (replace(DEAD, alive=True, step=2), None),
        (None, ServerRecord("chat", step=1)),
        (replace(DEAD, alive=True), ServerRecord("chat", ready_step=2, last_cause="Crashed")),
        (None, ServerRecord("chat", tried=(Tried(0, "as asked", "OomKilled"),))),
        (None, ServerRecord("chat", last_cause="ContextTooLarge")),
    ],
)
def test_the_model_of_a_server_in_trouble_is_read(
    models: Path, process: Process | None, record: ServerRecord | None
) -> None:
    assert shape(models, {}, process, record) == SHAPE


@pytest.mark.parametrize(
    ("process", "record"),
    [
        (None, None),
        (replace(DEAD, alive=True), ServerRecord("chat")),
        (replace(DEAD, diagnosis="InvalidFlag"), ServerRecord("chat", last_cause="ModelBroken")),
    ],
)
def test_that_of_others_is_left_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch, process: Process | None, record: ServerRecord | None
) -> None:
    monkeypatch.setattr("reconciler.controller.shapes.read_header", lambda _path: pytest.fail("read"))
    assert shape(models, {}, process, record) == (0, 0)


@pytest.mark.parametrize(
    ("spec", "limits"),
    [
        ({"fallback": "off"}, Limits()),
        ({}, Limits(fallback="off")),
        ({"fallback": {"steps": [{"ctx": 64}]}}, Limits()),
        ({"ctx": 4096, "gpuLayers": 9}, Limits()),
        ({"model": "junk.gguf"}, Limits()),
        ({"model": "none.gguf"}, Limits()),
        ({"model": {"hf": "a/b"}}, Limits()),
    ],
)
def test_nothing_is_known_where_no_step_depends_on_it_or_no_model_can_be_read(
    models: Path, spec: dict[str, Any], limits: Limits
) -> None:
    assert shape(models, spec, replace(DEAD, diagnosis="OomKilled"), None, limits) == (0, 0)


def test_a_model_is_read_once_for_as_long_as_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "a.gguf", layers=2)
    shapes = Shapes(Launcher(Settings(models=str(tmp_path)), {}))
    wanted = Wanted(Document("LlamaServer", "chat", "f", ServerSpec.model_validate({"model": "a.gguf"})), "fp")
    history = History(servers={"chat": ServerRecord("chat", step=1)})

    def layers() -> int:
        desired = Desired({"chat": wanted})
        return shapes.add({"chat": GateFacts()}, [wanted], {}, desired, history)["chat"].layers

    assert layers() == 2
    with monkeypatch.context() as patched:
        patched.setattr("reconciler.controller.shapes.read_header", lambda _path: pytest.fail("read twice"))
        assert layers() == 2
    (tmp_path / "a.gguf").unlink()
    write_model(tmp_path / "a.gguf", layers=4)
    assert layers() == 4
