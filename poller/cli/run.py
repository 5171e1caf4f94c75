"""`poller run CONFIG`: runs the service."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import seconds
from .reading import add_arguments


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "run",
        parents=[common],
        help="run the mappings of a config file or a template",
        description="Runs the mappings of a config file, or of a SAM or CloudFormation template, "
        "until SIGTERM or Ctrl-C, which let running invocations end and save positions; SIGHUP "
        "rereads the files.",
    )
    add_arguments(parser)
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of the config's listen")
    parser.add_argument("--state", metavar="URL", help="instead of the config's state")
    parser.add_argument(
        "--until-idle",
        metavar="SECONDS",
        type=seconds,
        help="exit once everything has been caught up for so long",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="restart the processes of functions when files of their code change",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from .serving import serve  # noqa: PLC0415 - the whole service; other commands need none of it

    serve(options)
    return 0
