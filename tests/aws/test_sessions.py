from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from poller.aws.client import AwsError
from poller.aws.credentials import CredentialSource
from poller.aws.sessions import AwsSession, AwsSettings
from poller.errors import PollerError
from tests.aws.canned import canned

SOURCES = ["kinesis", "dynamodbstreams", "sqs"]
LOCAL = "http://127.0.0.1:9"  # nothing listens there, and nothing is sent


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, no region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)


def profile(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = folder / "config"
    path.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))


async def test_long_polls_have_connections_of_their_own() -> None:
    async with AwsSession(AwsSettings(endpoint_url=LOCAL)) as session:
        short = session.json_client("sqs")

        assert session.json_client("sqs") is short
        assert session.json_client("sqs", long_poll=True) is not short
        assert session.json_client("kinesis") is not short


# Region.


@pytest.mark.parametrize(
    ("settings", "environment", "region"),
    [
        (AwsSettings(region="r-1"), {"AWS_REGION": "r-2", "AWS_DEFAULT_REGION": "r-3"}, "r-1"),
        (AwsSettings(), {"AWS_REGION": "r-2", "AWS_DEFAULT_REGION": "r-3"}, "r-2"),
        (AwsSettings(), {"AWS_DEFAULT_REGION": "r-3"}, "r-3"),
        (AwsSettings(endpoint_url=LOCAL), {}, "us-east-1"),
        (AwsSettings(), {"AWS_ENDPOINT_URL": LOCAL}, "us-east-1"),
    ],
)
async def test_the_region_is_found_where_it_is_nearest(
    settings: AwsSettings,
    environment: dict[str, str],
    region: str,
    monkeypatch: pytest.MonkeyPatch,
    no_account: None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async with AwsSession(settings) as session:
        assert session.region == region


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (AwsSettings(), "set aws.region"),
        (AwsSettings(endpoints={"kinesis": LOCAL}), "set aws.region"),
        (AwsSettings(profile="nobody"), "nobody"),
    ],
)
async def test_what_is_missing_is_said_in_one_line(
    settings: AwsSettings, said: str, no_account: None
) -> None:
    with pytest.raises(PollerError, match=said) as refusal:
        async with AwsSession(settings):
            pass

    assert "\n" not in str(refusal.value)


# Credentials.


async def test_an_emulator_on_this_machine_needs_no_credentials(no_account: None) -> None:
    async with (
        canned(lambda call: {}) as server,
        AwsSession(AwsSettings(endpoint_url=server.url)) as session,
    ):
        await session.json_client("kinesis").call("GetRecords", b"{}")

    assert "Credential=poller/" in server.calls[0].headers["authorization"]


async def test_aws_itself_needs_credentials_and_the_remedies_are_named(no_account: None) -> None:
    async with AwsSession(AwsSettings(region="us-east-1")) as session:
        with pytest.raises(AwsError, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE") as refusal:
            await session.json_client("kinesis").call("GetRecords", b"{}")
        with pytest.raises(PollerError, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
            await session.client("sns")

    assert (refusal.value.code, refusal.value.retryable) == ("NoCredentials", False)
    assert refusal.value.unauthorised


CREDENTIAL_PROCESS = """
import json, pathlib
count = pathlib.Path({count!r})
number = int(count.read_text()) + 1
count.write_text(str(number))
print(json.dumps({{"Version": 1, "AccessKeyId": f"id-{{number}}", "SecretAccessKey": "s",
                  "SessionToken": "t", "Expiration": {expiration!r}}}))
"""


async def test_credentials_are_kept_and_renewed_before_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_account: None
) -> None:
    count, script = tmp_path / "count", tmp_path / "process.py"
    count.write_text("0")
    soon = (datetime.now(UTC) + timedelta(minutes=12)).isoformat()
    script.write_text(CREDENTIAL_PROCESS.format(count=str(count), expiration=soon))
    profile(tmp_path, monkeypatch, f"[default]\ncredential_process={sys.executable} {script}\n")

    async with AwsSession(AwsSettings(region="us-east-1")) as session:
        source = CredentialSource(session._session)
        found = [source.fresh(), await source.find(on_loopback=False), source.fresh()]
        source.distrust()
        found += [source.fresh(), await source.find(on_loopback=False)]

    # The first find loads, and since the end is near it also renews.
    assert [by and by.access_key for by in found] == [None, "id-2", "id-2", None, "id-3"]


@pytest.mark.parametrize("prints", ["no json", json.dumps({"Version": 1})])
async def test_credentials_that_cannot_be_read_are_an_error_with_remedies(
    prints: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_account: None
) -> None:
    script = tmp_path / "process.py"
    script.write_text(f"print({prints!r})")
    profile(tmp_path, monkeypatch, f"[default]\ncredential_process={sys.executable} {script}\n")

    async with AwsSession(AwsSettings(endpoint_url=LOCAL)) as session:
        with pytest.raises(AwsError, match=r"no usable AWS credentials.*AWS_PROFILE"):
            await session.json_client("kinesis").call("GetRecords", b"{}")


async def test_what_is_not_hot_has_a_full_client(moto_url: str, no_account: None) -> None:
    async with AwsSession(AwsSettings(endpoint_url=moto_url)) as session:
        sns = await session.client("sns")
        await sns.create_topic(Name="poller-sessions")
        topics = await sns.list_topics()

        assert await session.client("sns") is sns
    assert any("poller-sessions" in topic["TopicArn"] for topic in topics["Topics"])
