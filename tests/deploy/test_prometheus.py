"""What is shipped for Prometheus and Grafana, held to a real controller's metrics by the real tools."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.e2e.installation import Installation, installed

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None and not os.environ.get("CI"),
    reason="there is no prometheus here; on Debian: apt-get install prometheus",
)
ROOT = Path(__file__).parents[2]
PROMETHEUS, GRAFANA = ROOT / "deploy/prometheus", ROOT / "deploy/grafana/reconciler.json"
OTHERS = {"up"}
"""Metrics that Prometheus itself makes."""
NAMES = re.compile(r"\b(?:reconciler_(?!server\b)\w+|process_\w+|up)\b(?!=)")
VARIABLES = {"$instance": ".*", "$server": ".*", "$__rate_interval": "1m"}


def yaml(name: str) -> Any:
    return YAML(typ="safe").load(PROMETHEUS / name)


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in yaml("alerts.yml")["groups"] for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(GRAFANA.read_text())["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Each panel's expressions, with Grafana's variables filled in."""
    found = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}
    for name, value in VARIABLES.items():
        found = {title: expression.replace(name, value) for title, expression in found.items()}
    return found


def promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, llama_server: str, tiny_model: Path) -> Iterator[Installation]:
    """A real server that was ended once and is Ready again, and one whose model is missing."""
    root, first = tmp_path_factory.mktemp("metrics"), 11000 + os.getpid() % 48 * 20
    with installed(root, llama_server, tiny_model, range(first, first + 20)) as made:
        settings = root / "reconciler.toml"
        http = f'listen = "127.0.0.1:{free_port()}"\nreads = "token"'
        settings.write_text(settings.read_text().replace('listen = ""', http))
        (root / "key").write_text("a-key\n")
        made.declare("chat", flags={"warmup": False, "metrics": True}, restart={"initialBackoff": "50ms"})
        made.declare("keyed", flags={"warmup": False, "metrics": True}, apiKeyFile=str(root / "key"))
        made.start()
        made.wait_ready("chat", "keyed")
        made.declare("lost", model="missing.gguf")
        os.kill(made.pids()["chat"], signal.SIGTERM)
        made.wait_for("a second start", lambda: len(made.instances("chat")) == 2)
        made.wait_ready("chat", "keyed")
        made.wait_phase("lost", "Blocked")
        yield made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def listens_at(house: Installation) -> str:
    found = re.search(r'listen = "([^"]+)"', (house.root / "reconciler.toml").read_text())
    assert found is not None
    return found[1]


def scrape(house: Installation) -> str:
    token = (house.state / "token").read_text().strip()
    answer = httpx.get(f"http://{listens_at(house)}/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


@pytest.fixture(scope="module")
def prometheus(house: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with the shipped configuration, but for the address, the pace, and what is commented out in it.

    Started before it is needed: its first look for targets comes after 5 s.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    config = (PROMETHEUS / "prometheus.yml").read_text().replace("127.0.0.1:9797", listens_at(house))
    config, keyed = config.split("  # - job_name: llama-server-with-key\n")
    config += "  - job_name: llama-server-with-key\n" + keyed.replace("  # ", "  ")
    config = config.replace("# authorization", "authorization")
    config = config.replace("/path/to/state/token", str(house.state / "token"))
    config = config.replace("/path/to/key", str(house.root / "key"))
    (folder / "prometheus.yml").write_text(config.replace(": 15s", ": 250ms"))
    (folder / "alerts.yml").write_bytes((PROMETHEUS / "alerts.yml").read_bytes())
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address={address}",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}/api/v1"
    finally:
        running.kill()
        running.wait()


@pytest.fixture(scope="module")
def scraped(house: Installation, prometheus: str) -> str:
    return scrape(house)


@pytest.fixture(scope="module")
def names(scraped: str) -> set[str]:
    """All metrics that a controller may show, as they are queried."""
    found = set()
    for family in text_string_to_metric_families(scraped):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        found |= {family.name + suffix for suffix in suffixes}
    return found


# ---------------------------------------------------------------- the metrics


def test_the_metrics_are_as_prometheus_wants_them(scraped: str) -> None:
    assert promtool("check", "metrics", text=scraped) == ""


def test_what_happened_is_told(scraped: str) -> None:
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }
    expected = {
        ("reconciler_server_phase", "Ready", "chat"): 1,
        ("reconciler_server_phase", "Blocked", "lost"): 1,
        ("reconciler_servers", "Ready"): 2,
        ("reconciler_servers", "Failed"): 0,
        ("reconciler_server_condition", "Ready", "chat"): 1,
        ("reconciler_server_condition", "Ready", "lost"): 0,
        ("reconciler_server_restarts_total", "chat"): 1,
        ("reconciler_server_ends_total", "KilledByUser", "chat"): 1,
        ("reconciler_server_ready_duration_seconds_count",): 3,
        ("reconciler_actions_total", "start"): 3,
        ("reconciler_events_total", "Crashed", "Warning"): 1,
        ("reconciler_state_writable",): 1,
        ("reconciler_state_errors_total",): 0,
        ("reconciler_manifest_problems",): 0,
        ("reconciler_manifest_folder_readable",): 1,
        ("reconciler_passes_failed_total",): 0,
    }
    assert {key: values.get(key) for key in expected} == expected
    assert values["reconciler_probes_total", "Ok"] >= 2
    assert values["reconciler_pass_duration_seconds_count",] > 4
    assert values["reconciler_watch_lag_seconds_count",] >= 1


def test_the_figures_of_a_process_come_with_the_next_look(house: Installation) -> None:
    told = (
        r'reconciler_server_resident_memory_bytes\{server="chat"\} [1-9]',
        r'reconciler_server_slots\{server="chat"\} 1\.0',
        r'reconciler_server_tokens_per_second\{server="chat"\} 0\.0',
        r'reconciler_server_requests_waiting\{server="chat"\} 0\.0',
        r'reconciler_server_health_latency_seconds\{server="chat"\} \d',
        r'reconciler_server_cpu_seconds_total\{server="chat"\} \d',
    )
    httpx.get(f"http://{listens_at(house)}/api/v1/servers/chat/usage")
    house.wait_for("all figures", lambda: all(re.search(each, scrape(house)) for each in told))


def test_every_metric_is_documented(names: set[str]) -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    ours = {name for name in names if name.startswith("reconciler_") and not name.endswith(("_sum", "_count"))}
    assert documented == ours
    assert {name for name in names - ours if name.startswith("process_")} <= set(re.findall(r"`(\w+)`", page))


# ---------------------------------------------------------------- alerts and the dashboard


def test_the_example_is_valid() -> None:
    promtool("check", "config", "prometheus.yml")


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    tested = {case["alertname"]: case for one in yaml("alerts_test.yml")["tests"] for case in one["alert_rule_test"]}
    assert tested.keys() == alerts().keys()


def test_alerts_say_what_to_do() -> None:
    for rule in alerts().values():
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_queries_ask_for_metrics_that_there_are(names: set[str]) -> None:
    for expression in [*(rule["expr"] for rule in alerts().values()), *queries().values()]:
        asked = set(NAMES.findall(re.sub(r'"[^"]*"', '""', expression)))
        assert asked, expression
        assert asked <= names | OTHERS, expression


def test_the_queries_of_the_dashboard_can_be_parsed(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries().values())]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def test_the_dashboard_fits_together() -> None:
    board = json.loads(GRAFANA.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in board["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    known = {f"${one['name']}" for one in board["templating"]["list"]} | {"$__rate_interval", "${datasource}"}
    used = set(re.findall(r"\$\{?\w+\}?", json.dumps(board["panels"])))
    assert used <= known


# ---------------------------------------------------------------- all of it together


def test_a_real_prometheus_finds_and_understands_everything(house: Installation, prometheus: str) -> None:
    def ask(path: str, **arguments: str) -> Any:
        try:
            answer = httpx.get(f"{prometheus}/{path}", params=arguments)
        except httpx.TransportError:
            return None
        return answer.json().get("data") if answer.is_success else None

    def up() -> bool:
        found = ask("query", query="up == 1")
        jobs = {"reconciler", "llama-server", "llama-server-with-key"}
        return found is not None and {one["metric"]["job"] for one in found["result"]} == jobs

    house.wait_for("all jobs to be up", up)
    targets = [one["labels"] for one in ask("targets")["activeTargets"]]
    servers = {one["job"]: one["reconciler_server"] for one in targets if "reconciler_server" in one}
    assert servers == {"llama-server": "chat", "llama-server-with-key": "keyed"}
    assert len(targets) == 3
    time.sleep(0.6)  # two looks are needed for a rate
    found = {title: ask("query", query=query) for title, query in queries().items()}
    assert [title for title, data in found.items() if data is None] == []
    blank = {title for title, data in found.items() if not data["result"]}
    assert blank <= {"GPU memory A", "Warnings A", "Restarts by cause A", "Tokens per second A"}
    phases = {one["metric"]["server"]: one["value"][1] for one in found["Phases A"]["result"]}
    assert phases == {"chat": "1", "keyed": "1", "lost": "8"}
    house.wait_for(
        "all rules to be evaluated",
        lambda: all(rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]),
    )
