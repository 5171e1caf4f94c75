"""Looks at sources before a mapping of them is written: each is an answer in time, or a Refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import anyio

from poller.core.model import Position, Seconds
from poller.engine.specs import Spec, StreamSpec
from poller.errors import SourceMissing, SourceUnfit

from .refusals import INVALID, Refusal

LOOK_MAX: Seconds = 20.0  # at a source or a destination; boto3 waits for a reply for 60 s


async def looked_at(spec: Spec, *, is_new: bool) -> Mapping[str, Position] | None:
    """Find the source of a mapping; where a new one starts at LATEST, the positions of now.

    To ask for them may take the subscription of a consumer from a mapping that runs.
    """
    try:
        if not isinstance(spec, StreamSpec):
            await spec.source.check()
        elif spec.latest and is_new:
            return await spec.source.pin()
        else:
            await spec.source.shards()
    except SourceMissing as error:
        raise Refusal(INVALID, str(error)) from None
    return None


async def check_fit(spec: Spec) -> None:
    """What a queue that is there has against an update; one that is gone has nothing."""
    if not isinstance(spec, StreamSpec):
        try:
            await spec.source.check()
        except SourceUnfit as error:
            raise Refusal(INVALID, str(error)) from None
        except SourceMissing:
            return


@contextmanager
def unpinned_unless_kept(spec: Spec) -> Iterator[Callable[[], object]]:
    """What a mapping has pinned that does not come to be, it would keep from the next."""
    with ExitStack() as unless_kept:
        if isinstance(spec, StreamSpec):
            unless_kept.callback(spec.source.unpin)
        yield unless_kept.pop_all


@contextmanager
def in_time(arn: str) -> Iterator[None]:
    """Give up a look at what does not answer before the client that asked for it gives up."""
    try:
        with anyio.fail_after(LOOK_MAX):
            yield
    except TimeoutError:
        raise Refusal(INVALID, f"{arn}: no answer within {LOOK_MAX:g} s") from None
