"""ARNs: of event sources, functions and failure destinations, and what a mapping is known by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

from .problems import shown

# What the UUIDs of mappings are derived in; changing it would lose every stored position.
MAPPING_NAMESPACE = UUID("6f6c5a4e-0d43-5d0b-9c3c-8f1e7a2b4d60")

LATEST_VERSION = "$LATEST"
NAME_MAX = 64

# Regions are any word and not only AWS's own: emulators have "ddblocal" or "elasticmq".
_HEAD = r"arn:(?P<partition>aws[a-zA-Z0-9-]*):"
_PLACE = r":(?P<region>[a-zA-Z0-9-]{1,63}):(?P<account>\d{12}):"
_QUEUE_NAME = r"(?P<name>[a-zA-Z0-9_-]{1,80}(?:\.fifo)?)"
_CONSUMER = r"/consumer/[a-zA-Z0-9_.-]{1,128}:[0-9]{1,20}"
_KINESIS = re.compile(
    rf"{_HEAD}kinesis{_PLACE}stream/(?P<name>[a-zA-Z0-9_.-]{{1,128}})(?:{_CONSUMER})?"
)
_DYNAMODB = re.compile(
    rf"{_HEAD}dynamodb{_PLACE}table/(?P<name>[a-zA-Z0-9_.-]{{1,255}})/stream/[^/\s]{{1,100}}"
)
_SQS = re.compile(rf"{_HEAD}sqs{_PLACE}{_QUEUE_NAME}")
_SNS = re.compile(rf"{_HEAD}sns{_PLACE}(?P<name>[a-zA-Z0-9_-]{{1,256}}(?:\.fifo)?)")
_S3 = re.compile(rf"{_HEAD}s3:::(?P<name>[a-z0-9][a-z0-9._-]{{1,254}})")
_ROLE = re.compile(r"arn:aws[a-zA-Z0-9-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")

_QUALIFIED = r"(?P<name>[a-zA-Z0-9_-]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?"
_FUNCTION_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_HEAD}lambda{_PLACE}function:{_QUALIFIED}",
        rf"(?P<account>\d{{12}}):function:{_QUALIFIED}",
        _QUALIFIED,
    )
)
_FUNCTION_MAX = 256

_NOT_YET = {
    "kafka": "Amazon MSK",
    "mq": "Amazon MQ",
    "rds": "Amazon DocumentDB",
}
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eusc-": "aws-eusc",
}


class ArnError(ValueError):
    """An ARN that cannot be used, as a message and what would be right."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class SourceKind(StrEnum):
    KINESIS = "kinesis"
    DYNAMODB = "dynamodb"
    SQS = "sqs"

    @property
    def is_stream(self) -> bool:
        return self is not SourceKind.SQS


@dataclass(frozen=True, slots=True)
class Source:
    """An event source; `name` is the stream's, the table's or the queue's.

    `arn` may be that of a consumer of a Kinesis stream, which reads with enhanced fan-out.
    """

    kind: SourceKind
    arn: str
    region: str
    account: str
    name: str

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.kind is SourceKind.SQS and self.name.endswith(".fifo")

    @property
    def is_consumer(self) -> bool:
        """Whether it is a consumer with enhanced fan-out (spec 3.3)."""
        return self.stream_arn != self.arn

    @property
    def stream_arn(self) -> str:
        """The ARN of the stream that is read; of a consumer, that of its stream."""
        return stream_of(self.arn)


class DestinationKind(StrEnum):
    SQS = "sqs"
    SNS = "sns"
    S3 = "s3"
    LAMBDA = "lambda"  # of asynchronous invocations only
    EVENTS = "events"  # the same


@dataclass(frozen=True, slots=True)
class FailureDestination:
    """Where failure documents go; the ARN of a bucket has neither region nor account.

    `name`: of a function with its qualifier, if there is one.
    """

    kind: DestinationKind
    arn: str
    name: str
    region: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class FunctionReference:
    """A function as a request names it: by name, partial ARN or full ARN, perhaps qualified."""

    text: str
    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None

    @property
    def key(self) -> str:
        """What declares it in a config: `orders`, `orders:live`; $LATEST is plain `orders`."""
        return self.name if self.qualifier in {None, LATEST_VERSION} else self.qualified

    @property
    def qualified(self) -> str:
        return f"{self.name}:{self.qualifier}" if self.qualifier else self.name

    def arn(self, *, region: str, account: str) -> str:
        """Its ARN, with the qualifier as it was given (recorded 1.1)."""
        return f"arn:{partition_of(region)}:lambda:{region}:{account}:function:{self.qualified}"

    def names(self, arn: str) -> bool:
        """Whether it stands for the function with this ARN; a function and its $LATEST are one."""
        region, account = arn.split(":")[3:5]
        if self.region not in {None, region} or self.account not in {None, account}:
            return False
        return unversioned(self.arn(region=region, account=account)) == unversioned(arn)


def parse_source(arn: str) -> Source:
    """The event source that `arn` names.

    Raises ArnError: `Unrecognized event source.` (spec 1.2), or that this source is not built yet.
    """
    forms = (
        (SourceKind.KINESIS, _KINESIS),
        (SourceKind.DYNAMODB, _DYNAMODB),
        (SourceKind.SQS, _SQS),
    )
    for kind, form in forms:
        if found := form.fullmatch(arn):
            return Source(kind, arn, found["region"], found["account"], found["name"])
    raise _unusable_source(arn)


def stream_of(source_arn: str) -> str:
    """The ARN of the stream that a source reads: of a consumer its stream's, else its own."""
    if ":kinesis:" not in source_arn:
        return source_arn
    return source_arn.partition("/consumer/")[0]


def _unusable_source(arn: str) -> ArnError:
    """Why `arn` is no source; the likely mistakes have answers of their own."""
    service, resource = _service_and_resource(arn)
    if service in _NOT_YET:
        return ArnError(f"{_NOT_YET[service]} as an event source is not supported yet")
    if service == "kinesis" and "/consumer/" in resource:
        return ArnError(
            "Unrecognized event source.",
            f"{shown(arn)} names a consumer without the time of its creation: its ARN ends in "
            "/consumer/NAME:1700000000, as register-stream-consumer shows it",
        )
    if service == "dynamodb" and "/stream/" not in resource:
        return ArnError(
            "Unrecognized event source.",
            f"{shown(arn)} names a table: write the ARN of its stream, which ends in /stream/LABEL",
        )
    return ArnError(
        "Unrecognized event source.",
        f"{shown(arn)} is not the ARN of a Kinesis stream, a DynamoDB stream or an SQS queue, "
        "such as arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    )


def parse_destination(arn: str) -> FailureDestination:
    """The failure destination that `arn` names: an SQS queue, an SNS topic, an S3 bucket (spec
    7.2).  Raises ArnError."""
    if found := _S3.fullmatch(arn):
        return FailureDestination(DestinationKind.S3, arn, found["name"], None, None)
    for kind, form in ((DestinationKind.SQS, _SQS), (DestinationKind.SNS, _SNS)):
        if not (found := form.fullmatch(arn)):
            continue
        if found["name"].endswith(".fifo"):
            raise ArnError(
                f"a FIFO {'queue' if kind is DestinationKind.SQS else 'topic'} cannot be a "
                "failure destination",
                "use a standard one",
            )
        return FailureDestination(kind, arn, found["name"], found["region"], found["account"])
    if arn.startswith("kafka://"):
        raise ArnError(
            "a Kafka topic is a failure destination for Kafka sources only",
            "use an SQS queue, an SNS topic or an S3 bucket",
        )
    raise ArnError(
        f"{shown(arn)} is not the ARN of a failure destination",
        "use an SQS queue, an SNS topic or an S3 bucket, such as arn:aws:s3:::my-bucket",
    )


def parse_function(text: str) -> FunctionReference:
    """The function that `text` names, in one of the forms of spec 1.1.  Raises ArnError."""
    for form in _FUNCTION_FORMS if len(text) <= _FUNCTION_MAX else ():
        if found := form.fullmatch(text):
            parts = found.groupdict()
            if len(parts["name"]) > NAME_MAX:
                break
            return FunctionReference(
                text, parts["name"], parts["qualifier"], parts.get("account"), parts.get("region")
            )
    raise ArnError(
        f"{shown(text)} names no function",
        "write NAME, NAME:QUALIFIER or the function's ARN; a name has up to 64 letters, digits, "
        "- and _",
    )


def is_role(arn: str) -> bool:
    """Whether `arn` is that of an IAM role."""
    return _ROLE.fullmatch(arn) is not None


def mapping_uuid(source_arn: str, function_arn: str) -> str:
    """What the mapping of a config file from this source to this function is known by, always.

    A function and its $LATEST are one function and have one UUID.
    """
    return str(uuid5(MAPPING_NAMESPACE, f"{source_arn} {unversioned(function_arn)}"))


def unversioned(function_arn: str) -> str:
    """The ARN of a function without $LATEST; other qualifiers name other functions."""
    return function_arn.removesuffix(f":{LATEST_VERSION}")


def partition_of(region: str) -> str:
    """The partition of AWS that has `region`."""
    for prefix, partition in _PARTITIONS.items():
        if region.startswith(prefix):
            return partition
    return "aws"


def _service_and_resource(arn: str) -> tuple[str, str]:
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return "", ""
    return parts[2], parts[5]
