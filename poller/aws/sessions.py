"""How this process reaches AWS: one region, one set of credentials, clients made when needed."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError

from poller.core.model import Instant
from poller.errors import PollerError

from .client import JsonClient
from .credentials import FOR_EMULATORS, CredentialSource
from .endpoints import configured_url, is_loopback, json_service, service_route, tls_context
from .invoke import SERVICE, InvokeClient

SOURCES = ("kinesis", "dynamodbstreams", "sqs")
REGION_OF_EMULATORS = "us-east-1"


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """The `aws` block of the config; None: as botocore finds it in the environment."""

    region: str | None = None
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None


class AwsSession:
    """One aiobotocore session and the clients made from it, closed together.

    `async with` it; entering raises PollerError where the profile or the region cannot be had.
    An endpoint on this machine needs no credentials (poller/poller).  Where every source is on
    this machine, no region is needed either (us-east-1), and EC2 is not asked for a role.
    """

    region: str

    def __init__(
        self, settings: AwsSettings, *, wall_clock: Callable[[], Instant] = time.time
    ) -> None:
        self._settings = settings
        self._wall_clock = wall_clock
        self._session: Any = AioSession(profile=settings.profile)
        self._credentials = CredentialSource(self._session)
        self._json_clients: dict[tuple[str, bool], JsonClient] = {}
        self._invoke_client: InvokeClient | None = None
        self._clients: dict[tuple[str, Any], Any] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._tls: ssl.SSLContext | None = None

    def open(self) -> Self:
        """What entering does; close it with `__aexit__`, as an exit stack can."""
        try:
            self.region = self._find_region()
            # Credential providers that call STS themselves take the region from here.
            self._session.set_config_variable("region", self.region)
            if self._is_local():
                self._session.get_component("credential_provider").remove("iam-role")
        except BotoCoreError as error:
            raise PollerError(f"AWS settings: {error}") from None
        return self

    async def __aenter__(self) -> Self:
        return self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._json_clients.clear()
        self._clients.clear()
        await self._open.aclose()

    def endpoint_url(self, service: str) -> str | None:
        """The endpoint that is configured for `service`; None: AWS's own.  Raises PollerError."""
        settings = self._settings
        return configured_url(self._session, service, settings.endpoint_url, settings.endpoints)

    def json_client(self, service: str, *, long_poll: bool = False) -> JsonClient:
        """The lean client of a service of the JSON protocols (kinesis, dynamodbstreams, sqs).

        One per service and kind: long polls do not share connections with short calls.
        """
        if found := self._json_clients.get((service, long_poll)):
            return found
        url = self.endpoint_url(service)
        client = JsonClient(
            json_service(self._session, service, self.region, url),
            self.region,
            self._credentials,
            tls=self._tls_context,
            wall_clock=self._wall_clock,
            long_poll=long_poll,
        )
        self._open.push_async_exit(client)
        return self._json_clients.setdefault((service, long_poll), client)

    def invoke_client(self) -> InvokeClient:
        """The lean client of Lambda's Invoke; its connections are shared with no other calls."""
        if self._invoke_client is None:
            self._invoke_client = InvokeClient(
                service_route(self._session, SERVICE, self.region, self.endpoint_url(SERVICE)),
                self.region,
                self._credentials,
                tls=self._tls_context,
                wall_clock=self._wall_clock,
            )
            self._open.push_async_exit(self._invoke_client)
        return self._invoke_client

    async def client(self, service: str, *, config: Any | None = None) -> Any:
        """The full aiobotocore client of `service`, for everything that is not hot.

        `config`: an AioConfig; without one, retries and timeouts are as configured for any AWS
        tool.  Raises PollerError; calls of the client raise botocore's own errors.
        """
        async with self._opening:
            key = (service, config)
            if key not in self._clients:
                self._clients[key] = await self._make_client(service, config)
            return self._clients[key]

    async def _make_client(self, service: str, config: Any | None) -> Any:
        url = self.endpoint_url(service)
        found = await self._credentials.find(on_loopback=bool(url and is_loopback(url)))
        keys = (
            {"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key}
            if found is FOR_EMULATORS
            else {}
        )
        try:
            made = self._session.create_client(
                service, region_name=self.region, endpoint_url=url, config=config, **keys
            )
            return await self._open.enter_async_context(made)
        except (BotoCoreError, ValueError) as error:
            raise PollerError(f"a client of {service} at {url or 'AWS'}: {error}") from None

    def _find_region(self) -> str:
        """Settings, AWS_REGION (as in Lambda and other SDKs), AWS_DEFAULT_REGION, the profile."""
        found = (
            self._settings.region
            or os.environ.get("AWS_REGION")
            or self._session.get_config_variable("region")
        )
        if found:
            return str(found)
        if self._is_local():
            return REGION_OF_EMULATORS
        raise PollerError("no AWS region: set aws.region in the config, or AWS_REGION")

    def _is_local(self) -> bool:
        """Whether every source is on this machine."""
        urls = [self.endpoint_url(service) for service in SOURCES]
        return all(url is not None and is_loopback(url) for url in urls)

    def _tls_context(self) -> ssl.SSLContext:
        self._tls = self._tls or tls_context(self._session)
        return self._tls


def configured_region() -> str | None:
    """The region of the profile that is in use, or of the environment.  Raises PollerError."""
    try:
        region = AioSession().get_config_variable("region")
    except BotoCoreError as error:
        raise PollerError(f"AWS settings: {error}") from None
    return str(region) if region else None
