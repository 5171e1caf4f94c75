"""The demo's run: build, produce while everything flows, drain, and account for every item."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from rich.console import Console
from rich.table import Table

from poller.aws.sessions import AwsSession, AwsSettings
from poller.core.model import Seconds
from poller.observe.terminal import Progress
from poller.service import Service
from poller.service.signals import watch_signals
from poller.settings import Settings, load, override

from . import function
from .emulator import embedded_aws
from .stage import ACCOUNT, FAILED_BUCKET, FAILED_QUEUE, REGION, Stage, queue_arn

_log = logging.getLogger("poller.demo")

DRAIN_MAX: Seconds = 60.0
ACCOUNT_PERIOD: Seconds = 1.0
CONFIG = """\
aws: {{region: {region}, account_id: "{account}", endpoint_url: "{endpoint}"}}
listen: 127.0.0.1:0
functions:
  sample:
    handler: function.handler
    path: {folder}
    concurrency: 4
    environment: {{DEMO_LEDGER: {ledger}}}
mappings:
  - EventSourceArn: arn:aws:kinesis:{region}:{account}:stream/orders
    FunctionName: sample
    StartingPosition: TRIM_HORIZON
    BatchSize: 20
    BisectBatchOnFunctionError: true
    MaximumRetryAttempts: 2
    DestinationConfig: {{OnFailure: {{Destination: "{failed_queue}"}}}}
  - EventSourceArn: {stream}
    FunctionName: sample
    StartingPosition: TRIM_HORIZON
    BatchSize: 20
    BisectBatchOnFunctionError: true
    MaximumRetryAttempts: 2
    DestinationConfig: {{OnFailure: {{Destination: "arn:aws:s3:::{failed_bucket}"}}}}
  - EventSourceArn: {jobs}
    FunctionName: sample
    FunctionResponseTypes: [ReportBatchItemFailures]
  - EventSourceArn: {fifo}
    FunctionName: sample
    FunctionResponseTypes: [ReportBatchItemFailures]
"""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the items of one source."""

    produced: int
    delivered: int
    failed: int
    missing: int


async def show(seconds: Seconds | None, listen: str | None) -> bool:
    """Run the demo for `seconds` of producing (None: until Ctrl-C); whether nothing is missing."""
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="poller-demo-") as name:
        folder = Path(name)
        async with embedded_aws() as endpoint, _session(endpoint) as session:
            stage = Stage(session)
            await stage.build()
            settings = _settings(folder, endpoint, stage, listen)
            accounts = await _run(settings, stage, folder / "ledger", seconds, console)
    _print(accounts)
    return not any(account.missing for account in accounts.values())


def _session(endpoint: str) -> AwsSession:
    return AwsSession(AwsSettings(region=REGION, endpoint_url=endpoint))


def _settings(folder: Path, endpoint: str, stage: Stage, listen: str | None) -> Settings:
    config = folder / "poller.yaml"
    config.write_text(
        CONFIG.format(
            region=REGION,
            account=ACCOUNT,
            endpoint=endpoint,
            folder=Path(function.__file__).parent,
            ledger=folder / "ledger",
            failed_queue=queue_arn(FAILED_QUEUE),
            failed_bucket=FAILED_BUCKET,
            stream=stage.stream_arn,
            jobs=queue_arn("jobs"),
            fifo=queue_arn("jobs.fifo"),
        )
    )
    return override(
        load(config, os.environ, now=time.time()), listen=listen, state=None, folder=folder
    )


class _DebugOutput:
    """What the sample function prints is for those who look closely."""

    def printed(self, function: str, place: str, lines: Sequence[str]) -> None:
        for line in lines:
            _log.debug(line, extra={"function": function, "place": place})

    framed = printed


async def _run(
    settings: Settings, stage: Stage, ledger: Path, seconds: Seconds | None, console: Console
) -> dict[str, Account]:
    service = Service(settings, output=_DebugOutput())
    interrupted = anyio.Event()
    failed: set[str] = set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, interrupted.set)
        tasks.start_soon(service.run)
        await service.listening.wait()
        host, port = service.address or ("", 0)
        address = f"[bold]http://{host}:{port}[/bold]"
        console.print(f"poller demo: {address} has Lambda's API, /metrics and /lag")
        progress = Progress(service.board, service.tally, title="poller demo")
        async with anyio.create_task_group() as showing:
            showing.start_soon(progress.follow)
            await _produce(stage, interrupted, seconds)
            with anyio.move_on_after(DRAIN_MAX):
                while _missing(stage, ledger, failed):
                    await anyio.sleep(ACCOUNT_PERIOD)
                    failed |= await stage.failed()
            showing.cancel_scope.cancel()
        service.stop()
        await service.stopped.wait()
        progress.print_summary()
        tasks.cancel_scope.cancel()
    return _accounts(stage, ledger, failed)


async def _produce(stage: Stage, interrupted: anyio.Event, seconds: Seconds | None) -> None:
    async with anyio.create_task_group() as producing:
        producing.start_soon(stage.produce)
        with anyio.move_on_after(math.inf if seconds is None else seconds):
            await interrupted.wait()
        producing.cancel_scope.cancel()


def _missing(stage: Stage, ledger: Path, failed: set[str]) -> set[str]:
    return set().union(*stage.produced.values()) - _delivered(ledger) - failed


def _delivered(ledger: Path) -> set[str]:
    return set(ledger.read_text().split()) if ledger.exists() else set()


def _accounts(stage: Stage, ledger: Path, failed: set[str]) -> dict[str, Account]:
    delivered = _delivered(ledger)
    return {
        kind: Account(
            len(items),
            len(items & delivered),
            len((items & failed) - delivered),
            len(items - delivered - failed),
        )
        for kind, items in stage.produced.items()
    }


def _print(accounts: dict[str, Account]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("source")
    for heading in ("produced", "delivered", "to failure destinations", "missing"):
        table.add_column(heading, justify="right")
    for kind, account in accounts.items():
        style = "red" if account.missing else None
        numbers = (account.produced, account.delivered, account.failed, account.missing)
        table.add_row(kind, *(str(number) for number in numbers), style=style)
    console = Console(highlight=False)
    console.print(table)
    missing = sum(account.missing for account in accounts.values())
    console.print(
        "[red]items are missing[/red]" if missing else "[green]nothing is missing[/green]"
    )
