"""The Extensions API beside a Runtime API, as far as images with extensions need it to start.

Extensions register, are told of invocations, and of the end.  An invocation is told to those that
come from the address of the runtime that takes it, since that is all that is known of who belongs
to whom; nothing waits for them.  Telemetry and logs are not sent, and whoever subscribes is told
so in the words of AWS's emulator, which extensions know.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from poller.core.model import Instant, Seconds
from poller.interfaces import Invocation

from .runtime_http import Connection, Request, error_body

EXTENSIONS_MAX = 1000  # of all runtimes together; the one unheard of for longest makes room
EVENTS_MAX = 100  # that one extension has not asked for yet
END_GRACE: Seconds = 2.0  # what an extension is told that it has left at the end, as on Lambda

ACCEPTED = b'{"status":"OK"}\n'

_EXTENSION = b"/2020-01-01/extension/"
_UNSENT = {b"/2022-07-01/telemetry": "Telemetry", b"/2020-08-15/logs": "Logs"}
_EVENTS = frozenset(("INVOKE", "SHUTDOWN"))
_REGISTERED, _READY, _RUNNING = "Registered", "Ready", "Running"
_TRANSITION = (
    "State transition from {} to {} failed for extension {}. Error: State transition is not allowed"
)

_logger = logging.getLogger("poller.targets")


class Registration(msgspec.Struct):
    """The body with which an extension registers."""

    events: list[str] = []
    configurationKeys: list[str] = []


@dataclass(slots=True, eq=False)
class _Extension:
    """`waiting`: the connection on which it asks for its next event."""

    id: str
    name: str
    peer: str
    events: frozenset[str]
    state: str = _REGISTERED
    waiting: Connection | None = None
    unsent: deque[bytes] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))

    def tell(self, event: bytes) -> None:
        """Now if it asks, else when it does; the oldest are forgotten beyond EVENTS_MAX."""
        if self.waiting is None:
            self.unsent.append(event)
        else:
            connection, self.waiting = self.waiting, None
            self.answer(connection, event)

    def answer(self, connection: Connection, event: bytes) -> None:
        self.state = _RUNNING
        header = f"Lambda-Extension-Event-Identifier: {uuid.uuid4()}\r\n"
        connection.reply(200, event, header)


class Extensions:
    """The extensions of one function's runtimes.

    `function`: its name.  `handler`: what the runtimes are told to run, if that is known here.
    """

    def __init__(self, *, function: str, handler: str, now: Callable[[], Instant]) -> None:
        self.function = function
        self._handler = handler
        self._now = now
        self._all: dict[str, _Extension] = {}  # by identifier, the latest heard of last
        self._told: set[str] = set()

    def asked(self, connection: Connection, request: Request) -> bool:
        """Answer the request if it is for extensions; whether it is."""
        path = request.path
        if path in _UNSENT:
            if request.method == b"PUT":
                self._unsupported(connection, _UNSENT[path])
            else:
                _wrong_method(connection)
            return True
        if not path.startswith(_EXTENSION):
            return False
        match request.method, path.removeprefix(_EXTENSION):
            case b"POST", b"register":
                self._register(connection, request)
            case b"GET", b"event/next":
                self._next(connection, request)
            case b"POST", b"init/error":
                self._failed(connection, request, "InitError", allowed={_REGISTERED})
            case b"POST", b"exit/error":
                allowed = {_REGISTERED, _READY, _RUNNING}
                self._failed(connection, request, "ExitError", allowed=allowed)
            case _, b"register" | b"event/next" | b"init/error" | b"exit/error":
                _wrong_method(connection)
            case _:
                return False
        return True

    def told(self, invocation: Invocation, peer: str, deadline_ms: int) -> None:
        """A runtime at `peer` has taken the invocation."""
        told = [
            each for each in self._all.values() if each.peer == peer and "INVOKE" in each.events
        ]
        if told:
            event = _invoke_event(invocation, deadline_ms)
            for extension in told:
                extension.tell(event)

    def shut_down(self) -> None:
        """The end has come: tell those that want to know."""
        deadline = int((self._now() + END_GRACE) * 1000)
        event = msgspec.json.encode(
            {"eventType": "SHUTDOWN", "deadlineMs": deadline, "shutdownReason": "spindown"}
        )
        for extension in self._all.values():
            if "SHUTDOWN" in extension.events and extension.waiting is not None:
                extension.tell(event)

    def closed(self, connection: Connection) -> None:
        """The connection can take no event any more."""
        for extension in self._all.values():
            if extension.waiting is connection:
                extension.waiting = None

    # What requests do.

    def _register(self, connection: Connection, request: Request) -> None:
        name = request.headers.get(b"lambda-extension-name", b"").decode("latin-1")
        if not name:
            connection.refuse(403, "Extension.InvalidExtensionName", "Empty extension name")
            return
        try:
            wanted = msgspec.json.decode(request.body or b"", type=Registration)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            connection.refuse(403, "InvalidRequestFormat", str(error))
            return
        if wanted.configurationKeys:
            why = "configurationKeys are deprecated; use environment variables instead"
            connection.refuse(403, "InvalidRequestFormat", why)
            return
        for event in wanted.events:
            if event not in _EVENTS:
                why = f"{event}: ErrorInvalidEventType"
                connection.refuse(403, "Extension.InvalidEventType", why)
                return
        extension = _Extension(str(uuid.uuid4()), name, connection.peer, frozenset(wanted.events))
        self._heard_of(extension)
        said = {"functionName": self.function, "functionVersion": "$LATEST"}
        body = msgspec.json.encode(said | {"handler": self._handler})
        connection.reply(200, body, f"Lambda-Extension-Identifier: {extension.id}\r\n")

    def _next(self, connection: Connection, request: Request) -> None:
        extension = self._known(connection, request)
        if extension is None:
            return
        if extension.state not in {_REGISTERED, _READY, _RUNNING}:
            _not_allowed(connection, extension, _READY)
            return
        self._heard_of(extension)
        extension.state = _READY
        if extension.waiting is not None:  # it asks anew, so it has given that one up
            extension.waiting.abort()
        if extension.unsent:
            extension.answer(connection, extension.unsent.popleft())
        else:
            extension.waiting = connection

    def _failed(
        self, connection: Connection, request: Request, state: str, *, allowed: set[str]
    ) -> None:
        extension = self._known(connection, request)
        if extension is None:
            return
        error_type = request.headers.get(b"lambda-extension-function-error-type", b"")
        if not error_type:
            why = "Lambda-Extension-Function-Error-Type not found"
            connection.refuse(403, "Extension.MissingHeader", why)
            return
        if extension.state not in allowed:
            _not_allowed(connection, extension, state)
            return
        extension.state = state
        line = "function %s: the extension %r reports %s: %r"
        shown = error_type.decode("latin-1")
        _logger.warning(line, self.function, extension.name, state, shown)
        connection.reply(202, ACCEPTED)

    def _unsupported(self, connection: Connection, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            line = "function %s: an extension asks for the %s API, which there is not here"
            _logger.warning(line, self.function, what)
        connection.reply(202, error_body(f"{what}.NotSupported", f"{what} API is not supported"))

    def _known(self, connection: Connection, request: Request) -> _Extension | None:
        """The extension that asks; None if the request names none, which it has been told."""
        stated = request.headers.get(b"lambda-extension-identifier", b"").decode("latin-1")
        if not stated:
            why = "Missing Lambda-Extension-Identifier header"
            connection.refuse(403, "Extension.MissingExtensionIdentifier", why)
            return None
        try:
            identifier = str(uuid.UUID(stated))
        except ValueError:
            why = "Invalid Lambda-Extension-Identifier"
            connection.refuse(403, "Extension.InvalidExtensionIdentifier", why)
            return None
        extension = self._all.get(identifier)
        if extension is None:
            why = f"Unknown extension {identifier}"
            connection.refuse(403, "Extension.UnknownExtensionIdentifier", why)
        return extension

    def _heard_of(self, extension: _Extension) -> None:
        self._all.pop(extension.id, None)
        self._all[extension.id] = extension
        if len(self._all) > EXTENSIONS_MAX:
            forgotten = self._all.pop(next(iter(self._all)))
            if forgotten.waiting is not None:
                forgotten.waiting.abort()


def _invoke_event(invocation: Invocation, deadline_ms: int) -> bytes:
    event: dict[str, Any] = {
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": invocation.function_arn,
    }
    if invocation.trace_id:
        event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id}
    return msgspec.json.encode(event)


def _not_allowed(connection: Connection, extension: _Extension, wanted: str) -> None:
    why = _TRANSITION.format(extension.state, wanted, extension.id)
    connection.refuse(403, "Extension.InvalidExtensionState", why)


def _wrong_method(connection: Connection) -> None:
    connection.refuse(405, "MethodNotAllowed", "The method is not allowed here.")
