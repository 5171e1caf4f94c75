"""What one process prints: each line belongs to the invocation that runs, framed as by Lambda."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from poller.core.model import Instant, Seconds
from poller.interfaces import Errored, Invocation, Reply

from .log_frames import end_line, report_line, start_line, timeout_line
from .output import IDLE, INIT, Output
from .output_lines import Lines

TAIL_BYTES_MAX = 4096  # of an invocation's output, as X-Amz-Log-Result has it


@dataclass(frozen=True, slots=True)
class Usage:
    """What an invocation took.  `memory`: MB, None if unknown.  `initialisation`: of a process
    that started for it."""

    duration: Seconds
    memory: int | None
    initialisation: Seconds | None


class Transcript:
    """Passes the output of one process of `function` on to `output`.

    `version` and `memory` (MB) are what Lambda's lines say of the function.
    """

    def __init__(
        self,
        function: str,
        *,
        version: str,
        memory: int,
        output: Output,
        now: Callable[[], Instant],
    ) -> None:
        self._function = function
        self._version = version
        self._memory = memory
        self._output = output
        self._now = now
        self._lines = Lines(self._print)
        self._place = INIT
        self._tail: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """The process has printed `data`."""
        self._lines.feed(data)

    def rest(self) -> None:
        """Pass on what has no line end; none will come."""
        self._lines.end()

    def initialised(self) -> None:
        """What is printed from now on belongs to no invocation."""
        self._lines.end()
        self._place = IDLE

    def begin(self, invocation: Invocation) -> None:
        """What is printed from now on belongs to `invocation`."""
        self._lines.end()
        self._place = invocation.request_id
        self._tail = bytearray() if invocation.log_tail else None
        self._frame([start_line(self._place, self._version)])

    def end(self, reply: Reply, usage: Usage) -> bytes:
        """The invocation that began has come to `reply`; the end of its output, if wanted."""
        self._lines.end()
        report = report_line(
            self._place,
            duration=usage.duration,
            memory=self._memory,
            memory_used=usage.memory,
            init_duration=usage.initialisation,
        )
        self._frame([*self._last_words(reply), end_line(self._place), report])
        tail, self._tail = self._tail, None
        self._place = IDLE
        return bytes(tail or b"")

    def _print(self, lines: list[str]) -> None:
        self._keep(lines)
        self._output.printed(self._function, self._place, lines)

    def _frame(self, lines: list[str]) -> None:
        self._keep(lines)
        self._output.framed(self._function, self._place, lines)

    def _keep(self, lines: list[str]) -> None:
        if self._tail is not None:
            self._tail += "".join([f"{line}\n" for line in lines]).encode()
            del self._tail[:-TAIL_BYTES_MAX]

    def _last_words(self, reply: Reply) -> list[str]:
        """What Lambda says of an invocation that its runtime did not answer."""
        match reply:
            case Errored(payload=b"", error_type="Sandbox.Timedout", message=message):
                return [timeout_line(self._place, at=self._now(), message=message)]
            case Errored(payload=b"", error_type="Runtime.ExitError", message=message):
                return [message, "Runtime.ExitError"]
            case _:
                return []
