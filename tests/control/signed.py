"""Requests as botocore signs them, to be changed and checked."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, replace
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from poller.aws.signing import ALGORITHM
from poller.control.signatures import Headers, NotSigned, Signature

NOW = 1_732_550_000.0  # 2024-11-25T15:53:20Z
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
INVOCATIONS = "/2015-03-31/functions/orders%3Alive/invocations"


@dataclass(frozen=True)
class Sent:
    """A request as it arrives."""

    method: str
    target: str
    headers: Headers
    body: bytes

    def check(self, secret: str | None = SECRET, *, now: float = NOW) -> None:
        scheme, _, parameters = self.headers["authorization"][0].partition(" ")
        assert scheme == ALGORITHM
        Signature.read(parameters, self.headers, now).check(
            secret,
            method=self.method,
            target=self.target,
            headers=self.headers,
            digest=hashlib.sha256(self.body).hexdigest(),
        )

    def refusal(self, secret: str | None = SECRET, *, now: float = NOW) -> tuple[str, str]:
        """Code and message."""
        with pytest.raises(NotSigned) as refused:
            self.check(secret, now=now)
        return refused.value.code, refused.value.message

    def with_headers(self, **headers: str | None) -> Sent:
        """With others of these; None: without it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        changed = {name: [value] for name, value in named.items() if value is not None}
        kept = {name: each for name, each in self.headers.items() if name not in named}
        return replace(self, headers={**kept, **changed})

    def resigned(self, old: str, new: str) -> Sent:
        """With `new` for `old` in what the Authorization header says."""
        authorization = self.headers["authorization"][0]
        assert old in authorization
        return self.with_headers(authorization=authorization.replace(old, new))


@dataclass(frozen=True)
class Client:
    """botocore's signer."""

    secret: str = SECRET
    key_id: str = KEY
    region: str = "us-east-1"
    service: str = "lambda"
    token: str | None = None
    host: str = "10.0.0.7:9310"

    def sends(
        self,
        method: str = "POST",
        path: str = INVOCATIONS,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes = b"{}",
    ) -> Sent:
        request = AWSRequest(
            method, f"http://{self.host}{path}", headers or {}, body, params=params or {}
        )
        moment = datetime.datetime.fromtimestamp(int(NOW), datetime.UTC)
        credentials = Credentials(self.key_id, self.secret, self.token)
        with patch("botocore.auth.get_current_datetime", return_value=moment):
            SigV4Auth(credentials, self.service, self.region).add_auth(request)
        prepared = request.prepare()
        parts = urlsplit(prepared.url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path or "/"
        arrived = {name.lower(): [value.strip()] for name, value in prepared.headers.items()}
        return Sent(prepared.method, target, {**arrived, "host": [parts.netloc]}, body)
