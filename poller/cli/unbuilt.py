"""Commands and options that are named but not built yet: each is refused in one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from poller.errors import ConfigError

COMMANDS = {
    "filter": "says which events match a filter pattern",
}
RUN_OPTIONS = {"--reload": None}


def add_parsers(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands; they take anything, and refuse it."""
    for name, what in COMMANDS.items():
        parser = commands.add_parser(
            name, parents=[common], help=f"not built yet: {what}", prefix_chars="\0"
        )
        parser.add_argument("anything", nargs="*", help=argparse.SUPPRESS)
        parser.set_defaults(run=_refuse_command)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    for name, value in RUN_OPTIONS.items():
        takes: dict[str, Any] = {"nargs": 0} if value is None else {"metavar": value}
        parser.add_argument(name, action=_Refused, help="not built yet", **takes)


def _refuse_command(options: argparse.Namespace) -> NoReturn:
    raise ConfigError(f"{options.command} is not built yet")


class _Refused(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser.error(f"{self.option_strings[0]} is not built yet")
