"""`--reload`: processes of functions start anew when files of their code change.

Folders are looked through now and then, which works wherever files do (also in containers whose
folders are another system's), and takes no more than a small part of one core however many files
there are.  Changes that follow each other closely are one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from os.path import relpath
from pathlib import Path

import anyio

from poller.core.model import Seconds
from poller.targets.processes import ProcessPool

from .code_files import Files, changed, files_below

LOOK_PERIOD: Seconds = 0.5
SHARE_MAX = 0.05  # of the time, for looking
SETTLE: Seconds = 0.15  # without a change, until a burst of them is over
BURST_MAX: Seconds = 5.0
NAMES_MAX = 3  # in the line about it

log = logging.getLogger("poller.service")


async def reload_code(pools: Callable[[], Mapping[str, ProcessPool]], *, state: str) -> None:
    """Renew the processes of `pools`, by function, when their code changes; until cancelled.

    `state`: the path of poller's own state, which is no code.
    """
    seen: dict[Path, Files] = {}
    if not pools():
        log.warning("--reload: no function has processes here, so nothing is reloaded")
    while True:
        folders = {pool.folder for pool in pools().values()}
        took, now = await _look(folders, state)
        for folder in [each for each in folders if now[each] != seen.get(each, now[each])]:
            settled = await _settled(folder, now[folder], state)
            _renew(pools(), folder, changed(seen[folder], settled))
            now[folder] = settled
        seen = now
        await anyio.sleep(max(LOOK_PERIOD, took / SHARE_MAX))


async def _look(folders: Collection[Path], state: str) -> tuple[Seconds, dict[Path, Files]]:
    """How long it took, and what is in each of `folders`."""

    def look() -> tuple[Seconds, dict[Path, Files]]:
        began = time.monotonic()
        found = {folder: files_below(folder, state) for folder in folders}
        return time.monotonic() - began, found

    return await anyio.to_thread.run_sync(look) if folders else (0.0, {})


async def _settled(folder: Path, now: Files, state: str) -> Files:
    """What is in `folder` once it changes no more."""
    with anyio.move_on_after(BURST_MAX):
        while True:
            await anyio.sleep(SETTLE)
            before = now
            _, found = await _look([folder], state)
            now = found[folder]
            if now == before:
                break
    return now


def _renew(pools: Mapping[str, ProcessPool], folder: Path, paths: list[str]) -> None:
    renewed = sorted(name for name, pool in pools.items() if pool.folder == folder)
    if paths and renewed:
        for name in renewed:
            pools[name].renew()
        which = _listed([relpath(path, folder) for path in paths])
        log.info("%s changed: processes of %s start anew", which, _listed(renewed))


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
