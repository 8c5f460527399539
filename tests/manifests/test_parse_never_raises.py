"""Whatever stands in a file, `parse` answers with documents and with problems that have a place."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifests.parse import LARGEST, parse
from reconciler.manifests.text import lines

VALID = """\
# a comment
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: chat
  labels: {tier: gpu}
spec:
  model: {hf: user/repo:Q4}
  ctx: 4096
  gpuLayers: auto
  port: 8001
  host: 127.0.0.1
  flags: &f
    top-k: 20
    lora: [a.gguf, b.gguf]
    mlock: true
  env:
    A: text
    B: {fromEnv: X}
    C: {fromFile: ~/key}
  probes: {liveness: {period: 5s}}
  restart:
    policy: Always
    factor: 2.0
---
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: two}
spec: {model: x.gguf, suspend: false, stop: {gracePeriod: 10s}}
"""
PIECES = [
    "", " ", "\n", "\r", "\t", "  ", ":", ": ", "- ", "? ", "'", '"', "{", "}", "[", "]", ",", "#", "|\n", ">-\n",
    "---\n", "...\n", "%YAML 1.1\n", "%", "&a ", "*a", "*f", "<<: *f", "<<: ", "!x ", "!!int ", "!!set ", "! ", "~",
    "null",
    "true", "1e999", "-.inf", ".nan", "0x", "9" * 400, "9" * 5000, "2024-01-01", "12:30:45", "0o8", "-_", "\x00",
    "\x1b",
    "\x85", "\u2028", "\ufeff", "\ud800", "\U0010ffff", '"\\ud800"', '"\\U7fffffff"', '"\\x00"', "[" * 40, "a: " * 40,
    "1: x\n", "[a]: b\n", "{a: b}: c\n", "name: {}\n", "kind: 5\n", "=", "@", "`", "é", "-", "0",
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The valid manifest with pieces put in, taken out, exchanged and repeated."""
    text = VALID
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 8, 40])))
        piece = draw(st.sampled_from(PIECES) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return text


def check_everything(text: str | bytes) -> None:
    parsed = parse(text, "a.yaml", lambda spec: [(("flags", "mlock"), "refused")] if "mlock" in spec.flags else [])
    last_line = len(lines(text)) + 2 if isinstance(text, str) else LARGEST
    for problem in parsed.problems:
        assert problem.file == "a.yaml"
        assert problem.message
        assert 1 <= problem.line <= last_line
        assert problem.column >= 1
        assert str(problem).isprintable()
        str(problem).encode()
    for document in parsed.documents:
        assert document.name in ("chat", "two") or document.name.isascii()
        assert 1 <= document.line <= last_line


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations())
def test_mutations_of_a_valid_manifest(text: str) -> None:
    check_everything(text)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=20).map("".join) | st.binary(max_size=60))
def test_raw_text_and_bytes(text: str | bytes) -> None:
    check_everything(text)


def test_the_manifest_that_is_mutated_is_valid() -> None:
    parsed = parse(VALID, "a.yaml", lambda _: ())
    assert [document.name for document in parsed.documents] == ["chat", "two"]
    assert parsed.problems == ()
