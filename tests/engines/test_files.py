from typing import Any

import pytest

from reconciler.core.gate import NamedFile
from reconciler.core.spec import ServerSpec
from reconciler.engines.files import named_files


@pytest.mark.parametrize(
    ("flags", "files"),
    [
        ({}, []),
        ({"top-k": 40, "jinja": True}, []),
        ({"mmproj": "p.gguf"}, [("mmproj", "/models/p.gguf", True)]),
        ({"mmproj": "/elsewhere/p.gguf"}, [("mmproj", "/elsewhere/p.gguf", True)]),
        ({"mmproj": "~/p.gguf"}, [("mmproj", "/home/me/p.gguf", True)]),
        ({"lora": "a,b.gguf"}, [("lora", "/models/a", True), ("lora", "/models/b.gguf", True)]),
        ({"lora": ("a", "b,c")}, [("lora", f"/models/{name}", True) for name in "abc"]),
        ({"lora-scaled": "a:0.5,b:1"}, [("lora-scaled", "/models/a", True), ("lora-scaled", "/models/b", True)]),
        ({"spec-draft-model": "d.gguf"}, [("spec-draft-model", "/models/d.gguf", True)]),
        ({"grammar-file": "g.gbnf"}, [("grammar-file", "/models/g.gbnf", False)]),
        ({"chat-template-file": "t", "json-schema-file": "s"},
         [("chat-template-file", "/models/t", False), ("json-schema-file", "/models/s", False)]),
        ({"ssl-key-file": "/k"}, [("ssl-key-file", "/k", False)]),
        # Quoted: only llama-server knows where a name ends.
        ({"lora": '"a,b"'}, []),
        # What it does without, writes, or takes as a folder.
        ({"control-vector": "v", "lookup-cache-dynamic": "c", "slot-save-path": "s", "media-path": "m"}, []),
        ({"mmproj": False, "lora": True, "grammar-file": ""}, []),
    ],
)  # fmt: skip
def test_the_files_that_flags_name(flags: dict[str, Any], files: list[tuple[str, str, bool]]) -> None:
    spec = ServerSpec.model_validate({"model": "a.gguf", "flags": flags})
    expected = [NamedFile(f"spec.flags.{name}", path, is_model) for name, path, is_model in files]
    assert list(named_files(spec, "/models", "/home/me")) == expected
