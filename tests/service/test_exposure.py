"""What is told of who may ask, and what a reread config may not open."""

from __future__ import annotations

import logging

import pytest

from poller.errors import ConfigError
from poller.service.exposure import Exposure, check_still_limited
from poller.settings import AuthConfig, AwsConfig, Settings

NONE = AuthConfig(access_keys={}, token=None)
KEYS = AuthConfig(access_keys={"AKID": "a secret"}, token=None)
TOKEN = AuthConfig(access_keys={"AKID": "a secret"}, token="a long token")
SHORT_KEY = AuthConfig(access_keys={"AKID": "a secret", "test": "test"}, token=None)
SHORT = AuthConfig(access_keys={}, token="token")
AWS = AwsConfig(region=None, account_id="000000000000", endpoint_url=None, endpoints={})


READ = (
    "whoever sees the traffic of 10.0.0.7:9310 can read the token: put a proxy that ends TLS "
    "before it, or set access_keys alone, whose secrets are never sent"
)
GUESSED = (
    "a secret of auth is short enough to be guessed by whoever reaches 10.0.0.7:9310: make it 8 "
    "characters or more, such as openssl rand -hex 32 prints"
)


@pytest.mark.parametrize(
    ("auth", "host", "told"),
    [
        (None, "127.0.0.1", []),
        (NONE, "127.0.0.1", []),
        (TOKEN, "::1", []),
        (SHORT, "127.0.0.1", []),
        (KEYS, "10.0.0.7", []),
        (SHORT_KEY, "10.0.0.7", [GUESSED]),
        (SHORT, "10.0.0.7", [GUESSED, READ]),
        (NONE, "::",
         ["auth is none: whoever reaches [::]:9310 may read metrics, change mappings and call "
          "functions"]),
        (TOKEN, "10.0.0.7", [READ]),
    ],
)  # fmt: skip
def test_what_others_can_do_or_see_is_told(
    auth: AuthConfig | None, host: str, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Exposure(auth).begin((host, 9310))
    warnings = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert warnings == told


@pytest.mark.parametrize("auth", [None, NONE, TOKEN])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "poller.internal"])
def test_auth_cannot_go_while_others_can_reach_what_listens(
    auth: AuthConfig | None, host: str
) -> None:
    settings = Settings(
        aws=AWS, state="sqlite:/x", listen=(host, 9310), functions={}, mappings=(), auth=auth
    )
    if auth is None and host != "127.0.0.1":
        with pytest.raises(ConfigError) as refused:
            check_still_limited(settings)
        assert str(refused.value) == f"auth is gone, and {host}:9310 needs it until a restart"
    else:
        check_still_limited(settings)
