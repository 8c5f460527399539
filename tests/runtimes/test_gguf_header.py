import io
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.demo.models import write_model
from reconciler.runtimes.ggml_types import BLOCKS, FILE_TYPES
from reconciler.runtimes.gguf_header import MOST_HEADER, MOST_KEPT, HeaderError, _Reader, read_header
from tests.runtimes.gguf_files import LIST, TEXT, U32, header, listed, text, write_gguf


def test_the_types_are_those_of_gguf() -> None:
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert dict(BLOCKS) == {kind: theirs[kind] for kind in BLOCKS}
    names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    assert dict(FILE_TYPES) == {kind: names[kind] for kind in FILE_TYPES}
    # A newer gguf knows more; what is missing here is only not told.
    assert len(BLOCKS) > 30


def test_it_reads_what_gguf_reads(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", embedding=True)
    found = read_header(path)
    theirs = gguf.GGUFReader(path)
    for name, field in theirs.fields.items():
        if name.startswith("GGUF."):
            continue
        expected = field.contents()
        if isinstance(expected, list):
            assert found.facts.get(name) in (None, tuple(expected))
        else:
            assert found.facts[name] == expected
    assert found.facts["llama.context_length"] == 512
    assert "tokenizer.ggml.tokens" not in found.facts
    assert sum(found.weights.values()) == sum(int(tensor.n_elements) for tensor in theirs.tensors)
    assert found.weights.keys() == {0}
    assert found.least_size == found.size == path.stat().st_size


@pytest.mark.parametrize("kind", ["Q4_0", "Q6_K", "BF16", "MXFP4"])
def test_the_size_of_quantised_weights_is_known(tmp_path: Path, kind: str) -> None:
    import numpy as np

    number = gguf.GGMLQuantizationType[kind]
    numbers, size = gguf.GGML_QUANT_SIZES[number]
    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "llama")
    writer.add_tensor("a.weight", np.zeros((4, 2 * size), dtype=np.uint8), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_header(tmp_path / "q.gguf")
    assert found.weights == {int(number): 4 * 2 * numbers}
    # The file is padded behind its last tensor.
    assert found.size - 32 < found.least_size <= found.size


def test_a_large_vocabulary_is_passed_quickly(tmp_path: Path) -> None:
    tokens = b"".join(text(f"token-{number}") for number in range(300_000))
    path = tmp_path / "large.gguf"
    path.write_bytes(
        header(listed("tokenizer.ggml.tokens", TEXT, 300_000, tokens), text("x") + struct.pack("<II", U32, 7))
    )
    begun = time.process_time()
    assert read_header(path).facts == {"x": 7}
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(("kind", "size"), [(0, 1), (12, 8)], ids=["u8", "f64"])
def test_many_lists_cost_little(tmp_path: Path, kind: int, size: int) -> None:
    lists = [listed(f"k{number}", kind, 4096, bytes(4096 * size)) for number in range(8_000 // size)]
    path = tmp_path / "lists.gguf"
    path.write_bytes(header(text("general.architecture") + struct.pack("<I", TEXT) + text("llama"), *lists))
    begun = time.process_time()
    facts = read_header(path).facts
    assert time.process_time() - begun < 2.0
    assert facts["general.architecture"] == "llama"
    assert 0 < sum(len(fact) * size for fact in facts.values() if isinstance(fact, tuple)) <= MOST_KEPT


def test_many_names_cost_little(tmp_path: Path) -> None:
    long = [text(f"{number}" + "k" * 30_000) + struct.pack("<IB", 0, 1) for number in range(1_000)]
    path = tmp_path / "names.gguf"
    path.write_bytes(header(*long))
    assert sum(map(len, read_header(path).facts)) <= MOST_KEPT


NAME = text("a.b")
BROKEN = {
    "empty": (b"", "ends after 0 bytes"),
    "short": (b"GGU", "ends after 3 bytes"),
    "another format": (b"PK\x03\x04" + bytes(100), "no GGUF file"),
    "version 1": (header(version=1), "GGUF version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF version 50331648"),
    "too many facts": (header(count=2**40), "counts 1099511627776"),
    "too many tensors": (header(tensors=2**63), "counts 9223372036854775808"),
    "a fact is missing": (header(count=1), "within its header"),
    "a key without end": (header(struct.pack("<Q", 2**62)), "within its header|longer than"),
    "a text without end": (header(NAME + struct.pack("<IQ", TEXT, 2**64 - 1)), "longer than|within"),
    "a long text": (header(NAME + struct.pack("<IQ", TEXT, 2**20)), "within its header"),
    "a type nobody knows": (header(NAME + struct.pack("<I", 99)), "unknown type 99"),
    "a list of what nobody knows": (header(listed("a", 77, 1)), "list of the unknown type 77"),
    "lists within lists": (header(listed("a", LIST, 2**60)), "list of the unknown type 9"),
    "a list without end": (header(listed("a", TEXT, 2**64 - 1)), "within its header"),
    "numbers without end": (header(listed("a", U32, 2**62), NAME), "longer than"),
    "texts that leap": (header(listed("a", TEXT, 3, struct.pack("<Q", 2**63))), "longer than"),
    "dimensions": (header(tensors=1) + text("t") + struct.pack("<I", 2**31), "counts 2147483648"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_header_is_told_soon(tmp_path: Path, case: str) -> None:
    content, message = BROKEN[case]
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    begun = time.process_time()
    with pytest.raises(HeaderError, match=message) as refused:
        read_header(path)
    assert time.process_time() - begun < 1.0
    assert ";" in str(refused.value), "it says what to do"


def test_weights_that_are_cut_off_are_known(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf")
    os.truncate(path, path.stat().st_size - 100)
    found = read_header(path)
    assert found.least_size == found.size + 100


def test_a_tensor_of_no_bounds_costs_nothing(tmp_path: Path) -> None:
    tensor = text("t") + struct.pack("<IQQQQIQ", 4, *[2**64 - 1] * 4, 0, 2**64 - 1)
    path = tmp_path / "huge.gguf"
    path.write_bytes(header(tensors=1) + tensor)
    assert read_header(path).least_size > 2**200


@pytest.mark.parametrize("what", ["pipe", "folder", "missing"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / "odd.gguf"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    with pytest.raises(HeaderError if what == "pipe" else OSError):
        read_header(path)


def test_no_more_is_read_than_a_header_may_have() -> None:
    """However long the file: here one without end, of texts that are as long as may be."""
    fetched = 0

    def fetch(size: int) -> bytes:
        nonlocal fetched
        fetched += size
        return bytes(size)

    reader = _Reader(fetch, 2**60)
    reader._data += header(listed("a", TEXT, 2**64 - 1))
    with pytest.raises(HeaderError, match="longer than 128 MiB"):
        reader.header()
    assert fetched < MOST_HEADER + 2**21


WHOLE = header(NAME + struct.pack("<II", U32, 1), listed("l", TEXT, 2, text("x") + text("y")), tensors=1) + (
    text("t") + struct.pack("<IQIQ", 1, 32, 0, 0)
)


@given(st.data())
def test_any_bytes_are_a_header_or_a_reason(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    file = io.BytesIO(bytes(content[:cut]))
    with suppress(HeaderError):
        assert _Reader(file.read, cut).header().least_size >= 0


def test_facts_by_layer_are_kept(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", ARCH__attention__head_count_kv=[8, 0, 8], ARCH__block_count=3)
    assert read_header(path).facts["llama.attention.head_count_kv"] == (8, 0, 8)
