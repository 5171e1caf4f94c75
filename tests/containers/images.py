"""The images of these tests: a Debian with Python, poller's on top of it, a function's beside it.

CONTAINER_BASE names another base, where one can be pulled; else it is made by debootstrap, once,
and kept in `.containers/`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.containers.podman import Failed, installed, podman
from tests.npm.install import Unavailable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".containers"

SUITE = "bookworm"
BASE = f"localhost/poller-test-base:{SUITE}"
POLLER = "localhost/poller-test:latest"
FUNCTION = "localhost/poller-test-function:latest"
BUILD_TIMEOUT = 900.0

# What slim images leave out, too.
LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)


@functools.cache
def base() -> str:
    """An image with Python and its venv.  Raises Unavailable."""
    if given := os.environ.get("CONTAINER_BASE"):
        return given
    installed()
    packed = CACHE / f"{SUITE}.tar"
    if not packed.exists():
        _bootstrap(packed)
    try:
        podman("image", "exists", BASE)  # importing it again would build everything anew
    except Failed:
        podman("import", "--quiet", packed, BASE, timeout=BUILD_TIMEOUT)
    return BASE


def _bootstrap(packed: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        include = "--include=ca-certificates,python3,python3-venv"
        run("debootstrap", "--variant=minbase", include, SUITE, str(root))
        for name in LEFT_OUT:
            for path in (root / name).iterdir():
                shutil.rmtree(path) if _is_folder(path) else path.unlink()
        unfinished = Path(folder) / "root.tar"
        run("tar", "-C", str(root), "-cf", str(unfinished), ".")
        unfinished.rename(packed)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def run(*command: str) -> None:
    """Raises Unavailable with the last line that it printed, if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False
    )
    if done.returncode != 0:
        reason = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise Unavailable(f"{' '.join(command)} failed: {reason}")


@functools.cache
def poller() -> str:
    """The image of the repository's Dockerfile."""
    return _built(POLLER, ROOT, ROOT / "Dockerfile")


@functools.cache
def function() -> str:
    """An image as AWS's are for Python: the official runtime client and an entry script."""
    return _built(FUNCTION, HERE / "function", HERE / "function" / "Dockerfile")


def _built(image: str, folder: Path, recipe: Path) -> str:
    with build_options() as options:
        podman(
            *("build", "--quiet", "--format=docker", f"--build-arg=BASE={base()}", *options),
            *(f"--file={recipe}", f"--tag={image}", folder),
            timeout=BUILD_TIMEOUT,
        )
    return image


@contextlib.contextmanager
def build_options() -> Iterator[tuple[str, ...]]:
    """What lets the pip of a build find packages where this machine's does."""
    found = pip_settings()
    with tempfile.TemporaryDirectory() as temporary:
        settings = Path(temporary) / "pip.conf"
        lines = [f"{key} = {value}" for key, value in found.items()]
        settings.write_text("\n".join(["[global]", *lines, ""]))
        own = [f"--volume={found['cert']}:{found['cert']}:ro"] if "cert" in found else []
        yield (f"--secret=id=pip,src={settings}", *own)


def pip_settings() -> Mapping[str, str]:
    """Where and how pip finds packages on this machine, as options of its configuration."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    wanted = {"cert", "extra-index-url", "index-url", "timeout", "trusted-host"}
    settings = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in wanted:
            settings[key] = value.strip("'\"")
    return settings
