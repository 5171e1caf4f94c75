"""One AWS session for each region that a config names."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Self

from poller.aws.sessions import AwsSession, AwsSettings
from poller.errors import ConfigError
from poller.observe.publishing import ONE_ATTEMPT
from poller.settings import AwsConfig

REGIONS_MAX = 50  # more than AWS has; each has clients of its own, of some megabytes


class Sessions:
    """Sessions by region, made when first asked for and closed together."""

    def __init__(self, config: AwsConfig) -> None:
        self._config = config
        self._sessions: dict[str | None, AwsSession] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    def of(self, region: str | None) -> AwsSession:
        """The session of a region; None: the config's own.  Raises PollerError."""
        if region not in self._sessions:
            if len(self._sessions) >= REGIONS_MAX and region not in (None, self._config.region):
                raise ConfigError(f"{region}: there are {REGIONS_MAX} regions in use already")
            settings = AwsSettings(
                region=region or self._config.region,
                endpoint_url=self._config.endpoint_url,
                endpoints=self._config.endpoints,
            )
            self._sessions[region] = AwsSession(settings).open()
            self._open.push_async_exit(self._sessions[region])
        return self._sessions[region]

    async def cloudwatch(self, region: str) -> Any:
        """The client that publishes metrics in a region.  Raises PollerError."""
        return await self.of(region).client("cloudwatch", config=ONE_ATTEMPT)
