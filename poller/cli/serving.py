"""Runs the service of `poller run`, and shows on stderr how it gets on."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from poller.observe.lines import follow_in_log, log_summary
from poller.service import Service
from poller.service.signals import watch_signals
from poller.settings import Settings, override
from poller.targets.output import StderrOutput

from .reading import name_of, read_settings

if TYPE_CHECKING:
    from poller.observe.terminal import Progress

log = logging.getLogger("poller.cli")


def serve(options: argparse.Namespace) -> None:
    """Run what `options` say until it is stopped or, with `until_idle`, idle for so long."""

    said: set[str] = set()

    def read() -> Settings:
        settings = read_settings(options)
        for note in settings.notes:
            if note not in said:
                log.info("%s", note)
        said.update(settings.notes)
        return override(settings, listen=options.listen, state=options.state, folder=Path.cwd())

    service = Service(
        read(),
        file=name_of(options),
        reread=read,
        output=StderrOutput(options.log_format, frames=log.isEnabledFor(logging.INFO)),
        reloads_code=options.reload,
    )
    anyio.run(_serve, service, options.until_idle, options.log_format == "text")


async def _serve(service: Service, until_idle: float | None, tables: bool) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, service.stop, service.reload)
        tasks.start_soon(_follow, service, tables)
        await service.run(until_idle=until_idle)
        tasks.cancel_scope.cancel()
    if tables:
        _progress(service).print_summary()
    else:
        log_summary(service.board, service.tally)


async def _follow(service: Service, tables: bool) -> None:
    if tables and sys.stderr.isatty():
        await _progress(service).follow()
    else:
        await follow_in_log(service.board, service.tally)


def _progress(service: Service) -> Progress:
    from poller.observe.terminal import Progress  # noqa: PLC0415 - 2 MB that only tables need

    return Progress(service.board, service.tally, title="poller")
