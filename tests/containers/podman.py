"""podman for tests: installed where that is possible, set up to run in CI too, and bounded.

A container is hardened as a cluster would have it, named for this run, and gone at the end of its
block with its anonymous volumes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.npm.install import Unavailable

PROGRAMS = ("podman", "buildah", "debootstrap", "runc")
NETWORK_PROGRAMS = ("netavark", "aardvark-dns", "iptables")  # of containers that reach each other
LIBRARIES = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/sbin")
INSTALL_TIMEOUT = 900.0
COMMAND_TIMEOUT = 120.0
LIFETIME = 600  # seconds after which podman ends a container whose test has been killed
MARK = "POLLER_TEST_RUN"  # an environment variable by which the processes of a container are found

# Limits that need no privilege, and a runtime and cgroups that need no systemd.
SETTINGS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "{network}"
[engine]
{runtime}
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


@functools.cache
def installed(network: str = "host") -> Path:
    """The settings file that goes with podman, which is installed first.  Raises Unavailable.

    `network`: what containers are in unless they say otherwise; "bridge" is one of their own.
    """
    if os.geteuid() != 0:
        raise Unavailable("containers are built and run as root, which this is not")
    _have(*PROGRAMS, *(NETWORK_PROGRAMS if network == "bridge" else ()))
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    with tempfile.NamedTemporaryFile("w", prefix="containers-", suffix=".conf", delete=False) as to:
        to.write(SETTINGS.format(runtime=runtime, network=network))
    atexit.register(Path(to.name).unlink)
    return Path(to.name)


def _have(*programs: str) -> None:
    """Install what is missing; every program is in a package of its name."""
    path = os.pathsep.join((os.environ["PATH"], *LIBRARIES))
    missing = [program for program in programs if not shutil.which(program, path=path)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise Unavailable(f"needs {', '.join(missing)}, and there is no apt-get to install them")
    apt = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "--quiet=2")
    for command in (
        (*apt, "update"),
        (*apt, "install", "--yes", "--no-install-recommends", *missing),
    ):
        done = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().rpartition("\n")[2]
            raise Unavailable(f"{', '.join(missing)} cannot be installed: {reason}")


def podman(*arguments: str | Path, timeout: float = COMMAND_TIMEOUT) -> str:
    """What `podman ARGUMENTS` prints.  Raises Failed."""
    done = _podman(*arguments, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"podman {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


class Failed(Exception):
    """A command of podman that ended otherwise than by 0, with what it printed."""


def _podman(*arguments: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["podman", *arguments],
        env={**os.environ, "CONTAINERS_CONF": str(installed())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Container:
    """One that was started; it may have ended since."""

    name: str
    mark: str

    def logs(self) -> str:
        done = _podman("logs", self.name, timeout=COMMAND_TIMEOUT)
        return done.stdout + done.stderr

    def execute(self, *command: str) -> str:
        return podman("exec", self.name, *command)

    def is_healthy(self) -> bool:
        """What the image's own health check says now."""
        done = _podman("healthcheck", "run", self.name, timeout=COMMAND_TIMEOUT)
        return done.returncode == 0

    def stop(self, patience: int = 60) -> int:
        """Send SIGTERM, and SIGKILL after `patience` seconds; its exit code."""
        podman("stop", "--time", str(patience), self.name)
        return self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        podman("kill", "--signal", "KILL", self.name)
        self.wait()

    def crash(self) -> None:
        """Have its first process end at once, unknown to podman, which may start it again."""
        os.kill(int(podman("inspect", "--format={{.State.Pid}}", self.name)), signal.SIGKILL)

    def wait(self) -> int:
        return int(podman("wait", self.name))

    def processes(self) -> list[str]:
        """The command lines of all its processes, as the host sees them."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


@contextlib.contextmanager
def container(
    image: str, *command: str, options: tuple[str | Path, ...] = ()
) -> Iterator[Container]:
    """`image` running, hardened, until the block ends; a test that fails shows its log."""
    mark = uuid.uuid4().hex[:12]
    running = Container(f"poller-test-{mark}", mark)
    named = ("--name", running.name, "--timeout", str(LIFETIME), "--env", f"{MARK}={mark}")
    podman("run", "--detach", *named, *HARDENED, *options, image, *command)
    try:
        yield running
    except BaseException as error:
        error.add_note(f"the log of {image}:\n{running.logs()[-8000:]}")
        raise
    finally:
        podman("rm", "--force", "--time", "0", "--volumes", running.name)


@contextlib.contextmanager
def volume() -> Iterator[str]:
    """The name of an empty volume."""
    name = f"poller-test-{uuid.uuid4().hex[:12]}"
    podman("volume", "create", name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name)


def once(image: str, *command: str, options: tuple[str | Path, ...] = ()) -> str:
    """What `command` prints in `image`, hardened."""
    return podman("run", "--rm", *HARDENED, *options, image, *command)


def inspected(image: str) -> Any:
    """What podman knows of an image."""
    return json.loads(podman("image", "inspect", image))[0]
