"""GGUF files for tests: real ones by the gguf package, and broken ones by hand."""

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np

TEXT, LIST, U32 = 8, 9, 4


def write_gguf(path: Path, architecture: str = "llama", *, tensors: int = 1, **facts: Any) -> Path:
    """A file with these facts (`__` stands for a dot, `ARCH` for the architecture) and small tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in facts.items():
        name = key.replace("__", ".").replace("ARCH", architecture)
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_uint32(name, value)
    for number in range(tensors):
        writer.add_tensor(f"blk.{number}.attn_q.weight", np.ones((8, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str) -> bytes:
    """As GGUF writes it."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header(*facts: bytes, version: int = 3, tensors: int = 0, count: int | None = None) -> bytes:
    """The bytes of a header with facts that are bytes already."""
    number = len(facts) if count is None else count
    return b"GGUF" + struct.pack("<IQQ", version, tensors, number) + b"".join(facts)


def listed(key: str, kind: int, count: int, content: bytes = b"") -> bytes:
    """A fact that is a list, of as many values as it says."""
    return text(key) + struct.pack("<IIQ", LIST, kind, count) + content
