"""The credentials of a session, found once and looked at again in time to be renewed."""

from __future__ import annotations

import asyncio
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from poller.core.model import Seconds
from poller.errors import PollerError

from .signing import Credentials

LOOKED_AT_EVERY: Seconds = 60.0  # botocore begins to renew 15 minutes before the end
NOT_FOUND_FOR: Seconds = 5.0  # how long a failed search stands, so that many callers share one
FOR_EMULATORS = Credentials("poller", "poller", None)
REMEDIES = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give this machine a role"
)


class CredentialSource:
    """What signs this session's requests; safe to be asked by many tasks at once."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._lock = asyncio.Lock()
        self._found: Credentials | None = None
        self._problem: str | None = None
        self._stands_until: float = float("-inf")  # of the running loop's clock

    def fresh(self) -> Credentials | None:
        """The credentials if they need no new look; costs no await."""
        if self._found and asyncio.get_running_loop().time() < self._stands_until:
            return self._found
        return None

    def distrust(self) -> None:
        """AWS called the credentials expired or invalid: look again at the next use."""
        self._stands_until = float("-inf")

    async def find(self, *, on_loopback: bool) -> Credentials:
        """The credentials, renewed if their end is near.

        Where there are none, an endpoint on this machine gets those of emulators, poller/poller.
        Raises PollerError otherwise.
        """
        async with self._lock:
            if asyncio.get_running_loop().time() >= self._stands_until:
                await self._look()
        if self._found:
            return self._found
        if self._problem is None and on_loopback:
            return FOR_EMULATORS
        raise PollerError(self._problem or f"no AWS credentials found: {REMEDIES}")

    async def _look(self) -> None:
        self._found = self._problem = None
        stands_for = NOT_FOUND_FOR
        try:
            if source := await self._session.get_credentials():
                frozen = await source.get_frozen_credentials()
                self._found = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
                stands_for = LOOKED_AT_EVERY
        except (BotoCoreError, ClientError, OSError, RuntimeError, ValueError) as error:
            # The last two: renewed but still expired; a credential_process that prints no JSON.
            self._problem = f"no usable AWS credentials ({_one_line(error)}): {REMEDIES}"
        self._stands_until = asyncio.get_running_loop().time() + stands_for


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
