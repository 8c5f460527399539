import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.controller.files import FileLooker
from reconciler.core.gate import FileFacts, judge
from reconciler.core.model import Now
from reconciler.demo import models
from reconciler.demo.models import CHAT, EMBED, LONG, DemoNotInstalledError, write_demo_models, write_model


@contextlib.contextmanager
def serving(program: str, port: int, model: Path, *flags: str) -> Iterator[httpx.Client]:
    """A llama-server with this model, from Ready on."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    log = model.parent / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--model", str(model), *address, "--threads", "1", "--no-warmup", "-np", "1", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Connection": "close"}, timeout=10) as client:
            while not _is_ready(client):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield client
    finally:
        process.kill()
        process.wait()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.real
def test_a_chat_model_answers_a_completion(llama_server: str, tmp_path: Path, free_port: int) -> None:
    model = write_model(tmp_path / "chat.gguf", context=2048)
    with serving(llama_server, free_port, model) as client:
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "ignore_eos": True}
        answer = client.post("/v1/chat/completions", json=body).json()
        meta = client.get("/v1/models").json()["data"][0]["meta"]
    assert answer["usage"]["completion_tokens"] == 8
    # The template's text, a token for each byte and one for the beginning: the tokenizer is the one that was written.
    assert answer["usage"]["prompt_tokens"] == len("user: Hello\nassistant:") + 2
    assert meta["n_ctx_train"] == 2048
    assert meta["n_vocab"] == 354


@pytest.mark.real
def test_an_embedding_model_answers_an_embedding(llama_server: str, tmp_path: Path, free_port: int) -> None:
    model = write_model(tmp_path / "embed.gguf", embedding=True, width=96)
    with serving(llama_server, free_port, model, "--embeddings") as client:
        answer = client.post("/v1/embeddings", json={"input": ["Hello", "Hello", "Goodbye"]}).json()
    first, again, other = (item["embedding"] for item in answer["data"])
    assert len(first) == 96
    assert first == pytest.approx(again, abs=1e-5)
    assert first != pytest.approx(other, abs=1e-2)


@pytest.mark.real
def test_a_padded_model_is_larger_and_still_loads(llama_server: str, tmp_path: Path, free_port: int) -> None:
    plain = write_model(tmp_path / "plain.gguf").stat().st_size
    padded = write_model(tmp_path / "padded.gguf", pad_bytes=5_000_000)
    assert plain + 5_000_000 <= padded.stat().st_size < plain + 5_100_000
    with serving(llama_server, free_port, padded) as client:
        assert client.post("/completion", json={"prompt": "a", "n_predict": 2}).status_code == 200


def test_the_seed_alone_decides_the_weights(tmp_path: Path) -> None:
    first, again, other = (
        write_model(tmp_path / name, seed=seed).read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert len(first) == len(other)
    assert first != other


def test_writing_leaves_a_mapped_model_alone(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", seed=1)
    with path.open("rb") as mapped:
        before = mapped.read()
        write_model(path, seed=2)
        mapped.seek(0)
        assert mapped.read() == before
    assert path.read_bytes() != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]


def test_a_whole_model_is_not_taken_for_a_growing_one(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    now = Now(1000.0, time.time(), "boot")
    binary = FileFacts("/bin/llama-server", exists=True, executable=True)
    assert judge(binary, [FileLooker().look(str(path), now)], ("", ""), now.monotonic).reason == ""
    path.touch()
    assert judge(binary, [FileLooker().look(str(path), now)], ("", ""), now.monotonic).reason == "ModelGrowing"


def test_demo_models_are_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    assert [path.name for path in write_demo_models(folder)] == [CHAT, EMBED, LONG]
    (folder / "tiny-chat.gguf").unlink()
    assert [path.name for path in write_demo_models(folder)] == ["tiny-chat.gguf"]


def test_without_gguf_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(DemoNotInstalledError, match=r"python\S* -m pip install gguf$"):
        write_model(tmp_path / "model.gguf")


def test_as_a_command_it_tells_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["models", str(tmp_path)])
    models.main()
    models.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"wrote {tmp_path / name} (0.5 MB, random weights)" for name in (CHAT, EMBED, LONG)]
