"""One AWS session for each region that a config names."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Self

from poller.aws.sessions import AwsSession, AwsSettings
from poller.settings import AwsConfig


class Sessions:
    """Sessions by region, made when first asked for and closed together."""

    def __init__(self, config: AwsConfig) -> None:
        self._config = config
        self._sessions: dict[str | None, AwsSession] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def of(self, region: str | None) -> AwsSession:
        """The session of a region; None: the config's own.  Raises PollerError."""
        async with self._opening:
            if region not in self._sessions:
                settings = AwsSettings(
                    region=region or self._config.region,
                    endpoint_url=self._config.endpoint_url,
                    endpoints=self._config.endpoints,
                )
                session = await self._open.enter_async_context(AwsSession(settings))
                self._sessions[region] = session
            return self._sessions[region]
