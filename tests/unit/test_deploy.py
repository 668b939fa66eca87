"""Other programs accept what is in deploy/: by their own tools and schemas, and by the names that we have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from lab.prometheus_rules import prometheus_rules
from lib.options import parse_options
from lib.watch.pace import REFUSALS
from tests.unit.examples import a_target
from tests.unit.watching import metrics_of

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
KUBERNETES = ROOT / "deploy/kubernetes"
#: What is not Kubernetes' own.
OPERATORS = {KUBERNETES / "monitoring.yaml", KUBERNETES / "prometheus-rules.yaml"}
COMPOSE = ROOT / "deploy/docker/compose.yml"
GRAFANA = ROOT / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "registry-monitor.json").read_text())
RUNBOOK = (ROOT / "docs/alerts.md").read_text()

#: The names in Prometheus' configuration.
RULE_FILES = [PROMETHEUS / name for name in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["rule_files"]]
#: What an alert's `runbook_url` begins with: the address in settings.yml, of which there is one.
ADDRESS = '{{ range query ":registry_monitor_runbook:address" }}{{ .Labels.address }}{{ end }}'

#: The first version in which a container can be a sidecar, and the newest that is known.
VERSIONS = ("1.29", kubernetes_validate.latest_version())

#: The name of a metric: the program's own, what is recorded, the original's, or of any process.
METRIC = re.compile(
    r"[a-z_]*:registry_monitor_\w+:\w+|\w+:\w+:registry_monitor|\b(?:registry_monitor_|monitor_|process_)\w+"
)

#: Of Grafana 10.4 and 11.0: newer ones take it, too, and bring it up to date.
SCHEMA_VERSION = 39


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(kind):
    groups = [group for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def manifests(file):
    return list(yaml.safe_load_all(file.read_text()))


def pod(file):
    return manifests(file)[0]["spec"]["template"]["spec"]


def panels(*, rows=False):
    return [panel for panel in DASHBOARD["panels"] if (panel["type"] == "row") is rows]


def queries():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


ALERTS = rules("alert")
RECORDED = rules("record")
NAMES = list(dict.fromkeys(alert["alert"] for alert in ALERTS))
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


def test_promtool_takes_the_configuration_and_all_rules_with_it():
    checked = run("promtool", "check", "config", "--lint-fatal", str(PROMETHEUS / "prometheus.yml"))
    assert sum(map(int, re.findall(r"(\d+) rules found", checked))) == len(ALERTS) + len(RECORDED)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_do_as_their_tests_say(file):
    run("promtool", "test", "rules", str(file))


def test_amtool_takes_the_configuration():
    run("amtool", "check-config", str(PROMETHEUS / "alertmanager.yml"))


def test_each_alert_is_tested_to_fire_with_its_message_and_to_end():
    ended = set()
    for group in (group for file in RULE_TESTS for group in yaml.safe_load(file.read_text())["tests"]):
        fired = {}
        for case in sorted(group.get("alert_rule_test", []), key=lambda case: seconds(case["eval_time"])):
            for alert in case["exp_alerts"]:
                assert {"summary", "description", "runbook_url"} == set(alert["exp_annotations"])
                assert alert["exp_annotations"]["runbook_url"].startswith("https://")
            name, fires = case["alertname"], {alert["exp_labels"]["severity"] for alert in case["exp_alerts"]}
            ended |= {(name, severity) for severity in fired.get(name, set()) - fires}
            fired.setdefault(name, set()).update(fires)
    assert ended == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}


def seconds(duration):
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


def test_what_is_tried_once_an_hour_is_not_called_stale_for_the_reasons_that_the_program_has():
    (stale,) = (alert for alert in ALERTS if alert["alert"] == "MonitorStale")
    reasons = re.search(r'reason=~"([a-z_|]+)"', stale["expr"])
    assert set(reasons[1].split("|")) == REFUSALS


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_has_severity_message_and_a_paragraph_in_the_runbook(alert):
    """Labels are its identity: none of them may change while it fires."""
    name = alert["alert"]
    assert alert["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"{ADDRESS}#{name.lower()}"
    (paragraph,) = re.findall(rf"^### {name}\n+(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert len(paragraph) > 200


def test_a_rule_is_named_by_level_metric_and_operations():
    """The metric is an existing one of this program; or the operation names its program."""
    for name in (rule["record"] for rule in RECORDED):
        level, metric, operations = name.split(":")
        assert re.fullmatch(r"(instance(_target(_step)?)?)?", level), name
        assert "registry_monitor" in metric or operations == "registry_monitor", name


def test_nothing_but_the_settings_knows_a_job_or_the_address_of_the_runbook():
    """`up{job=...}` has a rule of its own, and the dashboard asks which monitors exist."""
    for file in (*RULE_FILES[1:], GRAFANA / "registry-monitor.json"):
        assert not re.search(r'job=~?\\?"(?!\$job)|alerts\.md#', file.read_text().replace("job=%q", "")), file


def test_the_runbook_tells_of_no_other_alerts():
    assert re.findall(r"^### (.*)$", RUNBOOK, re.MULTILINE) == NAMES


@pytest.mark.parametrize("document", ["alerts.md", "grafana.md"])
def test_what_the_documents_link_to_exists(document):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "docs" / document).read_text())
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_inhibitions_name_alerts_that_there_are():
    for rule in yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            (names,) = re.fullmatch(r'alertname =~? "?([A-Za-z|]+)"?', matcher).groups()
            assert set(names.split("|")) <= set(NAMES)


def test_rules_and_dashboard_use_metrics_that_there_are():
    metrics = metrics_of(a_target("lab"))
    suffixes = {"counter": ("_total",), "info": ("_info",), "summary": ("_sum", "_count")}
    suffixes["histogram"] = ("_bucket", *suffixes["summary"])
    known = {
        family.name + suffix for family in metrics.registry.collect() for suffix in suffixes.get(family.type, ("",))
    }
    recorded = {rule["record"] for rule in RECORDED}
    for file in (ROOT / "deploy").rglob("*"):
        if file.is_file():
            wrong = set(METRIC.findall(file.read_text(encoding="utf-8", errors="replace"))) - recorded - known
            assert not wrong, f"{file.relative_to(ROOT)} names metrics that are neither exported nor recorded: {wrong}"
    texts = [rule["expr"] for rule in RECORDED]
    texts += [text for alert in ALERTS for text in (alert["expr"], *alert["annotations"].values())]
    texts += [*queries(), *(variable.get("definition", "") for variable in DASHBOARD["templating"]["list"])]
    unused = recorded - {name for text in texts for name in METRIC.findall(text)}
    assert not unused, f"what no alert, rule or panel uses is recorded: {unused}"


# Grafana. Its own program is in no distribution: here is what its documentation asks for.


def test_the_dashboard_can_be_provisioned_again_and_again():
    assert DASHBOARD["uid"] == "registry-monitor"
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] == SCHEMA_VERSION
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/registry-monitor.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_every_panel_and_variable_asks_the_data_source_that_was_chosen():
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    source, *variables, window = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert (window["name"], window["query"].split(",")[1]) == ("window", window["current"]["value"])
    # Each is chosen from what those before it leave.
    assert [(variable["name"], re.findall(r"\$(\w+)", variable["definition"])) for variable in variables] == [
        ("job", []),
        ("instance", ["job"]),
        ("target", ["job", "instance"]),
    ]
    assert all(variable["query"]["query"] == variable["definition"] for variable in variables)
    assert all(variable["datasource"] == chosen for variable in variables)
    assert all(panel["datasource"] == chosen for panel in panels())
    assert all(target["datasource"] == chosen for panel in panels() for target in panel["targets"])


def test_every_panel_says_what_it_shows_and_in_which_unit():
    for panel in panels():
        assert panel["title"], panel
        assert len(panel["description"]) > 20, panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None, panel["title"]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))


def test_every_line_has_a_name_of_its_own():
    for panel in panels():
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        if panel["type"] not in {"table", "stat"}:
            assert all("{{" in target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_what_happens_every_two_minutes_is_counted_over_longer_than_a_few_scrapes():
    """With `$__rate_interval` every other would be empty, the rest show twice the truth. CPU seconds always pass."""
    short = [query for query in queries() if "$__rate_interval" in query]
    assert [re.search(r"\w+_total", query)[0] for query in short] == ["process_cpu_seconds_total"]
    for query in queries():
        assert "$window" in query or not re.search(r"increase|rate", query.replace("rate_limit", "")) or query in short


def test_the_dashboard_counts_the_alerts_that_there_are_and_nobody_elses():
    (counted,) = (re.search(r'ALERTS{alertname=~"([A-Za-z|]+)"', query) for query in queries() if "ALERTS" in query)
    assert counted[1].split("|") == NAMES


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in taken)
    for one, other in combinations(taken, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_the_dashboard_answers_from_top_to_bottom():
    rows = sorted(panels(rows=True), key=lambda panel: panel["gridPos"]["y"])
    assert [row["title"] for row in rows] == [
        "What is broken, since when, and why",
        "Which step is slow",
        "Rested images, replicas, strangers, certificates and limits",
        "Is the monitor itself fine",
    ]


# docker-compose and Kubernetes.


def test_compose_takes_its_file():
    # The program, since it is not a library; the schema came with it.
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", sorted(set(KUBERNETES.glob("*.yaml")) - OPERATORS), ids=lambda file: file.stem)
def test_kubernetes_takes_its_files(file, version):
    for manifest in manifests(file):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("file", sorted(OPERATORS), ids=lambda file: file.stem)
def test_the_prometheus_operator_takes_its_files(file):
    """What its definitions say of the fields that are used; any other field is a mistake."""
    schemas = yaml.safe_load((Path(__file__).parent / "schemas/prometheus_operator.yml").read_text())
    for manifest in manifests(file):
        jsonschema.validate(manifest, schemas[manifest["kind"]] | {"$defs": schemas["$defs"]})


def test_the_rules_of_the_operator_are_those_of_prometheus(tmp_path):
    assert (KUBERNETES / "prometheus-rules.yaml").read_text() == prometheus_rules()
    for manifest, file in zip(manifests(KUBERNETES / "prometheus-rules.yaml"), RULE_FILES, strict=True):
        assert manifest["spec"] == yaml.safe_load(file.read_text())
        (tmp_path / "rules.yml").write_text(json.dumps(manifest["spec"]))  # JSON is YAML
        run("promtool", "check", "rules", str(tmp_path / "rules.yml"))


def test_the_operator_finds_the_service_and_a_job_that_the_rules_know():
    (monitor,) = manifests(KUBERNETES / "monitoring.yaml")
    (service,) = (manifest for manifest in manifests(KUBERNETES / "common.yaml") if manifest["kind"] == "Service")
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    (monitors,) = (rule["expr"] for rule in RECORDED if rule["record"] == "instance:up:registry_monitor")
    # The job of a ServiceMonitor is the Service's name.
    assert re.fullmatch(re.fullmatch(r'up{job=~"(.*)"}', monitors)[1], service["metadata"]["name"])


@pytest.mark.parametrize("file", ["with-dind.yaml", "with-socket.yaml"])
def test_a_pod_mounts_what_it_has_and_nothing_else(file):
    spec = pod(KUBERNETES / file)
    mounted = {
        mount["name"]
        for container in (*spec["containers"], *spec.get("initContainers", []))
        for mount in container["volumeMounts"]
    }
    assert mounted == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("file", ["with-dind.yaml", "with-socket.yaml"])
def test_a_pod_is_asked_for_its_health_never_for_its_registries(file):
    (monitor,) = pod(KUBERNETES / file)["containers"]
    assert {monitor[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")} == {"/health"}
    (port,) = monitor["ports"]
    assert {monitor[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {port["name"]}


@pytest.mark.parametrize("file", ["with-dind.yaml", "with-socket.yaml"])
def test_the_password_is_a_file_in_a_pod_too(file):
    (monitor,) = pod(KUBERNETES / file)["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in monitor["volumeMounts"]}
    named = [target["password-file"] for target in yaml.safe_load(_config_map())["targets"] if "username" in target]
    assert {str(Path(name).parent) for name in named} == {mounts["passwords"]}
    assert monitor["args"] == [f"-config={mounts['config']}/config.yml"]
    assert yaml.safe_load(_config_map())["state-dir"] == mounts["history"]


def test_the_service_finds_the_pods():
    (service,) = (manifest for manifest in manifests(KUBERNETES / "common.yaml") if manifest["kind"] == "Service")
    for file in ("with-dind.yaml", "with-socket.yaml"):
        (deployment,) = manifests(KUBERNETES / file)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def _config_map():
    (config,) = (manifest for manifest in manifests(KUBERNETES / "common.yaml") if manifest["kind"] == "ConfigMap")
    return config["data"]["config.yml"]


@pytest.mark.parametrize("where", ["docker", "kubernetes"])
def test_the_monitor_takes_the_configurations(where, tmp_path):
    text = _config_map() if where == "kubernetes" else (COMPOSE.parent / "config.yml").read_text()
    secrets = tmp_path / "registry-monitor"
    secrets.mkdir()
    for folder in (tmp_path, secrets):
        (folder / "quay").write_text("a password\n")
    file = tmp_path / "config.yml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)))
    source, replica = parse_options([f"-config={file}"], {}).targets
    assert (source.name, source.cold_images > 0) == ("quay", True)
    assert (replica.replica_of, replica.read_only) == ("quay", True)


def test_compose_gives_what_its_configuration_names():
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    config = yaml.safe_load((COMPOSE.parent / "config.yml").read_text())
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert config["state-dir"] in mounted
    assert {target["password-file"] for target in config["targets"] if "username" in target} == {
        f"/run/secrets/{name}" for name in service["secrets"]
    }
    assert service["command"][0].removeprefix("-config=") in mounted
