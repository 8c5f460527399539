from collections.abc import Sequence

import pytest

from reconciler.core.model import Document, Problem
from reconciler.core.spec import ServerSpec
from reconciler.manifests.identity import identify
from reconciler.manifests.parse import LARGEST, MOST_DOCUMENTS, MOST_PROBLEMS, Parsed, parse

HEAD = "apiVersion: llama.reconciler/v1alpha1\nkind: LlamaServer\nmetadata:\n  name: chat\nspec:\n  model: x.gguf\n"
"""Six lines: what a case adds begins on line 7."""
FILE = "manifests/a.yaml"


def accept(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    return ()


def read(text: str | bytes) -> Parsed:
    return parse(text, FILE, accept)


def only_problem(text: str | bytes) -> Problem:
    parsed = read(text)
    assert parsed.documents == ()
    assert len(parsed.problems) == 1, [str(problem) for problem in parsed.problems]
    return parsed.problems[0]


def only_document(text: str | bytes) -> Document:
    parsed = read(text)
    assert parsed.problems == ()
    assert len(parsed.documents) == 1
    return parsed.documents[0]


def test_a_document_comes_with_its_place() -> None:
    text = "# what it is for\n" + HEAD.replace("name: chat", "name: chat\n  labels: {tier: gpu}") + "  port:  8001\n"
    document = only_document(text)
    assert (document.kind, document.name, document.file, document.line) == ("LlamaServer", "chat", FILE, 2)
    assert document.labels == {"tier": "gpu"}
    assert document.spec.port == 8001
    assert document.port_line == (9, 10)


def test_a_port_that_nobody_wrote_has_no_place() -> None:
    assert only_document(HEAD).port_line == (0, 0)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "---\n...\n---\n", b"", "\ufeff", "\n\n"])
def test_no_document_is_no_problem(text: str | bytes) -> None:
    assert read(text) == Parsed()


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("\n", "\r\n"),
        f"\ufeff{HEAD}",
        f"%YAML 1.2\n---\n{HEAD}",
        f"---\n{HEAD}...\n",
        f"{HEAD}---\n",
        HEAD.encode(),
        "--- {apiVersion: llama.reconciler/v1alpha1, kind: LlamaServer, metadata: {name: chat}, spec: {model: x.gguf}}",
    ],
)
def test_ways_to_write_the_same(text: str | bytes) -> None:
    assert only_document(text).says_the_same(only_document(HEAD))


def test_anchors_and_merge_keys_work() -> None:
    text = f"{HEAD}  flags: &common {{top-k: 20, mlock: true}}\n  env: {{A: &a text, B: *a}}\n"
    document = only_document(text)
    assert document.spec.flags == {"top-k": 20, "mlock": True}
    assert document.spec.env == {"A": "text", "B": "text"}
    merged = f"{HEAD}  restart: &r {{factor: 3}}\n  probes: {{liveness: {{period: 1s}}}}\n".replace("&r {", "{<<: {}, ")
    assert only_document(merged).spec.restart.factor == 3


def test_one_broken_document_loses_none_of_its_neighbours() -> None:
    broken = HEAD.replace("chat", "broken") + "  port: '80\n"
    parsed = read(f"{HEAD}---\n{broken}---\n# a word\n{HEAD.replace('chat', 'last')}")
    assert [(document.name, document.line) for document in parsed.documents] == [("chat", 1), ("last", 17)]
    assert [(problem.server, problem.kind) for problem in parsed.problems] == [("broken", "LlamaServer")]
    assert "quoted scalar that begins on line 14" in parsed.problems[0].message


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("  port: eight\n", "7:9: spec.port: expected a number from 1 to 65535 or 'auto', got 'eight'"),
        ("  port: true\n", "7:9: spec.port: expected a number from 1 to 65535 or 'auto', got true"),
        ("  port: '8001'\n", "7:9: spec.port: expected a number from 1 to 65535 or 'auto', got '8001'"),
        ("  port: 70000\n", "7:9: spec.port: expected a number from 1 to 65535 or 'auto', got 70000"),
        ("  port:\n", "7:3: spec.port: expected a number from 1 to 65535 or 'auto', got nothing"),
        ("  ctx: 1.5\n", "7:8: spec.ctx: expected a whole number of at least 1, got 1.5"),
        ("  ctx: [1]\n", "7:8: spec.ctx: expected a number of at least 1, got a list"),
        ("  gpuLayers: most\n", "7:14: spec.gpuLayers: expected a number of at least 0, 'auto' or 'all', got 'most'"),
        ("  suspend: yes\n", "7:12: spec.suspend: expected true or false, got 'yes'"),
        (
            "  host: 300.1.1.1\n",
            "7:9: spec.host: expected an IP address or a host name, such as 127.0.0.1, got '300.1.1.1'",
        ),
        ("  probes: 5\n", "7:11: spec.probes: expected a mapping, got 5"),
        (
            "  restart:\n    policy: always\n",
            "8:13: spec.restart.policy: expected 'Always', 'OnFailure' or 'Never', got 'always'",
        ),
        (
            "  stop: {gracePeriod: 5}\n",
            "7:23: spec.stop.gracePeriod: expected a duration such as 500ms, 10s, 5m or 1h, got 5",
        ),
        (
            "  stop: {drain: 1.5}\n",
            "7:17: spec.stop.drain: expected a duration such as 500ms, 10s, 5m or 1h, got 1.5",
        ),
        (
            "  probes: {liveness: {period: 0s}}\n",
            "7:31: spec.probes.liveness.period: must be longer than 0s, got '0s'",
        ),
        ("  gpulayers: 3\n", "7:3: spec.gpulayers: unknown field, did you mean 'gpuLayers'?"),
        ("  gpu_layers: 3\n", "7:3: spec.gpu_layers: unknown field, did you mean 'gpuLayers'?"),
        ("  ctx-size: 3\n", "7:3: spec.ctx-size: unknown field, did you mean 'ctx'?"),
        ("  stop: {grace: 1s}\n", "7:10: spec.stop.grace: unknown field, did you mean 'gracePeriod'?"),
        ("  flash-attn: on\n", "7:3: spec.flash-attn: unknown field (llama-server's own flags go under spec.flags)"),
        ("port: 1\n", "7:1: port: unknown field, did you mean 'spec.port'?"),
        ("zzz: 1\n", "7:1: zzz: unknown field"),
        (
            "  flags: {a: {}}\n",
            "7:14: spec.flags.a: expected true or false, a number, a line of text or a list, got an empty mapping",
        ),
        (
            "  flags: {a: [1, [2]]}\n",
            "7:18: spec.flags.a.1: expected true or false, a number or a line of text, got a list",
        ),
        (f"  flags: {{{'a' * 101}: 1}}\n", f"7:11: spec.flags.{'a' * 39}…: the key is longer than 100 characters"),
        (
            "  env: {A: {}}\n",
            "7:12: spec.env.A: expected a line of text, {fromEnv: …} or {fromFile: …}, got an empty mapping",
        ),
        (
            "  env: {A: {fromEnv: '1'}}\n",
            "7:22: spec.env.A.fromEnv: expected a variable's name (letters, digits and '_'), got another text",
        ),
        ("  env: {1A: x}\n", "7:9: spec.env.1A: expected a variable's name (letters, digits and '_') as key"),
        ("  apiKeyFile: ''\n", "7:15: spec.apiKeyFile: expected a non-empty line of text, got ''"),
        ('  binary: "a\\nb"\n', r"7:11: spec.binary: expected a non-empty line of text, got 'a\nb'"),
        ("  engine: vllm\n", "7:11: spec.engine: vllm is not supported: llama-server is the only engine yet"),
        (
            "  engine: Ollama\n",
            (
                "7:11: spec.engine: ollama has its own service, which starts and restarts its models: "
                "llama-server is the only engine yet"
            ),
        ),
        ("  engine: tgi\n", "7:11: spec.engine: expected 'llama-server', got 'tgi'"),
        ("  ctx: 1\n  ctx: 2\n", "8:3: the key 'ctx' is here twice"),
        ("  ctx: 1e999\n", "7:8: the number is too large: write a smaller one, or text in quotes"),
        ("  binary: 2024-01-01\n", "7:11: this reads as a date: put it in quotes"),
        (
            "\tctx: 1\n",
            r"7:1: not valid YAML: found character '\t' that cannot start any token: indent with spaces, not tabs",
        ),
    ],
)
def test_errors_point_at_the_place_and_say_what_is_expected(added: str, expected: str) -> None:
    problem = only_problem(HEAD + added)
    assert str(problem) == f"{FILE}:{expected}"
    assert (problem.server, problem.kind) == ("chat", "LlamaServer")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{hff: a/b}", "6:11: spec.model.hff: unknown field, did you mean 'hf'?"),
        ("{}", "6:10: spec.model.hf: missing: expected user/repo or user/repo:quant"),
        ("{hf: ab}", "6:15: spec.model.hf: expected user/repo or user/repo:quant, got 'ab'"),
        ("5", "6:10: spec.model: expected a non-empty line of text or {hf: …}, got 5"),
    ],
)
def test_errors_of_a_model(model: str, expected: str) -> None:
    assert str(only_problem(HEAD.replace("x.gguf", model))) == f"{FILE}:{expected}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: LlamaServer", "kind: LamaServer", "2:7: kind: unknown kind 'LamaServer', did you mean 'LlamaServer'?"),
        ("kind: LlamaServer", "kind: Pod", "2:7: kind: unknown kind 'Pod', known: {KINDS}"),
        ("kind: LlamaServer", "kind: [1]", "2:7: kind: expected {KINDS}, got a list"),
        ("kind: LlamaServer\n", "", "1:1: kind: missing: expected {KINDS}"),
        (
            "v1alpha1",
            "v1",
            "1:13: apiVersion: unknown apiVersion 'llama.reconciler/v1', did you mean 'llama.reconciler/v1alpha1'?",
        ),
        (
            "apiVersion",
            "apiversion",
            "1:1: apiVersion: missing: expected 'llama.reconciler/v1alpha1' (there is 'apiversion')",
        ),
        ("  model: x.gguf", "  ctx: 5", "6:3: spec.model: missing: expected a non-empty line of text or {hf: …}"),
        ("  model:", "  modle:", "6:3: spec.modle: unknown field, did you mean 'model'?"),
        (
            "name: chat",
            "name: Chat_1",
            "4:9: metadata.name: expected a name of at most 63 lower-case letters, digits and '-', got 'Chat_1'",
        ),
        ("name: chat", "port: 1\n  name: chat", "4:3: metadata.port: unknown field, did you mean 'spec.port'?"),
    ],
)
def test_errors_of_the_head(old: str, new: str, expected: str) -> None:
    kinds = "'LlamaServer', 'Profile' or 'LlamaServerDefaults'"
    assert str(only_problem(HEAD.replace(old, new))) == f"{FILE}:{expected.replace('{KINDS}', kinds)}"


def test_all_errors_of_a_document_are_told_in_the_order_of_its_lines() -> None:
    problems = read(f"{HEAD}  port: eight\n  gpulayers: 1\nextra: 1\n").problems
    assert [(problem.line, problem.field) for problem in problems] == [
        (7, "spec.port"),
        (8, "spec.gpulayers"),
        (9, "extra"),
    ]


def test_so_many_errors_are_counted_instead() -> None:
    problems = read(HEAD + "  flags:\n" + "".join(f"    f{n}: {{}}\n" for n in range(MOST_PROBLEMS + 20))).problems
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].message == "20 more errors in this document"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "1:1: expected a mapping with apiVersion, kind, metadata and spec, got a list"),
        ("hello\n", "1:1: expected a mapping with apiVersion, kind, metadata and spec, got a single value"),
        ("~\n", "1:1: expected a mapping with apiVersion, kind, metadata and spec, got nothing"),
        (b"a: 1\nb: \xff\n", "2:4: not UTF-8: save the file in that encoding"),
        ("a: 1\nb: \x00\n", r"2:4: the control character \x00"),
        ("a: \ud800\n", r"1:4: the control character \ud800"),
        (f"%YAML 1.1\n---\n{HEAD}", "1:1: '%YAML 1.1': remove it, only '%YAML 1.2' is understood"),
        (f"%TAG ! tag:x,2000:\n---\n{HEAD}", "1:1: '%TAG ! tag:x,2000:': remove it, only '%YAML 1.2' is understood"),
        (f"%YAML 1.2\n{HEAD}", "1:1: a line '---' is missing behind '%YAML 1.2'"),
        ("%YAML 1.1\n", "1:1: '%YAML 1.1': remove it, only '%YAML 1.2' is understood"),
    ],
)
def test_what_is_no_manifest_at_all(text: str | bytes, expected: str) -> None:
    assert str(only_problem(text)) == f"{FILE}:{expected}"


def test_a_directive_does_not_reach_the_next_document() -> None:
    parsed = read(f"%YAML 1.1\n---\n{HEAD}---\n{HEAD.replace('chat', 'next')}")
    assert [document.name for document in parsed.documents] == ["next"]
    assert [problem.server for problem in parsed.problems] == ["chat"]


@pytest.mark.parametrize("error", [RecursionError, MemoryError, IndexError, AssertionError])
def test_whatever_the_yaml_library_raises_is_a_problem(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def stumble(_: str) -> None:
        raise error

    monkeypatch.setattr("reconciler.manifests.parse.compose", stumble)
    assert only_problem(HEAD) == Problem(
        FILE, f"not valid YAML ({error.__name__})", 1, 1, server="chat", kind="LlamaServer"
    )


def test_a_file_above_the_limit_is_refused_unread() -> None:
    assert str(only_problem("a" * (LARGEST + 1))).startswith(f"{FILE}: larger than 1 MiB")


def test_too_many_documents_are_refused() -> None:
    problems = read("---\nx\n" * (MOST_DOCUMENTS + 5)).problems
    assert len(problems) == MOST_DOCUMENTS + 1
    assert str(problems[-1]) == f"{FILE}:2002:1: more than 1000 documents in one file: split it"


@pytest.mark.parametrize(
    "env",
    [
        "A: [hunter2]",
        "A: {hunter2: x}",
        "A: {fromEnv: hunter2 x}",
        'A: "hunter2\\n"',
        "A: *hunter2",
        "A: !hunter2 x",
        "A: !hunter2!x y",
        "A: 'hunter2",
        "A: 2024-01-01 # hunter2",
        "A: %hunter2",
        "A: @hunter2",
        "A: `hunter2",
        "A: [hunter2",
        "A: &hunter2 *hunter2",
    ],
)
def test_no_value_of_env_is_ever_echoed(env: str) -> None:
    for problem in read(f"{HEAD}  env: {{{env}}}\n").problems + read(f"{HEAD}  env:\n    {env}\n").problems:
        assert "hunter2" not in problem.message, str(problem)
        assert problem.server == "chat"


def test_a_secret_given_as_env_itself_or_as_a_key_flag_is_not_echoed() -> None:
    for added in ("  env: hunter2\n", "  flags: {api-key: [[hunter2]]}\n", '  flags: {hf-token: "hunter2\\n"}\n'):
        assert "hunter2" not in str(only_problem(HEAD + added))


@pytest.mark.parametrize(
    ("path", "place", "field"),
    [
        (("flags", "api-key"), (8, 14), "spec.flags.api-key"),
        (("flags", "top-k", 1), (9, 16), "spec.flags.top-k.1"),
        (("threads",), (6, 3), "spec.threads"),
    ],
)
def test_refusals_of_the_engine_are_placed(path: tuple[str | int, ...], place: tuple[int, int], field: str) -> None:
    text = f"{HEAD}  flags:\n    api-key: abc\n    top-k: [1, 2]\n"
    parsed = parse(text, FILE, lambda _: [(path, "use apiKeyFile")])
    assert parsed.documents == ()
    assert parsed.problems == (Problem(FILE, "use apiKeyFile", *place, field, "chat", "LlamaServer"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD, ("LlamaServer", "chat")),
        ("kind: LlamaServer\nmetadata: {labels: {}, name: chat}\nspec: [", ("LlamaServer", "chat")),
        ("kind: LlamaServer # x\nmetadata:\n  labels:\n    a: b\n  name: 'chat' # x\nspec: [", ("LlamaServer", "chat")),
        ("kind: 'LlamaServer'\r\nmetadata:\r\n\r\n  name: \"chat\"\r\nspec: '", ("LlamaServer", "chat")),
        ("spec:\n  name: other\n  x: '", ("", "")),
        ("kind: A\nkind: B\nmetadata: {name: 5}", ("A", "")),
        ("", ("", "")),
        ('metadata: {name: "a\\nb"}', ("", "")),
    ],
)
def test_kind_and_name_are_read_from_broken_text_too(text: str, expected: tuple[str, str]) -> None:
    assert identify(text) == expected
