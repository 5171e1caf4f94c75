"""Lambda's Invoke for the functions declared here: a request and an event in, an answer out.

an invocation that         is answered by
returned                   200 and what it returned, byte for byte
failed                     200, X-Amz-Function-Error and the error as its runtime wrote it
was throttled              429 TooManyRequestsException with AWS's Reason
is too large for it        413 RequestTooLargeException
did not reach the function 500 ServiceException and why
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from poller.core.model import Instant, Seconds
from poller.engine.invoking import new_id
from poller.errors import QueueFull, StateError
from poller.interfaces import AsyncInvocations, Errored, Invocation, NotReached, Ran, Target
from poller.targets.limited import TOTAL_REASON
from poller.targets.log_frames import end_line, report_line, start_line
from poller.wire.arns import LATEST_VERSION, FunctionReference
from poller.wire.problems import one_line
from poller.wire.traces import passed_on

from .invoke_requests import InvocationType, InvokeRequest
from .refusals import NOT_FOUND, SERVICE, TOO_LARGE, Refusal, Throttled

LOG_TAIL_BYTES = 4096
WHY_SHOWN_MAX = 1000  # characters of why a function was not reached


@dataclass(frozen=True, slots=True)
class Callee:
    """What a reference stands for: its ARN as asked for; no `target`: nothing declares it."""

    arn: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Invoking:
    """`find` knows the functions; `queued` takes events that run later."""

    def __init__(
        self,
        find: Callable[[FunctionReference], Callee],
        queued: AsyncInvocations,
        *,
        now: Callable[[], Instant],
    ) -> None:
        self._find = find
        self._queued = queued
        self._now = now

    async def invoke(self, request: InvokeRequest, event: bytes) -> Answer:
        """Raises Refusal."""
        callee = self._find(request.function)
        if callee.target is None:
            raise self._not_found(request.function, callee.arn)
        version = _version(request.function, LATEST_VERSION)
        if request.kind is InvocationType.DRY_RUN:
            told = {"x-amzn-RequestId": new_id(), "X-Amz-Executed-Version": version}
            return Answer(204, told)
        invocation = self._invocation(request, callee.arn, event)
        told = {
            "x-amzn-RequestId": invocation.request_id,
            "X-Amzn-Trace-Id": invocation.trace_id,
        }
        if request.kind is InvocationType.EVENT:
            await self._queue(request.function.key, invocation)
            return Answer(202, told)
        return await self._run(request, callee.target, invocation, told)

    async def _run(
        self,
        request: InvokeRequest,
        target: Target,
        invocation: Invocation,
        told: Mapping[str, str],
    ) -> Answer:
        time = asyncio.get_running_loop().time
        began = time()
        reply = await target.invoke(invocation)
        match reply:
            case NotReached(throttled=True):
                raise Throttled(reply.reason, reply.retry_after)
            case NotReached():
                code = TOO_LARGE if reply.too_large else SERVICE
                raise Refusal(code, one_line(reply.why, WHY_SHOWN_MAX))
            case Ran():
                body, failed = reply.body, {}
            case Errored():
                body, failed = _error(reply), {"X-Amz-Function-Error": reply.function_error}
        version = _version(request.function, reply.executed_version)
        headers = {**told, **failed, "X-Amz-Executed-Version": version}
        if request.log_tail:
            tail = reply.log or _frames(invocation.request_id, version, time() - began)
            headers["X-Amz-Log-Result"] = base64.b64encode(tail[-LOG_TAIL_BYTES:]).decode()
        return Answer(200, headers, body)

    async def _queue(self, function: str, invocation: Invocation) -> None:
        try:
            await self._queued.accept(function, invocation)
        except QueueFull:
            raise Throttled(TOTAL_REASON) from None
        except StateError as error:
            raise Refusal(SERVICE, str(error)) from None

    def _invocation(self, request: InvokeRequest, arn: str, event: bytes) -> Invocation:
        """The client context is for synchronous invocations only, as on AWS."""
        request_id = new_id()
        runs_now = request.kind is InvocationType.REQUEST_RESPONSE
        return Invocation(
            event,
            request_id,
            arn,
            passed_on((request.trace,), request_id, self._now()),
            client_context=request.client_context if runs_now else "",
            log_tail=request.log_tail and runs_now,
        )

    def _not_found(self, function: FunctionReference, arn: str) -> Refusal:
        message = f"Function not found: {arn}"
        if self._find(replace(function, qualifier=None)).target is not None:
            message += f". Function does not exist under this qualifier: declare {function.key}."
        return Refusal(NOT_FOUND, message)


def _version(function: FunctionReference, executed: str) -> str:
    """What ran: a function that is declared as a version is that version."""
    qualifier = function.qualifier or ""
    return qualifier if qualifier.isdecimal() and executed == LATEST_VERSION else executed


def _error(reply: Errored) -> bytes:
    if reply.payload:
        return reply.payload
    return msgspec.json.encode({"errorType": reply.error_type, "errorMessage": reply.message})


def _frames(request_id: str, version: str, seconds: Seconds) -> bytes:
    """The log of a function whose output is not known here."""
    lines = (
        start_line(request_id, version),
        end_line(request_id),
        report_line(request_id, duration=seconds, memory=None),
    )
    return "".join(f"{line}\n" for line in lines).encode()
