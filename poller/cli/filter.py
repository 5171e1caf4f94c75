"""`poller filter PATTERN [FILE]`: which events match a filter pattern, and what the others lack."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from poller.errors import ConfigError

log = logging.getLogger("poller.cli")

STDIN = "-"
GREEN, RED = "\x1b[32m{}\x1b[0m", "\x1b[31m{}\x1b[0m"
EXAMPLE = """
Says for each event whether it matches, and for the others which field said no:

  $ poller filter '{"body": {"n": [{"numeric": [">", 100]}]}}' event.json
  1: match
  2: no match: body.n is 99, wanted > 100

FILE is one JSON document, or JSON Lines: events with "Records", lists of records, single records.
Records of Kinesis, DynamoDB and SQS are seen as filters of mappings see them: Kinesis data out of
base64, SQS bodies parsed.  Any other object is matched as it is.

Exit codes: 0 all events were judged, 2 the pattern or an event cannot be read.
"""


def add_parser(subparsers: _SubParsersAction[Any], common: ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "filter",
        parents=[common],
        help="say which events match a filter pattern",
        description=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", metavar="PATTERN", help="its JSON, or @FILE")
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default=STDIN, help="events; default: standard input"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from poller.wire.judging import Judge  # noqa: PLC0415 - what other commands need nothing of

    judge = Judge(_pattern(options.pattern))
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    yes, no = (GREEN.format("match"), RED.format("no match")) if colored else ("match", "no match")
    matched = number = 0
    with _opened(options.file) as (name, lines):
        for number, misses in enumerate(judge.judge(lines, name), 1):
            print(f"{number}: {no}: {'; '.join(misses)}" if misses else f"{number}: {yes}")
            matched += not misses
    for warning in judge.warnings:
        log.warning("%s", warning)
    print(f"{matched} of {number} events match", file=sys.stderr)
    return 0


def _pattern(argument: str) -> str:
    if not argument.startswith("@"):
        return argument
    path = argument.removeprefix("@")
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {_why(error)}") from None


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[str, IO[bytes]]]:
    if file == STDIN:
        yield "standard input", sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            lines = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {_why(error)}") from None
        yield file, lines


def _why(error: OSError | UnicodeDecodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is no UTF-8 text"
