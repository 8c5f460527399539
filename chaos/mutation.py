"""Manifests made up from the schema, and what hands, editors, templates and disks make of them."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Tree = Any
"""What YAML holds: mappings, sequences, and single values."""

ODD: Sequence[Tree] = (
    *(None, True, 0, -1, 1e308, 2**63, 10**400, "", " ", "null", "yes", "0x10", "1e999", ".nan", "2024-01-01", "~"),
    *("a\tb", "\u2028", "\u202e", "\x7f", "é" * 300, "x" * 5000, "{{ .Values.x }}", "${HOME}", "$(reboot)", "-1s"),
    *([], {}, [[]], {"": ""}, [None], {"a": {"b": {"c": []}}}, "auto", "9" * 30 + "h", "../../etc/passwd", "*", "&a"),
)
"""Values that somewhere surely are wrong."""
PIECES: Sequence[str] = (
    *("\n", "\r\n", "\t", " ", "  ", ":", ": ", "- ", "? ", "'", '"', "{", "}", "[", "]", ",", "#", "|\n", ">-\n", "%"),
    *("---\n", "...\n", "--- ", "%YAML 1.1\n", "%TAG ! x\n", "&a ", "*a", "<<: *a\n", "!!int ", "!x ", "! ", "~", "@"),
    *("\ufeff", "\x00", "\x1b[2J", "\x85", "\u2028", "\ud800", "\U0010ffff", "[" * 60, "a: " * 60, "`", "=", "\\"),
    *("<<<<<<< HEAD\n", "=======\n", ">>>>>>> theirs\n", "{{ if .x }}\n", "- - - -\n", "1: x\n", "[a]: b\n"),
    *("kind: List\n", "name: x\n", "spec:\n", "metadata:\n", "9" * 5000, "&a [*a, *a]", '"\\ud800"', '"\\x00"'),
)
"""Text that breaks into the middle of other text."""
NAMES = ("chat", "embedder", "new")
_STRINGS = ("absent.gguf", "a-b_c", "x/y", "text with: colon", "#no comment", "'", "ünï", "5")
_FLAGS: Mapping[str, Sequence[Tree]] = {
    "top-k": (0, 40, 99),
    "temp": (0.0, 0.7, "1.5"),
    "load-mode": ("mlock", "mmap"),
    "threads-http": (1, 8),
    "batch-size": (512, 2048),
    "flash-attn": ("on", "off", "auto"),
    "cache-type-k": ("f16", "q8_0"),
    "lora": (["a.gguf"], ["a.gguf", "b c.gguf"]),
    "chat-template": ("chatml", "{{ messages }}"),
    "embeddings": (True,),
    "warmup": (False,),
    "spec-draft-n-max": (4,),
    "model-draft": ("draft.gguf",),
}
"""Flags with values that llama-server takes."""
_DURATIONS = ("1s", "10s", "1h30m", "1500ms", "2.5s")


class Maker:
    """Makes manifests; the same seed makes the same ones."""

    def __init__(self, chance: random.Random, schema: dict[str, Any]) -> None:
        """`schema`: the JSON Schema of a document."""
        self._chance = chance
        self._schema = schema

    def text(self) -> str | bytes:
        """A file that is valid, or was so before something befell it."""
        chance = self._chance
        trees = [self.document(name) for name in chance.sample(NAMES, chance.choice((1, 1, 1, 2, 3)))]
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            trees = [self._mutated(tree) for tree in trees]
        text = "---\n".join(self._written(tree) for tree in trees)
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 5))):
            text = self._damaged(text)
        return self._encoded(text) if chance.random() < 0.1 else text

    # -- valid ones

    def document(self, name: str) -> Tree:
        """A valid document."""
        tree = self._made(self._schema)
        tree["metadata"]["name"] = name
        tree["spec"]["model"] = "absent.gguf"
        tree["spec"]["host"] = "127.0.0.1"
        tree["spec"]["parallel"] = self._chance.choice((None, 1, 4, 512))
        tree["spec"]["fallback"] = self._chance.choice((None, "auto", "off", {"steps": [{"ctx": 64}]}))
        # What flags and variables may say beyond the schema is the engine's to judge.
        flags = self._chance.sample(tuple(_FLAGS), self._chance.randrange(5))
        tree["spec"]["flags"] = {flag: self._chance.choice(_FLAGS[flag]) for flag in flags}
        tree["spec"]["env"] = {"MY_WORD": self._chance.choice((*_STRINGS, {"fromEnv": "HOME"}, {"fromFile": "word"}))}
        return tree

    def _made(self, schema: dict[str, Any]) -> Tree:
        if "$ref" in schema:
            return self._made(self._schema["$defs"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self._made(self._chance.choice(schema["anyOf"]))
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else self._chance.choice(schema["enum"])
        return self._of_type(schema)

    def _of_type(self, schema: dict[str, Any]) -> Tree:
        match schema["type"]:
            case "object":
                return self._mapping(schema)
            case "string":
                return self._string(schema)
            case "boolean":
                return self._chance.random() < 0.5
            case "null":
                return None
            case "array":
                return [self._made(schema["items"]) for _ in range(schema.get("minItems", 0))]
            case _:
                return self._number(schema)

    def _mapping(self, schema: dict[str, Any]) -> Tree:
        wanted, fields = schema.get("required", ()), schema.get("properties", {})
        return {
            name: self._made(field)
            for name, field in fields.items()
            if name in wanted or (name != "suspend" and self._chance.random() < 0.4)
        }

    def _number(self, schema: dict[str, Any]) -> int:
        low, high = schema.get("minimum", 0), schema.get("maximum", 1000)
        return self._chance.choice((low, high, self._chance.randint(low, high)))

    def _string(self, schema: dict[str, Any]) -> str:
        return self._chance.choice(_DURATIONS if "(ms|s|m|h)" in schema.get("pattern", "") else _STRINGS)

    # -- mistakes of structure

    def _mutated(self, tree: Tree) -> Tree:
        """The tree with one thing in it that is otherwise."""
        places = list(_places(tree))
        path = self._chance.choice(places)
        if not path:
            return self._chance.choice((tree, [tree], {"spec": tree}, self._chance.choice(ODD)))
        tree = json.loads(json.dumps(tree))  # so that nothing is shared
        parent, key = _at(tree, path[:-1]), path[-1]
        mistake = self._chance.randrange(7)
        if mistake <= 1:
            parent[key] = self._chance.choice(ODD)
        elif mistake == 2:
            del parent[key]
        elif mistake == 3 and isinstance(parent, dict):
            parent[self._misspelt(str(key))] = parent.pop(key)
        elif mistake == 4:
            parent[key] = json.loads(json.dumps(_at(tree, self._chance.choice(places))))
        elif mistake == 5 and isinstance(parent, dict):
            parent[self._chance.choice(("x", "Spec", "", "a.b", "<<", "1"))] = self._chance.choice(ODD)
        else:
            parent[key] = self._chance.choice(([parent[key]], {"value": parent[key]}, str(parent[key])))
        return tree

    def _misspelt(self, word: str) -> str:
        place = self._chance.randrange(len(word) + 1)
        return self._chance.choice((word.upper(), word[:place] + word[place + 1 :], word[:place] + "x" + word[place:]))

    # -- ways to write it down

    def _written(self, tree: Tree, depth: int = 0) -> str:
        """As YAML, in block style or as JSON."""
        if not isinstance(tree, dict) or not tree or self._chance.random() < 0.1:
            return "  " * depth + json.dumps(tree, ensure_ascii=self._chance.random() < 0.5) + "\n"
        step, lines = "  " * depth, ""
        for key, value in tree.items():
            word = key if key.isalpha() and self._chance.random() < 0.9 else json.dumps(key)
            below = isinstance(value, dict) and value and self._chance.random() < 0.9
            lines += f"{step}{word}:" + (f"\n{self._written(value, depth + 1)}" if below else self._value(value))
        return lines

    def _value(self, value: Tree) -> str:
        comment = self._chance.choice(("", "", "", "  # why not"))
        return f" {json.dumps(value)}{comment}\n"

    # -- what befalls text

    def _damaged(self, text: str) -> str:
        chance = self._chance
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice((0, 0, 1, 2, 10, 100)))
        lines = text.splitlines(keepends=True) or [""]
        number = chance.randrange(len(lines))
        damages: tuple[Callable[[], str], ...] = (
            lambda: text[:start],
            lambda: text[start:],
            lambda: text[:start] + text[end:],
            lambda: text[:start] + chance.choice(PIECES) + text[end:],
            lambda: text[:end] + text[start:],
            lambda: "".join([*lines[:number], chance.choice((" ", "   ", "\t")) + lines[number], *lines[number + 1 :]]),
            lambda: "".join([*lines[:number], *lines[number + 1 :]]),
            lambda: "".join([*lines[:number], lines[number], *lines[number:]]),
            lambda: text.replace("\n", chance.choice(("\r\n", "\r", "\n\n", ""))),
            lambda: text + text,
        )
        return chance.choice(damages)()

    def _encoded(self, text: str) -> bytes:
        data = text.encode(self._chance.choice(("utf-8", "utf-16", "latin-1", "utf-8-sig")), errors="replace")
        place = self._chance.randint(0, len(data))
        return data[:place] + bytes(self._chance.choices(range(256), k=self._chance.randrange(3))) + data[place:]


def _places(tree: Tree, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values within."""
    found = [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += _places(value, (*path, key))
    return found


def _at(tree: Tree, path: Sequence[str | int]) -> Tree:
    for key in path:
        tree = tree[key]
    return tree
