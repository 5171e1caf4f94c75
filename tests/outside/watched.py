"""poller processes that know secrets, and whose whole log is looked through at the end: it has no
traceback in it and none of the secrets.

    with watched(config(ministack_url, Mapped(queue.arn, stub))) as running: ...
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.outside.poller_process import Running, poller
from tests.waiting import eventually

KEY_ID = "AKIAOUTSIDETESTS"
SECRET_KEY = "outside-secret-access-key"
SESSION_TOKEN = "outside-session-token"
URL_USER, URL_PASSWORD = "someone", "outside-url-password"
HEADER_VALUE = "outside-header-value"
SECRETS = (
    SECRET_KEY,
    SESSION_TOKEN,
    URL_PASSWORD,
    HEADER_VALUE,
    base64.b64encode(f"{URL_USER}:{URL_PASSWORD}".encode()).decode(),
)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
    "FUNCTION_KEY": HEADER_VALUE,
}
COMMAND_TIMEOUT = 60.0
LINE_LENGTH_MAX = 1500  # what a person reads as one line


class Reachable(Protocol):
    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Mapped:
    """A source, the function that it goes to, and further keys of the mapping and the function."""

    source_arn: str
    function: Reachable
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 1
    name: str = ""


def config(endpoint_url: str, *mapped: Mapped, **others: Any) -> dict[str, Any]:
    """A config file with a function for each mapping, called `name` or f0, f1, ..."""
    named = {one.name or f"f{index}": one for index, one in enumerate(mapped)}
    return {
        "aws": {"region": "us-east-1", "endpoint_url": endpoint_url},
        "functions": {name: _function(one) for name, one in named.items()},
        "mappings": [
            {"EventSourceArn": one.source_arn, "FunctionName": name, **one.settings}
            for name, one in named.items()
        ],
        **others,
    }


def _function(mapped: Mapped) -> dict[str, Any]:
    host = mapped.function.url.removeprefix("http://")
    return {
        "url": f"http://{URL_USER}:{URL_PASSWORD}@{host}",
        "headers": {"X-Function-Key": "${FUNCTION_KEY}"},
        "timeout": mapped.timeout,
    }


@contextlib.contextmanager
def watched(
    settings: Mapping[str, Any],
    *arguments: str,
    folder: Path | None = None,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """`poller`, with secrets in its environment.  What still runs at the end is killed."""
    surroundings = {**ENVIRONMENT, **(environment or {})}
    with poller(
        settings, *arguments, folder=folder, ready=ready, environment=surroundings
    ) as running:
        try:
            yield running
        finally:
            log = running.log()
            if running.process.poll() is None:
                running.kill()
        assert_clean(log)


def command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`poller` with these arguments, in `folder`, until it ends."""
    ended = subprocess.run(
        [sys.executable, "-m", "poller", *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    assert_clean(ended.stderr)
    return ended


def assert_clean(log: str) -> None:
    """No traceback, no secret, no page of text as one line."""
    assert "Traceback" not in log
    assert not [secret for secret in SECRETS if secret in log]
    assert max(map(len, log.splitlines()), default=0) <= LINE_LENGTH_MAX


def lines(running: Running, *parts: str) -> Sequence[str]:
    """The lines of the log that have all these parts."""
    return [line for line in running.log().splitlines() if all(part in line for part in parts)]


def await_line(running: Running, *parts: str) -> str:
    """The first such line, once it is there."""

    def found() -> str | None:
        return next(iter(lines(running, *parts)), None)

    found.__qualname__ = f"line with {parts}"
    return eventually(found)


def uuid_of(running: Running, source_arn: str) -> str:
    """The mapping of this source, which has one only."""
    (uuid,) = (
        uuid
        for uuid, mapping in running.lag()["mappings"].items()
        if mapping["source"] == source_arn
    )
    assert isinstance(uuid, str)
    return uuid
