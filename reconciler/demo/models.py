"""Real but tiny GGUF models with random weights: `python -m reconciler.demo.models DIR` writes the demo's two."""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

CHAT, EMBED, LONG = "tiny-chat.gguf", "tiny-embed.gguf", "tiny-long.gguf"
CHAT_TEMPLATE = "{% for message in messages %}<s>{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
_PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
_AGE = 60.0
"""Seconds since a model was written, as its file says: controllers wait for younger ones, which may still grow."""
_MEAN_POOLING = 1
"""LLAMA_POOLING_TYPE_MEAN in llama.h."""


class DemoNotInstalledError(Exception):
    """A package of the `demo` extra is missing; the text says how to get it."""


@dataclass(frozen=True)
class _Shape:
    context: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int


def write_model(  # noqa: PLR0913 - the shape of a model is this many numbers
    path: Path,
    *,
    context: int = 512,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    embedding: bool = False,
    seed: int = 0,
    pad_bytes: int = 0,
) -> Path:
    """Write a llama model (f32, byte-fallback vocabulary of 354 tokens, 0.5 MB by default) and return its path.

    `context` is the trained context in tokens; `embedding` sets mean pooling; `pad_bytes` makes the file at least so
    much larger, by wider layers. The same arguments give the same bytes. The file is renamed into place, since a
    llama-server that has it mapped dies when it is overwritten; it is whole by then, and so not dated now but a minute
    ago: nobody has to wait whether it still grows. Raises DemoNotInstalledError without the gguf package.
    """
    gguf = _gguf()
    feed_forward = 2 * width + -(-pad_bytes // (3 * 4 * layers * width))
    tokens = _tokens()
    shape = _Shape(context, layers, width, heads, feed_forward, len(tokens))
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_shape(writer, shape)
    _add_vocabulary(writer, gguf, tokens)
    if embedding:
        writer.add_pooling_type(gguf.PoolingType(_MEAN_POOLING))
    _add_weights(writer, shape, seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    _date_back(partial)
    partial.replace(path)
    return path


def _date_back(path: Path) -> None:
    found = path.stat()
    os.utime(path, (found.st_atime, found.st_mtime - _AGE))


def write_demo_models(folder: Path) -> list[Path]:
    """Write the demo's models that are not there yet, and return those written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if not (folder / CHAT).exists():
        written.append(write_model(folder / CHAT, context=2048, seed=1))
    if not (folder / EMBED).exists():
        written.append(write_model(folder / EMBED, context=512, embedding=True, seed=2))
    if not (folder / LONG).exists():
        written.append(write_model(folder / LONG, context=2**20, seed=3))
    return written


def _gguf() -> ModuleType:
    try:
        import gguf  # noqa: PLC0415 - optional, and it brings numpy
    except ImportError:
        raise DemoNotInstalledError(
            f"writing a model needs the gguf package: {shlex.quote(sys.executable)} -m pip install gguf"
        ) from None
    return gguf  # type: ignore[no-any-return, unused-ignore]


def _tokens() -> list[str]:
    return ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *_PRINTABLE]


def _add_shape(writer: Any, shape: _Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)


def _add_vocabulary(writer: Any, gguf: ModuleType, tokens: list[str]) -> None:
    kind = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.replace(" ", "\u2581") for token in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(
        [kind.UNKNOWN, kind.CONTROL, kind.CONTROL] + [kind.BYTE] * 256 + [kind.NORMAL] * len(_PRINTABLE)
    )
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_weights(writer: Any, shape: _Shape, seed: int) -> None:
    import numpy as np  # noqa: PLC0415 - comes with gguf

    generator = np.random.default_rng(seed)

    def add(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, generator.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02))

    add("token_embd.weight", shape.vocabulary, shape.width)
    for layer in range(shape.layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", shape.width, shape.width)
        for part in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{part}.weight", shape.feed_forward, shape.width)
        add(f"blk.{layer}.ffn_down.weight", shape.width, shape.feed_forward)
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(shape.width, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(shape.width, dtype=np.float32))
    add("output.weight", shape.vocabulary, shape.width)


def main() -> None:
    """Write the demo's models into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.demo.models", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder: Path = parser.parse_args().folder
    try:
        written = write_demo_models(folder)
    except DemoNotInstalledError as error:
        parser.exit(1, f"{error}\n")
    for path in written:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB, random weights)")


if __name__ == "__main__":
    main()
