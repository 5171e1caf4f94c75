"""The log on stderr: one line for each event, as text for people or as JSON for machines.

    2026-01-31T12:00:00.123Z WARNING the function failed shard=shardId-000000000003 batch=7

Fields come from `extra=`.  An exception is one line, `error=TYPE: MESSAGE`; its traceback is shown
at level debug only.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO, get_args

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
LEVELS: tuple[Level, ...] = get_args(Level)
FORMATS: tuple[Format, ...] = get_args(Format)

LINE_LENGTH_MAX = 8192  # of one message or field; a longer one is cut

# What logging itself puts on a record; everything else is a field.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(level: Level, format: Format) -> None:
    """Send the log to stderr.  May be called again; the last call counts.

    `level` is that of poller's own lines.  Libraries are heard from warning on only: at debug they
    would write signatures and payloads.
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _StderrHandler)]:
        root.removeHandler(handler)
    handler = _StderrHandler()
    shows_tracebacks = level == "debug"
    handler.setFormatter(
        JsonFormatter(shows_tracebacks) if format == "json" else TextFormatter(shows_tracebacks)
    )
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("poller").setLevel(level.upper())


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now: a live display on the terminal puts itself there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class TextFormatter(logging.Formatter):
    """Time, level, message, then `name=value` for each field; values with blanks are quoted."""

    def __init__(self, shows_tracebacks: bool = False) -> None:
        super().__init__()
        self._shows_tracebacks = shows_tracebacks

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        pairs = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
        line = f"{_time(record)} {record.levelname} {_one_line(record.getMessage())}{pairs}"
        error = _exception(record)
        if error is not None and self._shows_tracebacks:
            return f"{line}\n{''.join(traceback.format_exception(*error)).rstrip()}"
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object for each line: time, level, logger, message, and the fields."""

    def __init__(self, shows_tracebacks: bool = False) -> None:
        super().__init__()
        self._shows_tracebacks = shows_tracebacks

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        error = _exception(record)
        if error is not None and self._shows_tracebacks:
            line["traceback"] = "".join(traceback.format_exception(*error))
        return json.dumps(line, ensure_ascii=False, default=str)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`, and the exception as one line."""
    fields = {
        name: _cut(value) if isinstance(value, str) else value
        for name, value in vars(record).items()
        if name not in _OWN
    }
    error = _exception(record)
    if error is not None:
        fields["error"] = _cut(f"{error[0].__name__}: {error[1]}".removesuffix(": "))
    return fields


def _exception(record: logging.LogRecord) -> _ExcInfo | None:
    info = record.exc_info
    if not info or info[0] is None or info[1] is None:
        return None
    return info[0], info[1], info[2]


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not any(letter in text for letter in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _one_line(text: str) -> str:
    """Without line ends, and without what a terminal would obey."""
    line = " ".join(part.strip() for part in text.splitlines())
    return _cut("".join(letter if letter.isprintable() else " " for letter in line))


def _cut(text: str) -> str:
    return text if len(text) <= LINE_LENGTH_MAX else f"{text[: LINE_LENGTH_MAX - 3]}..."
