"""What the image is: small rights, nothing to build with, and one place to write to."""

from __future__ import annotations

import pytest

from poller import __version__
from poller.settings.schema import SERVICES
from tests.containers.podman import inspected, once

pytestmark = pytest.mark.container

# Paths of what could build or install something, what gives rights, and what was left behind.
SURPLUS = r"""
find / -xdev -path /var/lib/dpkg -prune -o \( -type f -o -type l \) \( \
    -name 'pip' -o -name 'pip3*' -o -name 'gcc*' -o -name 'cc' -o -name 'c++' -o -name 'make' \
    -o -path '*/ensurepip/*' -o -path '*/site-packages/pip/*' -o -path '*/hatchling/*' \
    -o -path '*/ministack/*' -o -path '/build/*' -o -perm /6000 \
\) -print 2>/dev/null; true
"""
WRITABLE = "find / -xdev -writable -not -type l -not -path '/proc/*' 2>/dev/null; true"
STATE = ["/var/lib/poller"]
SHELL = ("--entrypoint", "/bin/sh")


def test_the_image_runs_without_root_and_says_what_it_is(poller_image: str) -> None:
    about = inspected(poller_image)
    config = about["Config"]

    assert config["User"] == "10001:10001"
    assert config["Entrypoint"][0] == "/usr/bin/tini-static"
    assert list(config["Volumes"]) == STATE
    assert about["Labels"]["org.opencontainers.image.version"] == __version__
    assert about["Healthcheck"]["Test"][0] == "CMD"
    assert once(poller_image, "--version") == f"poller {__version__}\n"


def test_nothing_in_the_image_builds_or_installs_or_gives_rights(poller_image: str) -> None:
    assert once(poller_image, "-c", SURPLUS, options=SHELL) == ""


def test_only_the_state_can_be_written(poller_image: str) -> None:
    found = once(poller_image, "-c", WRITABLE, options=SHELL).splitlines()

    assert [path for path in found if not path.startswith(("/dev/", "/sys/"))] == STATE
    assert once(poller_image, "-c", f"cd {STATE[0]} && touch it && ls", options=SHELL) == "it\n"


def test_every_service_is_known_to_the_aws_sdk_in_the_image(poller_image: str) -> None:
    names = sorted(SERVICES)
    program = (
        "import botocore.loaders as loaders, sys;"
        "known = loaders.create_loader().list_available_services('service-2');"
        "print(*sorted(set(sys.argv[1:]) & set(known)))"
    )
    python = ("--entrypoint", "/opt/poller/bin/python")

    assert once(poller_image, "-c", program, *names, options=python).split() == names


def test_spans_can_be_sent_from_the_image(poller_image: str) -> None:
    program = (
        "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http; print('there')"
    )
    python = ("--entrypoint", "/opt/poller/bin/python")

    assert once(poller_image, "-c", program, options=python) == "there\n"
