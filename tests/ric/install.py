"""Builds AWS's Lambda runtime client for Node into `.ric/`: minutes, and tools that few have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.npm.install import Unavailable, install

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".ric"
CLIENT = FOLDER / "node_modules/aws-lambda-ric/bin/index.mjs"
NATIVE = FOLDER / "node_modules/aws-lambda-ric/dist/rapid-client.node"
TOOLS = {
    "autoconf": "autoconf",
    "automake": "automake",
    "libtoolize": "libtool",
    "cmake": "cmake",
    "g++": "g++",
    "make": "make",
}
NEEDS_NODE = (20, 0)
LEFT_OUT = 3  # the exit code, other than that of a build which fails


def installed() -> Path:
    """The folder of the client.  Raises Unavailable, or RuntimeError if its build fails."""
    _provide([package for tool, package in TOOLS.items() if shutil.which(tool) is None])
    install(HERE, FOLDER, needs_node=NEEDS_NODE)
    if not NATIVE.exists():
        raise RuntimeError(f"npm did not build {NATIVE}: it needs leave to run install scripts")
    return FOLDER


def _provide(missing: list[str]) -> None:
    """Install packages of the system, where that may be done."""
    if not missing:
        return
    named = ", ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(f"its build needs {named}, which are not installed")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        command = ["apt-get", "--quiet", "--quiet", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"its build needs {named}, and apt-get failed: {done.stderr.strip()}")


if __name__ == "__main__":
    try:
        print(f"aws-lambda-ric: {installed()}")
    except Unavailable as reason:
        print(f"aws-lambda-ric is left out: {reason}")
        sys.exit(LEFT_OUT)
