"""`poller run CONFIG`: runs the service."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import anyio

from poller.observe.terminal import Progress
from poller.service import Service
from poller.service.signals import watch_signals
from poller.settings import Settings, load, override

from .arguments import seconds
from .unbuilt import add_run_options


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "run",
        parents=[common],
        help="run the mappings of a config file",
        description="Runs the mappings of a config file until SIGTERM or Ctrl-C, which let running "
        "invocations end and save positions; SIGHUP rereads the file.",
    )
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a YAML or JSON file")
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of the config's listen")
    parser.add_argument("--state", metavar="URL", help="instead of the config's state")
    parser.add_argument(
        "--until-idle",
        metavar="SECONDS",
        type=seconds,
        help="exit once everything has been caught up for so long",
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    def read() -> Settings:
        settings = load(options.config, os.environ, now=time.time())
        return override(settings, listen=options.listen, state=options.state, folder=Path.cwd())

    anyio.run(_serve, Service(read(), reread=read), options.until_idle)
    return 0


async def _serve(service: Service, until_idle: float | None) -> None:
    progress = Progress(service.board, service.tally, title="poller")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, service.stop, service.reload)
        tasks.start_soon(progress.follow)
        await service.run(until_idle=until_idle)
        tasks.cancel_scope.cancel()
    progress.print_summary()
