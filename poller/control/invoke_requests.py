"""What a request to Lambda's Invoke says: which function, how it is to be called, and the event.

Whatever is wrong is a Refusal, in AWS's words where they are known (spec 12.1).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from poller.core.policy import PAYLOAD_BYTES_MAX
from poller.interfaces import EVENT_BYTES_MAX
from poller.wire.arns import ArnError, FunctionReference, parse_function
from poller.wire.constraints import constraint, validation_errors
from poller.wire.surrogates import without_surrogates

from .refusals import BAD_CONTENT, INVALID, TOO_LARGE, VALIDATION, Refusal

CLIENT_CONTEXT_MAX = 3583

NO_EVENT = b"{}"  # what a function gets where nothing was sent

_LOG_TYPES = ("None", "Tail")
_QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9_-]{1,128}")
_RULES = {
    "FunctionName": "satisfy regular expression pattern: "
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?",
    "Qualifier": "satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)",
}
_UNSUPPORTED = {
    "X-Amz-Tenant-Id": "The invoked function is not enabled for tenancy configuration. Remove the "
    "tenant ID from your request and try again.",
    "X-Amz-Durable-Execution-Name": "The invoked function is not a durable function. Remove the "
    "durable execution name from your request and try again.",
}

_DECODER = msgspec.json.Decoder(msgspec.Raw)
_ONE_BYTE = bytes(range(128)) + b"x" * 128


class InvocationType(StrEnum):
    EVENT = "Event"
    REQUEST_RESPONSE = "RequestResponse"
    DRY_RUN = "DryRun"


@dataclass(frozen=True, slots=True)
class InvokeRequest:
    """All of a request but its event.  `trace`: the X-Ray header that came along, if any."""

    function: FunctionReference
    kind: InvocationType
    log_tail: bool
    client_context: str
    trace: str | None

    @property
    def event_bytes_max(self) -> int:
        return EVENT_BYTES_MAX if self.kind is InvocationType.EVENT else PAYLOAD_BYTES_MAX


def read_request(name: str, query: Mapping[str, str], headers: Mapping[str, str]) -> InvokeRequest:
    """A request to invoke `name`, as the path has it.  Raises Refusal."""
    kind = headers.get("X-Amz-Invocation-Type") or InvocationType.REQUEST_RESPONSE
    log_type = headers.get("X-Amz-Log-Type") or "None"
    qualifier = query.get("Qualifier", "")
    broken = []
    function: FunctionReference | None = None
    try:
        function = parse_function(name)
    except ArnError:
        broken.append(constraint(("FunctionName",), name, _RULES["FunctionName"]))
    if qualifier and not _QUALIFIER.fullmatch(qualifier):
        broken.append(constraint(("Qualifier",), qualifier, _RULES["Qualifier"]))
    for field, value, values in (
        ("InvocationType", kind, tuple(InvocationType)),
        ("LogType", log_type, _LOG_TYPES),
    ):
        if value not in values:
            rule = f"satisfy enum value set: [{', '.join(values)}]"
            broken.append(constraint((field,), value, rule))
    if broken or function is None:
        raise Refusal(VALIDATION, validation_errors(broken))
    for header, why in _UNSUPPORTED.items():
        if header in headers:
            raise Refusal(INVALID, why)
    return InvokeRequest(
        _qualified(function, qualifier),
        InvocationType(kind),
        log_type == "Tail",
        _client_context(headers.get("X-Amz-Client-Context", "")),
        headers.get("X-Amzn-Trace-Id"),
    )


def check_event(event: bytes) -> None:
    """Return if `event` is JSON.  Raises Refusal.

    A few milliseconds a megabyte, whatever it holds: nothing is made of it, and characters of
    several bytes, which may only stand in strings, are looked through as letters.
    """
    try:
        if not event.isascii():
            event.decode()
            event = event.translate(_ONE_BYTE)
        try:
            _DECODER.decode(event)
        except msgspec.DecodeError:
            _DECODER.decode(without_surrogates(event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) or "it is nested too deeply"
        raise Refusal(BAD_CONTENT, f"Could not parse request body into json: {why}") from None


def too_large(request: InvokeRequest) -> Refusal:
    """Why an event beyond `event_bytes_max` is refused."""
    limit = f"Request must be smaller than {request.event_bytes_max} bytes"
    return Refusal(TOO_LARGE, f"{limit} for the InvokeFunction operation")


def _qualified(function: FunctionReference, qualifier: str) -> FunctionReference:
    if not qualifier:
        return function
    if function.qualifier not in {None, qualifier}:
        raise Refusal(
            INVALID,
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    return replace(function, qualifier=qualifier)


def _client_context(text: str) -> str:
    """As it came, once it is known to be the base64 of a JSON object."""
    if len(text) > CLIENT_CONTEXT_MAX:
        raise Refusal(BAD_CONTENT, f"Client context must be at most {CLIENT_CONTEXT_MAX} bytes.")
    try:
        if text and not isinstance(
            msgspec.json.decode(base64.b64decode(text, validate=True)), dict
        ):
            raise ValueError
    except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
        raise Refusal(
            BAD_CONTENT, "Client context must be a valid Base64-encoded JSON object."
        ) from None
    return text
