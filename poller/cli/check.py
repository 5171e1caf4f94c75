"""`poller check CONFIG`: what is wrong with a config or a template, without running it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from typing import Any

from poller.errors import InvalidConfig

from .reading import add_arguments, name_of, read_settings

OK = 0
WRONG_CONFIG = 2


def add_parser(subparsers: _SubParsersAction[Any], common: ArgumentParser) -> None:
    """Add the command with the options of `common`; `run` carries it out."""
    parser = subparsers.add_parser(
        "check",
        parents=[common],
        help="check a config file without running it and without the network",
        description="Prints each problem as FILE:LINE: PATH: what is wrong; what would be right. "
        "A warning is what is valid and probably not meant; it does not change the exit code.",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Check what is given and say what came of it; the exit code."""
    try:
        settings = read_settings(args)
    except InvalidConfig as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIG
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    functions = _count(len(settings.functions), "function")
    mappings = _count(len(settings.mappings) + len(settings.awaited), "mapping")
    for note in settings.notes:
        print(note)
    print(f"{name_of(args)}: ok, {functions}, {mappings}")
    return OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
