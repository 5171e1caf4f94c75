"""Who may use what is served on `listen`, by the settings in force, and what these leave open."""

from __future__ import annotations

import logging
import time

from poller.control.access import Access
from poller.control.guard import is_loopback
from poller.control.server import host_port
from poller.errors import ConfigError
from poller.settings import AuthConfig, Settings
from poller.settings.values import SECRET_MIN

log = logging.getLogger("poller.service")


class Exposure:
    """`access` is as `auth` says, and what others can do or see for that is told."""

    def __init__(self, auth: AuthConfig | None) -> None:
        self.access = Access(time.time)  # signatures go by the wall clock
        self._auth = auth
        self._address = ("", 0)
        self._grant()

    def begin(self, address: tuple[str, int]) -> None:
        """It listens there."""
        self._address = address
        log.info("listening on http://%s", host_port(*address))
        self._tell()

    def change(self, auth: AuthConfig | None) -> None:
        """From now on as `auth` says."""
        if auth != self._auth:
            self._auth = auth
            self._grant()
            log.info("auth has changed and is in force")
            self._tell()

    def _grant(self) -> None:
        if self._auth is None:
            self.access.grant({}, None)
        else:
            self.access.grant(self._auth.access_keys, self._auth.token)

    def _tell(self) -> None:
        if self._auth is None or is_loopback(self._address[0]):
            return
        where = host_port(*self._address)
        if self._auth.is_none:
            log.warning(
                "auth is none: whoever reaches %s may read metrics, change mappings and call "
                "functions",
                where,
            )
            return
        if self._auth.is_guessable:
            log.warning(
                "a secret of auth is short enough to be guessed by whoever reaches %s: make it "
                "%d characters or more, such as openssl rand -hex 32 prints",
                where,
                SECRET_MIN,
            )
        if self._auth.token is not None:
            log.warning(
                "whoever sees the traffic of %s can read the token: put a proxy that ends TLS "
                "before it, or set access_keys alone, whose secrets are never sent",
                where,
            )


def check_still_limited(settings: Settings) -> None:
    """Raises ConfigError if `auth` is gone, and `listen`, until a restart, needs it."""
    host, port = settings.listen
    if settings.auth is None and not is_loopback(host):
        raise ConfigError(f"auth is gone, and {host_port(host, port)} needs it until a restart")
