"""SQS on the wire: requests, replies as messages, messages as events, and the visibility rule.

What reads a reply raises ValueError when the reply is not what SQS sends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from poller.core.model import Seconds

RECEIVE_MAX = 10  # messages of one ReceiveMessage call
ENTRIES_MAX = 10  # entries of one batch call
# Seconds of one long poll: AWS allows 20, but stopping has to wait for an open one, and a container
# is often killed 10 seconds after it was told to stop.
WAIT_MAX = 5
VISIBILITY_MAX = 12 * 60 * 60  # seconds that SQS accepts

_ENCODER = msgspec.json.Encoder()
_T = TypeVar("_T")


def effective_visibility(queue_timeout: int, window: Seconds, function_timeout: Seconds) -> int:
    """The seconds for which received messages are hidden (spec 8.2).

    That is the queue's own timeout, unless gathering and running take longer than it:

    | window | window + function timeout | visibility                     |
    | ------ | ------------------------- | ------------------------------ |
    | 0      | any                       | queue                          |
    | > 0    | <= queue                  | queue                          |
    | > 0    | > queue                   | window + function timeout + 30 |
    """
    busy = window + function_timeout
    if window > 0 and busy > queue_timeout:
        return min(math.ceil(busy) + 30, VISIBILITY_MAX)
    return queue_timeout


class QueueMessage(Struct, gc=False, frozen=True):
    """One received message; `json` is what it is in an event.

    `trace_header` and `traceparent` are the traces that its producer named, X-Ray's way and W3C's.
    """

    id: str
    receipt: str
    group: str | None
    json: bytes
    trace_header: str | None = None
    traceparent: str | None = None

    @property
    def size(self) -> int:
        return len(self.json) + len(",")


class QueueCodec:
    """The messages and events of one queue.

    `windowed`: whether the mapping gathers for longer than nothing, which AWS's events show: a
    message without attributes has "md5OfMessageAttributes": null then, and no such member
    otherwise.
    """

    def __init__(self, queue_arn: str, *, windowed: bool) -> None:
        self._arn = queue_arn
        self._region = queue_arn.split(":")[3]
        self._no_md5 = None if windowed else UNSET
        self.fifo = queue_arn.endswith(".fifo")

    def messages(self, reply: bytes) -> list[QueueMessage]:
        """A ReceiveMessage reply.  Raises ValueError."""
        return [
            self._message(received) for received in _decoded(_RECEIVE_DECODER, reply).Messages or ()
        ]

    def event(self, messages: Sequence[QueueMessage]) -> bytes:
        """The JSON that a function receives for `messages`."""
        return b'{"Records":[' + b",".join([message.json for message in messages]) + b"]}"

    def _message(self, received: _Received) -> QueueMessage:
        sent = received.MessageAttributes or {}
        traceparent = sent.get("traceparent")
        record = _EventMessage(
            messageId=received.MessageId,
            receiptHandle=received.ReceiptHandle,
            body=received.Body,
            attributes=received.Attributes or {},
            messageAttributes={name: _event_attribute(each) for name, each in sent.items()},
            md5OfMessageAttributes=received.MD5OfMessageAttributes or self._no_md5,
            md5OfBody=received.MD5OfBody,
            eventSourceARN=self._arn,
            awsRegion=self._region,
        )
        return QueueMessage(
            received.MessageId,
            received.ReceiptHandle,
            record.attributes.get("MessageGroupId") if self.fifo else None,
            _ENCODER.encode(record),
            record.attributes.get("AWSTraceHeader"),
            None if traceparent is None else traceparent.StringValue,
        )


def receive_request(
    url: str, limit: int, visibility: int, attempt: str | None, *, wait: int = WAIT_MAX
) -> bytes:
    """A poll for up to `wait` seconds.

    `attempt` is the ReceiveRequestAttemptId, which FIFO queues alone take.
    AttributeNames is the older name of MessageSystemAttributeNames: AWS takes either, and older
    emulators know only this one.
    """
    request: dict[str, object] = {
        "QueueUrl": url,
        "MaxNumberOfMessages": min(limit, RECEIVE_MAX),
        "WaitTimeSeconds": wait,
        "VisibilityTimeout": visibility,
        "AttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    if attempt is not None:
        request["ReceiveRequestAttemptId"] = attempt
    return _ENCODER.encode(request)


def delete_request(url: str, receipts: Sequence[str]) -> bytes:
    """A DeleteMessageBatch; the id of each entry is its index in `receipts`."""
    entries = [{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(receipts)]
    return _ENCODER.encode({"QueueUrl": url, "Entries": entries})


def visibility_request(url: str, receipts: Sequence[str], seconds: int) -> bytes:
    """A ChangeMessageVisibilityBatch that hides messages for `seconds` from now on."""
    entries = [
        {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
        for i, receipt in enumerate(receipts)
    ]
    return _ENCODER.encode({"QueueUrl": url, "Entries": entries})


def url_request(queue_arn: str) -> bytes:
    """A GetQueueUrl by name and owner."""
    account, name = queue_arn.split(":")[4:6]
    return _ENCODER.encode({"QueueName": name, "QueueOwnerAWSAccountId": account})


def attributes_request(url: str) -> bytes:
    """A GetQueueAttributes for what `queue_attributes` reads."""
    return _ENCODER.encode(
        {"QueueUrl": url, "AttributeNames": ["VisibilityTimeout", "ApproximateNumberOfMessages"]}
    )


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """`visibility_timeout`: the queue's own, in seconds.  `visible`: messages that wait."""

    visibility_timeout: int
    visible: int


def queue_attributes(reply: bytes) -> QueueAttributes:
    """A GetQueueAttributes reply.  Raises ValueError."""
    attributes = _decoded(_ATTRIBUTES_DECODER, reply).Attributes
    try:
        return QueueAttributes(
            int(attributes["VisibilityTimeout"]), int(attributes["ApproximateNumberOfMessages"])
        )
    except KeyError as missing:
        raise ValueError(f"the queue's attributes lack {missing}") from missing


def queue_url(reply: bytes) -> str:
    """A GetQueueUrl reply.  Raises ValueError."""
    return _decoded(_URL_DECODER, reply).QueueUrl


@dataclass(frozen=True, slots=True)
class EntryFailure:
    """An entry of a batch that failed.

    `index`: its place in the request.  `final`: trying it again cannot help.
    """

    index: int
    why: str
    final: bool


def batch_failures(reply: bytes, count: int) -> list[EntryFailure]:
    """The failed ones of the `count` entries of a batch call.  Raises ValueError."""
    failed = [
        EntryFailure(int(entry.Id), f"{entry.Code}: {entry.Message or ''}", entry.SenderFault)
        for entry in _decoded(_BATCH_DECODER, reply).Failed or ()
    ]
    if not {failure.index for failure in failed} <= set(range(count)):
        raise ValueError("it names entries that were not sent")
    return failed


def _decoded(decoder: msgspec.json.Decoder[_T], reply: bytes) -> _T:
    try:
        return decoder.decode(reply)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


class _ReceivedAttribute(Struct, gc=False):
    """Binary values are base64 on the wire, and in events too."""

    DataType: str
    StringValue: str | None = None
    BinaryValue: str | None = None
    StringListValues: list[str] | None = None
    BinaryListValues: list[str] | None = None


class _Received(Struct, gc=False):
    MessageId: str
    ReceiptHandle: str
    Body: str
    MD5OfBody: str
    Attributes: dict[str, str] | None = None
    MessageAttributes: dict[str, _ReceivedAttribute] | None = None
    MD5OfMessageAttributes: str | None = None


class _ReceiveReply(Struct, gc=False):
    Messages: list[_Received] | None = None


class _EventAttribute(Struct, gc=False, kw_only=True):
    stringValue: str | UnsetType
    binaryValue: str | UnsetType
    stringListValues: list[str]
    binaryListValues: list[str]
    dataType: str


class _EventMessage(Struct, gc=False, kw_only=True):
    """A message as the function gets it, in AWS's order (spec 10.3)."""

    messageId: str
    receiptHandle: str
    body: str
    attributes: dict[str, str]
    messageAttributes: dict[str, _EventAttribute]
    md5OfMessageAttributes: str | UnsetType | None
    md5OfBody: str
    eventSource: str = "aws:sqs"
    eventSourceARN: str
    awsRegion: str


def _event_attribute(received: _ReceivedAttribute) -> _EventAttribute:
    return _EventAttribute(
        stringValue=UNSET if received.StringValue is None else received.StringValue,
        binaryValue=UNSET if received.BinaryValue is None else received.BinaryValue,
        stringListValues=received.StringListValues or [],
        binaryListValues=received.BinaryListValues or [],
        dataType=received.DataType,
    )


class _AttributesReply(Struct, gc=False):
    Attributes: dict[str, str]


class _UrlReply(Struct, gc=False):
    QueueUrl: str


class _FailedEntry(Struct, gc=False):
    Id: str
    Code: str = ""
    Message: str | None = None
    SenderFault: bool = False


class _BatchReply(Struct, gc=False):
    Failed: list[_FailedEntry] | None = None


_RECEIVE_DECODER = msgspec.json.Decoder(_ReceiveReply)
_ATTRIBUTES_DECODER = msgspec.json.Decoder(_AttributesReply)
_URL_DECODER = msgspec.json.Decoder(_UrlReply)
_BATCH_DECODER = msgspec.json.Decoder(_BatchReply)
