"""The tools that deploy/ is for, each got ready when it is first asked for, in `.deploy/`.

Raises Unavailable where one cannot be had: go tools need Go, promtool Debian or an own copy.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.npm.install import Unavailable

FOLDER = Path(__file__).resolve().parents[2] / ".deploy"
TIMEOUT = 900.0

HELM = "helm.sh/helm/v3/cmd/helm@v3.18.6"
KUBERNETES = "kubernetes-validate==1.37.0"
PARLIAMENT = "parliament==1.6.4"
# What has the definitions of kinds that are not Kubernetes's own, and in which files.
DEFINITIONS = {
    "github.com/kedacore/keda/v2@v2.18.0": (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    ),
}


def run(*command: str | Path, folder: Path | None = None, text: str | None = None) -> str:
    """What it prints.  Raises AssertionError with that if it does not end with 0."""
    done = subprocess.run(
        command,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    shown = " ".join(map(str, command))
    assert done.returncode == 0, f"{shown}:\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def helm() -> Path:
    return _go_tool("helm", HELM)


@functools.cache
def kubernetes() -> Path:
    """The Python for conforming.py."""
    return _venv("kubernetes-validate", KUBERNETES)


@functools.cache
def further_schemas() -> Path:
    """A folder of `KIND_VERSION.json` for the kinds of KEDA and the Prometheus Operator."""
    folder = FOLDER / "definitions"
    folder.mkdir(parents=True, exist_ok=True)
    for module, files in DEFINITIONS.items():
        for file in files:
            definition = yaml.safe_load((_go_module(module) / file).read_text())
            for name, schema in _schemas(definition):
                (folder / f"{name}.json").write_text(json.dumps(schema))
    return folder


def _schemas(definition: Any) -> Iterator[tuple[str, Any]]:
    kind = definition["spec"]["names"]["kind"].lower()
    for version in definition["spec"]["versions"]:
        yield f"{kind}_{version['name']}", _closed(version["schema"]["openAPIV3Schema"])


def _closed(schema: Any) -> Any:
    """The schema with unknown keys as errors, as `kubectl` treats them."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(each) for key, each in schema.items()}
    open_ended = made.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(made.get("properties"), dict) and not open_ended:
        made.setdefault("additionalProperties", False)
    return made


@functools.cache
def parliament() -> Path:
    return _venv("parliament", PARLIAMENT).with_name("parliament")


@functools.cache
def promtool() -> Path:
    if found := shutil.which("promtool"):
        return Path(found)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable("promtool is not installed (Debian has it in the package prometheus)")
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "--quiet=2")
    _fetch(*apt, "update")
    _fetch(*apt, "install", "--yes", "--no-install-recommends", "prometheus")
    return Path(shutil.which("promtool") or "promtool")


@functools.cache
def systemd_analyze() -> Path:
    if found := shutil.which("systemd-analyze"):
        return Path(found)
    raise Unavailable("systemd-analyze is not installed")


def _go_tool(name: str, package: str) -> Path:
    folder = FOLDER / "bin" / package.rpartition("@")[2]
    if not (folder / name).exists():
        _fetch(_go(), "install", package, GOBIN=str(folder))
    return folder / name


def _go_module(module: str) -> Path:
    found: str = json.loads(_fetch(_go(), "mod", "download", "-json", module))["Dir"]
    return Path(found)


def _go() -> str:
    if found := shutil.which("go"):
        return found
    raise Unavailable("Go is not installed")


def _venv(name: str, package: str) -> Path:
    """The Python of an environment that has the package and nothing of poller's."""
    folder = FOLDER / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != package:
        _fetch(sys.executable, "-m", "venv", str(folder))
        _fetch(str(python), "-m", "pip", "--disable-pip-version-check", "install", package)
        stamp.write_text(package)
    return python


def _fetch(*command: str, **environment: str) -> str:
    FOLDER.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise Unavailable(f"{' '.join(command)} failed: {reason}")
    return done.stdout
