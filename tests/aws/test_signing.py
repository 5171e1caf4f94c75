from __future__ import annotations

import datetime
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from poller.aws.signing import Credentials, Signer, route
from poller.errors import PollerError

JSON = "application/x-amz-json-1.1"
DAY = 1_732_550_000.0

visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
credentials = st.builds(Credentials, visible, visible, st.none() | visible)
instants = st.floats(0, 4e9)
segments = st.sampled_from(["queue", "..", ".", "", "%41", "x~y:", "123456789012"])
urls = st.builds(
    "{}://{}{}/{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["example.com", "SQS.Example.com", "127.0.0.1", "localhost", "[::1]"]),
    st.sampled_from(["", ":80", ":443", ":4566"]),
    st.lists(segments, max_size=4).map("/".join),
)


@dataclass(frozen=True)
class Request:
    signed_as: str
    region: str
    by: Credentials
    at: float
    url: str
    body: bytes = b"{}"
    target: str = "T.Operation"

    def signed(self, signer: Signer) -> dict[str, str]:
        to = route(self.url)
        return dict(
            signer.headers(self.by, self.at, to, self.body, content_type=JSON, target=self.target)
        )

    def signed_by_botocore(self) -> dict[str, str]:
        headers = {"Content-Type": JSON, "X-Amz-Target": self.target}
        request = AWSRequest("POST", self.url, headers, self.body)
        moment = datetime.datetime.fromtimestamp(int(self.at), datetime.UTC)
        with patch("botocore.auth.get_current_datetime", return_value=moment):
            SigV4Auth(BotoCredentials(*self.by), self.signed_as, self.region).add_auth(request)
        return dict(request.headers.items())


requests = st.builds(
    Request, names, names, credentials, instants, urls, st.binary(max_size=200), names
)


@given(requests)
def test_a_signature_is_what_botocore_would_have_made(request: Request) -> None:
    signer = Signer(request.signed_as, request.region)

    assert request.signed(signer) == request.signed_by_botocore()


def test_the_key_that_is_kept_changes_with_the_day_and_the_secret() -> None:
    signer = Signer("kinesis", "us-east-1")
    for secret, at in [("one", DAY), ("two", DAY), ("two", DAY + 86_400), ("one", DAY)]:
        by = Credentials("id", secret, None)
        request = Request("kinesis", "us-east-1", by, at, "http://127.0.0.1:4567")

        assert request.signed(signer) == request.signed_by_botocore()


@pytest.mark.parametrize(
    "url",
    [
        "kinesis:4567",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host/?a=b",
        "",
        "//host",
        "http://me:pw@host",
    ],
)
def test_what_is_no_endpoint_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(PollerError, match="endpoint") as refusal:
        route(url)

    assert "\n" not in str(refusal.value)


def test_credentials_do_not_show_their_secrets() -> None:
    assert "SECRET" not in repr(Credentials("id", "SECRET", "SECRET"))
