"""What the resources of a template are called where they are deployed: their names and ARNs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from poller.settings.nodes import Block, Node, Scalar
from poller.wire.arns import ArnError, parse_function
from poller.wire.problems import Path, one_line

from .blocks import block_at, merged, text_at
from .intrinsics import Intrinsics
from .parameters import Place
from .unknown import Unknown

FUNCTION, SAM_FUNCTION = "AWS::Lambda::Function", "AWS::Serverless::Function"
ALIAS = "AWS::Lambda::Alias"
MAPPING = "AWS::Lambda::EventSourceMapping"

# In place of what is known only when the table is there: the label of its stream.
LABEL_UNKNOWN = "known-when-run"

_ARN = "arn:{partition}:{service}:{region}:{account}:"
_QUEUE_URL = "https://sqs.{region}.{suffix}/{account}/{name}"


@dataclass(frozen=True, slots=True)
class Kind:
    """`key` has the name; `reference` is what Ref gives, and `source` the attribute that a mapping
    reads from.  `deployed`: its name has to be that of something which is there."""

    key: str
    service: str
    reference: str = "{name}"
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    deployed: bool = True


_TABLE = Kind(
    "TableName",
    "dynamodb",
    attributes={
        "Arn": f"{_ARN}table/{{name}}",
        "StreamArn": f"{_ARN}table/{{name}}/stream/{LABEL_UNKNOWN}",
    },
    source="StreamArn",
)
_A_FUNCTION = Kind(
    "FunctionName",
    "lambda",
    attributes={"Arn": f"{_ARN}function:{{name}}"},
    deployed=False,
)
KINDS = {
    FUNCTION: _A_FUNCTION,
    SAM_FUNCTION: _A_FUNCTION,
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::DynamoDB::GlobalTable": _TABLE,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::SQS::Queue": Kind(
        "QueueName",
        "sqs",
        _QUEUE_URL,
        {"Arn": f"{_ARN}{{name}}", "QueueName": "{name}", "QueueUrl": _QUEUE_URL},
        source="Arn",
    ),
    "AWS::Kinesis::Stream": Kind(
        "Name", "kinesis", attributes={"Arn": f"{_ARN}stream/{{name}}"}, source="Arn"
    ),
    "AWS::SNS::Topic": Kind(
        "TopicName",
        "sns",
        f"{_ARN}{{name}}",
        {"TopicArn": f"{_ARN}{{name}}", "TopicName": "{name}"},
    ),
    "AWS::Events::EventBus": Kind(
        "Name", "events", attributes={"Arn": f"{_ARN}event-bus/{{name}}"}
    ),
    "AWS::S3::Bucket": Kind("BucketName", "s3", attributes={"Arn": "arn:{partition}:s3:::{name}"}),
    "AWS::IAM::Role": Kind(
        "RoleName",
        "iam",
        attributes={"Arn": "arn:{partition}:iam::{account}:role/{name}"},
        deployed=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Resource:
    kind: str
    properties: Block
    condition: str | None
    line: int


class Resources:
    """`section` has them by logical id; `of_functions` are the properties in Globals; `given` the
    names of the command line.

    `notes`: what was taken for granted, each with the path that it is about.
    """

    def __init__(
        self,
        section: Block,
        intrinsics: Intrinsics,
        *,
        of_functions: Block,
        place: Place,
        given: Mapping[str, str],
    ) -> None:
        self._section = section
        self._intrinsics = intrinsics
        self._of_functions = of_functions
        self._place = place
        self._given = given
        self._found: dict[str, Resource] = {}
        self._names: dict[str, str] = {}
        self._naming: set[str] = set()
        self.notes: dict[Path, str] = {}

    def get(self, logical: str) -> Resource | None:
        """The resource, with the properties of Globals; None where there is none."""
        entry = self._section.entries.get(logical)
        if logical not in self._found and entry is not None and isinstance(entry.node, Block):
            kind, properties = text_at(entry.node, "Type"), block_at(entry.node, "Properties")
            if kind == SAM_FUNCTION:
                properties = merged(self._of_functions, properties)
            condition = text_at(entry.node, "Condition")
            self._found[logical] = Resource(kind or "", properties, condition, entry.line)
        return self._found.get(logical)

    def of_kind(self, *kinds: str) -> Iterator[tuple[str, Resource]]:
        for logical in self._section.entries:
            resource = self.get(logical)
            if resource is not None and resource.kind in kinds:
                yield logical, resource

    def is_there(self, resource: Resource) -> bool:
        """Whether its condition holds.  Raises Unknown."""
        name = resource.condition
        return name is None or self._intrinsics.conditions.holds(name)

    def name(self, logical: str) -> str:
        """What it is called where it is deployed.  Raises Unknown."""
        if logical not in self._names:
            if logical in self._naming:
                raise Unknown(f"the name of {one_line(logical)} leads to itself")
            self._naming.add(logical)
            try:
                self._names[logical] = self._find_name(logical)
            finally:
                self._naming.remove(logical)
        return self._names[logical]

    def value(self, logical: str, attribute: str | None) -> Node:
        """What Ref gives (`attribute` None) or GetAtt.  Raises Unknown."""
        resource = self.get(logical)
        if resource is None:
            owner, _, alias = logical.partition(".")
            if attribute is None and alias == "Alias" and self.get(owner) is not None:
                return self.value(owner, alias)
            raise Unknown(f"the template has no parameter or resource {one_line(logical)}")
        if not self.is_there(resource):
            why = f"its condition {resource.condition} is false"
            raise Unknown(f"{one_line(logical)} is not there: {why}")
        if resource.kind == ALIAS and attribute is None:
            return Scalar(self._alias(resource), resource.line, plain=False)
        if resource.kind == SAM_FUNCTION and attribute == "Alias":
            return self._published_alias(logical)
        kind = KINDS.get(resource.kind)
        if kind is None or (attribute and attribute not in kind.attributes):
            return self._given_or_unknown(logical, attribute)
        form = kind.attributes[attribute] if attribute else kind.reference
        if attribute == "StreamArn":
            _check_streaming(logical, resource)
        return Scalar(self._filled(form, kind, self.name(logical)), resource.line, plain=False)

    def source(self, logical: str) -> Node | None:
        """The ARN that a mapping reads from; None where it is no kind of source."""
        resource = self.get(logical)
        kind = KINDS.get(resource.kind) if resource else None
        return self.value(logical, kind.source) if kind and kind.source else None

    def alias(self, logical: str) -> str | None:
        """The alias that SAM publishes for a function and gives its events to."""
        resource = self.get(logical)
        entry = resource and resource.properties.entries.get("AutoPublishAlias")
        return self._intrinsics.text(entry.node) if entry else None

    def _published_alias(self, logical: str) -> Node:
        alias = self.alias(logical)
        if alias is None:
            raise Unknown(f"{one_line(logical)} has no AutoPublishAlias")
        arn = self._filled(_A_FUNCTION.attributes["Arn"], _A_FUNCTION, self.name(logical))
        return Scalar(f"{arn}:{alias}", 1, plain=False)

    def _alias(self, resource: Resource) -> str:
        entries = resource.properties.entries
        if not {"FunctionName", "Name"} <= entries.keys():
            raise Unknown("an alias must have FunctionName and Name")
        try:
            function = parse_function(self._intrinsics.text(entries["FunctionName"].node))
        except ArnError as error:
            raise Unknown(error.message, error.remedy) from None
        arn = self._filled(_A_FUNCTION.attributes["Arn"], _A_FUNCTION, function.name)
        return f"{arn}:{self._intrinsics.text(entries['Name'].node)}"

    def _find_name(self, logical: str) -> str:
        if logical in self._given:
            return self._given[logical]
        resource = self.get(logical)
        assert resource is not None
        kind = KINDS[resource.kind]
        entry = resource.properties.entries.get(kind.key)
        named = self._intrinsics.top(entry.node) if entry else None
        if named is not None:
            return self._intrinsics.text(named)
        name = logical.lower() if kind.service == "s3" else logical
        if kind.service == "sqs" and self._is_fifo(resource):
            name += ".fifo"
        if kind.deployed:
            self.notes["Resources", logical] = (
                f"has no {kind.key}, so it is taken to be named {one_line(name)}; "
                f"--parameter {one_line(logical)}=NAME says otherwise"
            )
        return name

    def _is_fifo(self, resource: Resource) -> bool:
        entry = resource.properties.entries.get("FifoQueue")
        return entry is not None and self._intrinsics.text(entry.node).lower() == "true"

    def _filled(self, form: str, kind: Kind, name: str) -> str:
        place = self._place
        return form.format(
            partition=place.partition,
            service=kind.service,
            region=place.region,
            account=place.account,
            suffix=place.url_suffix,
            name=name,
        )

    def _given_or_unknown(self, logical: str, attribute: str | None) -> Node:
        if attribute is None and logical in self._given:
            return Scalar(self._given[logical], 1, plain=False)
        what = one_line(f"{logical}.{attribute}" if attribute else logical)
        raise Unknown(
            f"what {what} is, only its deployment knows", f"give it: --parameter {what}=VALUE"
        )


def _check_streaming(logical: str, resource: Resource) -> None:
    if "StreamSpecification" not in resource.properties.entries:
        remedy = "add StreamSpecification to it"
        raise Unknown(f"the table {one_line(logical)} has no stream", remedy)
