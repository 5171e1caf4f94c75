"""How this process reaches AWS: one region, one set of credentials, clients made when needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from .client import JsonClient


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """The `aws` block of the config; None: as botocore finds it in the environment."""

    region: str | None = None
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None


class AwsSession:
    """One aiobotocore session and the clients made from it, closed together."""

    region: str

    def __init__(self, settings: AwsSettings) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    def json_client(self, service: str, *, long_poll: bool = False) -> JsonClient:
        """The lean client of `kinesis`, `dynamodbstreams` or `sqs`."""
        raise NotImplementedError

    async def client(self, service: str) -> Any:
        """A full aiobotocore client, for everything that is not hot."""
        raise NotImplementedError
