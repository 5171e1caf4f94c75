"""What Lambda's API tells of a mapping: EventSourceMappingConfiguration (recorded 1.1)."""

from __future__ import annotations

from typing import Any

from poller.core.model import Instant

from .arns import partition_of
from .mappings import MappingConfig
from .requests import as_request

# Of the request, but not of the description.
_NOT_TOLD = frozenset({"FunctionName", "Enabled", "Tags"})

REASON_OF_STREAMS = "User action"
REASON_OF_QUEUES = "USER_INITIATED"


def mapping_arn(uuid: str, function_arn: str) -> str:
    """The ARN of a mapping, beside its function."""
    region, account = function_arn.split(":")[3:5]
    return f"arn:{partition_of(region)}:lambda:{region}:{account}:event-source-mapping:{uuid}"


def describe(
    config: MappingConfig,
    *,
    uuid: str,
    function_arn: str,
    state: str,
    modified_at: Instant,
    result: str,
) -> dict[str, Any]:
    """A mapping as create, get, update, delete and list show it; its fields depend on the source.

    `result` is LastProcessingResult, which queues do not have.
    """
    request = as_request(config)
    told = {name: value for name, value in request.items() if name not in _NOT_TOLD}
    told |= {
        "EventSourceMappingArn": mapping_arn(uuid, function_arn),
        "FunctionArn": function_arn,
        "LastModified": modified_at,
        "State": state,
        "UUID": uuid,
    }
    if config.source.kind.is_stream:
        told |= {"StateTransitionReason": REASON_OF_STREAMS, "LastProcessingResult": result}
    else:
        told["StateTransitionReason"] = REASON_OF_QUEUES
    return dict(sorted(told.items()))
