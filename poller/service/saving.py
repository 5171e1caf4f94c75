"""Stores the last results of mappings now and then."""

from __future__ import annotations

import logging

import anyio

from poller.control.registry import Registry
from poller.core.model import Seconds
from poller.errors import StateError

log = logging.getLogger("poller.service")

SAVE_RESULTS_PERIOD: Seconds = 5.0


async def keep_saving_results(registry: Registry) -> None:
    """Until cancelled."""
    while True:
        await anyio.sleep(SAVE_RESULTS_PERIOD)
        await save_results(registry)


async def save_results(registry: Registry) -> None:
    try:
        await registry.save_results()
    except StateError as error:
        log.warning("storing the last results of mappings: %s", error)
