"""From a file in the models folder to a server that answers, by what the file says of itself."""

import json
from typing import Any

import httpx

from reconciler.demo.models import write_model
from tests.e2e.installation import Installation


def test_a_model_that_is_found_becomes_a_server(installation: Installation) -> None:
    write_model(installation.models / "Tiny-Embed-1B-F32.gguf", embedding=True)
    found = _models(installation)
    assert {file: (item["kind"], item["usedBy"]) for file, item in found.items()} == {
        "Tiny-Embed-1B-F32.gguf": ("embedding", []),
        "tiny.gguf": ("text", []),
    }
    installation.start()
    installation.wait_for("the controller", installation.is_controlled)
    for file in found:
        installation.cli("create", "server", "--from-model", file, "--set", "threads=1", "--wait")
    installation.wait_ready("tiny", "tiny-embed-1b")
    assert [item["usedBy"] for item in _models(installation).values()] == [["tiny-embed-1b"], ["tiny"]]

    port = installation.query("select port from ports where server = 'tiny-embed-1b'")[0][0]
    # As long as the context that was proposed for it: the flags are what lets an input be so long.
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/embeddings", json={"input": "a" * 500}, timeout=60, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"][0]["embedding"]) == 64


def test_a_file_that_llama_server_would_refuse_is_told_before(installation: Installation) -> None:
    whole = (installation.models / "tiny.gguf").read_bytes()
    (installation.models / "cut.gguf").write_bytes(whole[:-1000])
    assert "fetch it again" in _models(installation)["cut.gguf"]["problem"]
    refused = installation.cli("create", "server", "--from-model", "cut.gguf", code=2)
    assert "fetch it again" in refused
    assert not list(installation.manifests.iterdir())


def _models(installation: Installation) -> dict[str, dict[str, Any]]:
    return {item["file"]: item for item in json.loads(installation.cli("models", "-o", "json"))["items"]}
