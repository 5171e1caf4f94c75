"""The Kubernetes manifests of deploy/, and the configs that are in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
CHART = DEPLOY / "helm" / "poller"

Document = dict[str, Any]


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def workloads(found: list[Document]) -> Iterator[Document]:
    return (each for each in found if each["kind"] in {"Deployment", "StatefulSet"})


def configs(found: list[Document]) -> Iterator[str]:
    """The text of every poller.yaml."""
    return (each["data"]["poller.yaml"] for each in found if each["kind"] == "ConfigMap")
