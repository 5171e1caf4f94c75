"""Installs the npm servers of package.json into `.npm/` at the repository root, once per lock."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".npm"
LOOPBACK = HERE / "loopback.js"
MANIFESTS = ("package.json", "package-lock.json")
INSTALL_TIMEOUT = 1800.0  # some build native parts


class Unavailable(Exception):
    """A server cannot be had on this machine; the reason is for a person."""


@functools.cache
def installed(needs_node: tuple[int, int] = (20, 0)) -> Path:
    """The folder that holds `node_modules`, installed first if the lock file changed.

    Raises Unavailable where there is no Node or an older one, RuntimeError if npm fails.
    """
    # Install scripts only build LevelDB for data on disk, which no test uses.
    return install(HERE, FOLDER, "--ignore-scripts", needs_node=needs_node)


def install(manifests: Path, folder: Path, *options: str, needs_node: tuple[int, int]) -> Path:
    """`folder`, in which what stands in `manifests` is installed.  Raises as `installed` does."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise Unavailable("Node.js with npm is not installed")
    if (version := _version(node)) < needs_node:
        raise Unavailable(f"needs Node.js {_dotted(needs_node)}, this is {_dotted(version)}")
    folder.mkdir(exist_ok=True)
    stamp, wanted = folder / "installed", _digest(manifests)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may start at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
            _install([npm, "ci", *options, "--no-audit", "--no-fund"], manifests, folder)
            stamp.write_text(wanted)
    return folder


def _version(node: str) -> tuple[int, int]:
    printed = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    major, minor, *_ = printed.stdout.strip().lstrip("v").split(".")
    return int(major), int(minor)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _digest(manifests: Path) -> str:
    texts = b"".join((manifests / name).read_bytes() for name in MANIFESTS)
    return hashlib.sha256(texts).hexdigest()


def _install(command: list[str], manifests: Path, folder: Path) -> None:
    for name in MANIFESTS:
        shutil.copyfile(manifests / name, folder / name)
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm ci in {folder} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        print(f"npm servers: {installed()}")
    except Unavailable as reason:
        print(f"npm servers are left out: {reason}")
