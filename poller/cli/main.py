"""`poller`: one module for each command; this one parses and reports.

Exit codes: 0 done, 1 failed while running, 2 wrong usage or config.  Errors are one clear line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from poller import __version__
from poller.errors import ConfigError, InvalidConfig, PollerError, plain
from poller.observe.logs import FORMATS, LEVELS, configure

from . import check, demo, filter, importing, run

FAILED, WRONG = 1, 2


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line that names the remedy."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see '{self.prog} --help'", file=sys.stderr)
        raise SystemExit(WRONG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    options = _parser().parse_args(arguments)
    configure(options.log_level, options.log_format)
    try:
        code: int = options.run(options)
        return code
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        return _told(plain(error), options)


def _told(error: BaseException, options: argparse.Namespace) -> int:
    """Say what went wrong in one line; the exit code."""
    match error:
        case InvalidConfig():
            print(error, file=sys.stderr)
            return WRONG
        case ConfigError():
            print(f"poller: {error}", file=sys.stderr)
            return WRONG
        case PollerError():
            print(f"poller: {error}", file=sys.stderr)
        case KeyboardInterrupt() | BrokenPipeError():
            pass
        case _ if options.log_level == "debug":
            raise error
        case _:
            text = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            print(f"poller: {text}; this is a bug, please report it", file=sys.stderr)
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="poller",
        description="AWS Lambda's event source mapping as a process: Kinesis, DynamoDB Streams "
        "and SQS in front of any function.",
    )
    parser.add_argument("--version", action="version", version=f"poller {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for module in (demo, run, check, filter, importing):
        module.add_parser(commands, _common())
    return parser


def _common() -> argparse.ArgumentParser:
    """What every command takes; new for each, since a default set in one is set in its parents."""
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("logging")
    group.add_argument("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    group.add_argument("--log-format", choices=FORMATS, default="text", help="default: text")
    return common
