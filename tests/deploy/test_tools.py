"""deploy/ as the tools see it that it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from poller.settings import load
from tests.deploy import tools
from tests.deploy.manifests import CHART, DEPLOY, KUBERNETES, configs, documents
from tests.deploy.queries import of_dashboard
from tests.deploy.test_manifests import ENVIRONMENT, placed
from tests.npm.install import Unavailable

pytestmark = pytest.mark.deploy

VERSIONS = ["1.29", "1.37"]  # the first with native sidecars, and the newest known
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$function": ".*",
}


def had(tool: Callable[[], Path]) -> Path:
    try:
        return tool()
    except Unavailable as reason:
        pytest.skip(str(reason))


def conforms(text: str, version: str) -> None:
    python, definitions = had(tools.kubernetes), had(tools.further_schemas)
    script = Path(tools.__file__).with_name("conforming.py")
    tools.run(python, script, version, definitions, text=text)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_a_manifest_is_one_to_kubernetes(path: Path, version: str) -> None:
    conforms(path.read_text(), version)


def test_a_manifest_that_is_wrong_would_be_found() -> None:
    for path, right, wrong, said in (
        ("stream", "replicas: 1", "replicas: one", "spec/replicas: "),
        ("stream", "restartPolicy: A", "restartPolicies: A", "'restartPolicies' was unexpected"),
        ("queue-workers", "maxReplicaC", "maxReplicasC", "'maxReplicasCount' was unexpected"),
        ("monitoring", "- port: http", "- ports: http", "'ports' was unexpected"),
    ):
        text = (DEPLOY / "kubernetes" / f"{path}.yaml").read_text()
        assert right in text
        with pytest.raises(AssertionError, match=said):
            conforms(text.replace(right, wrong), VERSIONS[-1])


def rendered(*options: str | Path) -> str:
    helm = had(tools.helm)
    return tools.run(helm, "template", "test", CHART, f"--kube-version={VERSIONS[-1]}.0", *options)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_lints_and_renders_manifests_and_a_config_that_is_right(
    values: Path, tmp_path: Path
) -> None:
    tools.run(had(tools.helm), "lint", "--strict", CHART, "--values", values)
    text = rendered("--values", values)

    conforms(text, VERSIONS[-1])
    for config in configs(documents(text)):
        load(placed(config, tmp_path), ENVIRONMENT, now=2e9)


def test_the_chart_renders_what_the_manifests_say() -> None:
    """One pod of a stream, and as many of a queue as KEDA wants."""
    for values, kind in zip(VALUES, ("Deployment", "StatefulSet"), strict=True):
        found = {each["kind"]: each for each in documents(rendered("--values", values))}
        assert kind in found
        assert ("ScaledObject" in found) == (kind == "Deployment")
    stream = documents((DEPLOY / "kubernetes" / "stream.yaml").read_text())
    ours = next(each for each in stream if each["kind"] == "StatefulSet")["spec"]["template"][
        "spec"
    ]
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    for key in ("securityContext", "terminationGracePeriodSeconds"):
        assert pod[key] == ours[key]
    for key in ("ports", "livenessProbe", "readinessProbe", "resources", "args", "volumeMounts"):
        assert pod["containers"][0][key] == ours["containers"][0][key]


@pytest.mark.parametrize(
    "wrong", ["replicas=2", "autoscaling.enabled=true", "config.listen=x", "function.runtimeApi=x"]
)
def test_the_chart_refuses_values_that_cannot_work(wrong: str) -> None:
    with pytest.raises(AssertionError, match="values don't meet the specifications"):
        rendered("--set", wrong)


def test_promtool_proves_the_alerts() -> None:
    folder = DEPLOY / "prometheus"
    tools.run(had(tools.promtool), "check", "rules", folder / "alerts.yaml")
    tools.run(had(tools.promtool), "test", "rules", "alerts.test.yaml", folder=folder)


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for query in of_dashboard():
        text = query.text
        for variable, value in VARIABLES.items():
            text = text.replace(variable, value)
        if not text.startswith("label_values"):
            rules.append({"record": f"panel:{len(rules)}", "expr": text})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    tools.run(had(tools.promtool), "check", "rules", file)


@pytest.mark.parametrize("policy", sorted((DEPLOY / "iam").glob("*.json")), ids=lambda p: p.stem)
def test_iam_knows_the_actions_and_their_resources(policy: Path) -> None:
    assert tools.run(had(tools.parliament), text=policy.read_text()) == ""


def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    analyze = had(tools.systemd_analyze)
    unit = tmp_path / "poller.service"
    text = (DEPLOY / "systemd" / "poller.service").read_text()
    unit.write_text(text.replace("/opt/poller/bin/poller", "/bin/true"))

    tools.run(analyze, "verify", "--man=no", unit)
    tools.run(analyze, "security", "--offline=true", "--threshold=20", unit)
