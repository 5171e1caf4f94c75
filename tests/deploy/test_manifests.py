"""The manifests: configs that are right, pods without rights, a function that ends last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from poller import __version__
from poller.settings import load
from tests.deploy.manifests import CHART, DEPLOY, KUBERNETES, configs, documents, workloads

ENVIRONMENT = {"POLLER_TOKEN": "a-token-that-is-long-enough-for-all"}
STATE = "/var/lib/poller"
PODS = [
    pytest.param(workload, id=f"{path.stem}-{workload['metadata']['name']}")
    for path in KUBERNETES
    for workload in workloads(documents(path.read_text()))
]
CONFIGS = [
    *(
        pytest.param(text, id=path.stem)
        for path in KUBERNETES
        for text in configs(documents(path.read_text()))
    ),
    pytest.param((DEPLOY / "compose" / "poller.yaml").read_text(), id="compose"),
]


def placed(text: str, folder: Path) -> Path:
    """A config as a file that keeps its state in `folder`."""
    assert f"sqlite:{STATE}/poller.db" in text
    file = folder / "poller.yaml"
    file.write_text(text.replace(STATE, str(folder)))
    return file


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_in_deploy_is_right(text: str, tmp_path: Path) -> None:
    settings = load(placed(text, tmp_path), ENVIRONMENT, now=2e9)

    assert settings.state == f"sqlite:{tmp_path}/poller.db"
    assert settings.listen == ("0.0.0.0", 9310)


@pytest.mark.parametrize("workload", PODS)
def test_a_pod_has_no_rights_and_the_function_ends_after_poller(workload: Any) -> None:
    pod = workload["spec"]["template"]["spec"]
    poller, functions = pod["containers"], pod["initContainers"]

    assert [each["name"] for each in poller] == ["poller"]
    assert all(each["restartPolicy"] == "Always" for each in functions)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in poller + functions:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_a_pod_outlasts_the_longest_timeout_of_its_functions(path: Path) -> None:
    found = documents(path.read_text())
    timeouts = [
        function["timeout"]
        for text in configs(found)
        for function in yaml.safe_load(text)["functions"].values()
    ]

    for workload in workloads(found):
        grace = workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace >= max(timeouts) + 30


def test_only_queues_have_more_than_one_poller() -> None:
    for path in KUBERNETES:
        found = documents(path.read_text())
        sources = [
            mapping["EventSourceArn"].split(":")[2]
            for text in configs(found)
            for mapping in yaml.safe_load(text)["mappings"]
        ]
        for workload in workloads(found):
            alone = workload["kind"] == "StatefulSet" and workload["spec"]["replicas"] == 1
            assert alone or set(sources) == {"sqs"}


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
