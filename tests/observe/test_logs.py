"""The form of a log line."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from poller.errors import SourceMissing
from poller.observe.logs import FORMATS, LEVELS, Format, Level, configure

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
logger = logging.getLogger("poller.test")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("poller")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


class Stderr:
    """What was written to stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self) -> str:
        return self._capsys.readouterr().err


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capsys)


def raised() -> Exception:
    try:
        raise SourceMissing("the stream orders is not there\nreally")
    except SourceMissing as error:
        return error


@pytest.mark.parametrize(
    ("message", "fields", "expected"),
    [
        ("started", {}, "started"),
        ("failed", {"mapping": "m", "batch": 7}, "failed mapping=m batch=7"),
        ("failed", {"error": 'E: say "hi"'}, r'failed error="E: say \"hi\""'),
        ("failed", {"error": "two\nlines"}, r'failed error="two\nlines"'),
        ("failed", {"error": "a=b"}, 'failed error="a=b"'),
        ("failed", {"error": ""}, 'failed error=""'),
        ("failed", {"error": "\x1b[31mred\x9b"}, r'failed error="\u001b[31mred\u009b"'),
        ("two\n  lines and \x1b[2J", {}, "two lines and  [2J"),
        ("größer", {"name_of": "straße"}, "größer name_of=straße"),
    ],
)
def test_a_text_line_is_time_level_message_and_fields(
    stderr: Stderr, message: str, fields: dict[str, object], expected: str
) -> None:
    configure("info", "text")
    logger.warning("%s", message, extra=fields)
    line = stderr.text()
    assert re.fullmatch(TIME, line.split(" ")[0])
    assert line.split(" ", 1)[1] == f"WARNING {expected}\n"


def test_a_json_line_is_one_object(stderr: Stderr) -> None:
    configure("info", "json")
    logger.info("it is\n%s", "so", extra={"mapping": "m", "batch": 7})
    (line,) = stderr.text().splitlines()
    found = json.loads(line)
    assert re.fullmatch(TIME, found.pop("time"))
    assert found == {
        "level": "info",
        "logger": "poller.test",
        "message": "it is\nso",
        "mapping": "m",
        "batch": 7,
    }


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("level", [level for level in LEVELS if level != "debug"])
def test_an_exception_is_one_line(stderr: Stderr, level: Level, format: Format) -> None:
    configure(level, format)
    logger.error("broke", exc_info=raised())
    (line,) = stderr.text().splitlines()
    assert "SourceMissing: the stream orders is not there" in line
    assert "Traceback" not in line


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_is_shown_at_debug_only(stderr: Stderr, format: Format) -> None:
    configure("debug", format)
    logger.error("broke", exc_info=raised())
    assert "Traceback (most recent call last)" in stderr.text()


def test_libraries_are_heard_from_warning_on_even_at_debug(stderr: Stderr) -> None:
    configure("debug", "text")
    logging.getLogger("botocore.auth").debug("the signature")
    logging.getLogger("botocore.auth").warning("trouble")
    logger.debug("ours")
    assert [line.split(" ", 1)[1] for line in stderr.text().splitlines()] == [
        "WARNING trouble",
        "DEBUG ours",
    ]


def test_the_last_configuration_counts(stderr: Stderr) -> None:
    configure("debug", "json")
    configure("warning", "text")
    logger.info("too quiet")
    logger.warning("heard")
    assert len(stderr.text().splitlines()) == 1


def test_a_line_has_a_bound(stderr: Stderr) -> None:
    configure("info", "text")
    logger.info("%s", "x" * 100_000, extra={"error": "y" * 100_000})
    assert len(stderr.text()) < 20_000


def test_a_task_that_breaks_unseen_is_one_line_of_a_real_process() -> None:
    program = (
        "import asyncio\n"
        "from poller.observe.logs import configure\n"
        "configure('info', 'text')\n"
        "async def breaks(): raise ValueError('boom')\n"
        "async def main():\n"
        "    task = asyncio.create_task(breaks()); await asyncio.sleep(0); del task\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    (line,) = ran.stderr.splitlines()
    assert line.endswith('error="ValueError: boom"')
