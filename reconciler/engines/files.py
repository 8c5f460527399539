"""The files beside its model without which a llama-server ends at once, by the flags that name them."""

from collections.abc import Iterator

from reconciler.core.gate import NamedFile
from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import inside, text_of
from reconciler.engines.known_flags import PATH_LISTS, words

_MODELS = words("mmproj lora lora-scaled spec-draft-model model-draft")
_TEXTS = words(
    "grammar-file json-schema-file chat-template-file ui-config-file webui-config-file mcp-servers-config "
    "ssl-key-file ssl-cert-file"
)
_SCALED = frozenset({"lora-scaled"})
"""`path:scale`."""


def named_files(spec: ServerSpec, folder: str, home: str) -> Iterator[NamedFile]:
    """Each with its field and absolute path; `folder` is that of models.

    Those whose absence llama-server bears are not among them (control vectors, caches of lookups), nor those whose
    text is quoted, by which llama-server escapes commas.
    """
    resolve = inside(folder, home)
    for name, value in spec.flags.items() if spec.flags else ():
        if name not in _MODELS and name not in _TEXTS:
            continue
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, bool):
                continue
            paths = resolve(name, text_of(each))
            for path in paths.split(",") if name in PATH_LISTS else [paths]:
                file = path.rpartition(":")[0] if name in _SCALED else path
                if file and '"' not in file:
                    yield NamedFile(f"spec.flags.{name}", file, name in _MODELS)
