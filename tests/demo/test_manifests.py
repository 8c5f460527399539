import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from reconciler.core.spec import LlamaServer
from reconciler.demo.models import CHAT, EMBED, LONG

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "manifests").glob("*.yaml"))


def test_the_demo_has_its_three_servers() -> None:
    assert [path.name for path in MANIFESTS] == ["chat.yaml", "embedder.yaml", "reader.yaml"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
class TestDemoManifest:
    def test_it_is_valid_by_the_schema_that_it_names(self, path: Path) -> None:
        first = path.read_text().splitlines()[0]
        prefix = "# yaml-language-server: $schema="
        assert first.startswith(prefix)
        schema = json.loads((path.parent / first.removeprefix(prefix)).read_text())
        document = YAML(typ="safe").load(path)
        jsonschema.validate(document, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, "spec": {**document["spec"], "modle": "x"}}, schema)

    def test_it_is_valid_and_uses_a_demo_model(self, path: Path) -> None:
        server = LlamaServer.model_validate(YAML(typ="safe").load(path))
        assert server.metadata.name == path.stem
        assert server.spec.model in {CHAT, EMBED, LONG}
        assert not server.spec.suspend


def test_the_edit_that_the_banner_proposes_is_one() -> None:
    assert "ctx: 1024" in (ROOT / "manifests" / "chat.yaml").read_text()
