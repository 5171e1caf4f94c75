from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import certifi
import pytest

from poller.aws.client import AwsError
from poller.aws.credentials import CredentialSource
from poller.aws.endpoints import is_loopback, json_service, tls_context
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


# Endpoints.

ENVIRONMENTS = [
    {},
    {"AWS_ENDPOINT_URL": LOCAL},
    {"AWS_ENDPOINT_URL_KINESIS": LOCAL},
    {"AWS_ENDPOINT_URL_DYNAMODB_STREAMS": LOCAL},
    {"AWS_ENDPOINT_URL_SQS": LOCAL, "AWS_ENDPOINT_URL": "http://127.0.0.1:10"},
    {"AWS_ENDPOINT_URL": LOCAL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    {"AWS_USE_FIPS_ENDPOINT": "true"},
    {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
]


@pytest.mark.parametrize("service", SOURCES)
@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
async def test_a_service_is_where_botocore_would_find_it(
    service: str, region: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async with AwsSession(AwsSettings(region=region)) as session:
        ours = session.json_client(service).endpoint

    assert f"{ours}/" == where_botocore_calls(service, region)


def where_botocore_calls(service: str, region: str) -> str:
    """The URL of a request that is stopped just before it is sent."""
    operation = "list_queues" if service == "sqs" else "list_streams"
    client = botocore.session.Session().create_client(service, region_name=region)
    sent: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        sent.append(request.url)
        raise LookupError("as far as it goes")

    client.meta.events.register("before-send", stop)
    with pytest.raises(LookupError):
        getattr(client, operation)()
    client.close()
    return sent[0]


def test_a_service_that_speaks_no_json_is_refused() -> None:
    with pytest.raises(PollerError, match="rest-xml"):
        json_service(botocore.session.Session(), "s3", "us-east-1", LOCAL)


@pytest.mark.parametrize(
    ("settings", "endpoint"),
    [
        (AwsSettings(endpoint_url="http://all:1"), "http://all:1"),
        (AwsSettings(endpoint_url="http://all:1", endpoints={"kinesis": LOCAL}), LOCAL),
        (AwsSettings(endpoints={"sqs": LOCAL}), "http://environment:1"),
    ],
)
async def test_the_settings_come_before_the_environment(
    settings: AwsSettings, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", "http://environment:1")

    async with AwsSession(settings) as session:
        assert session.json_client("kinesis").endpoint == endpoint


async def test_a_profile_names_endpoints_and_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_account: None
) -> None:
    text = (
        f"[profile x]\nregion=eu-west-1\nservices=s\n[services s]\nsqs=\n  endpoint_url={LOCAL}\n"
    )
    profile(tmp_path, monkeypatch, text)

    async with AwsSession(AwsSettings(profile="x")) as session:
        assert session.region == "eu-west-1"
        assert session.json_client("sqs").endpoint == LOCAL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://localhost", True),
        ("http://sqs.us-east-1.localhost:4566", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("https://kinesis.us-east-1.amazonaws.com", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


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


# Proxies and certificates.


@pytest.mark.parametrize("proxy", ["{url}", "{host}"])
async def test_a_proxy_of_the_environment_is_used(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with canned(lambda call: {"by": "proxy"}) as server:
        host = server.url.removeprefix("http://")
        monkeypatch.setenv("HTTP_PROXY", proxy.format(url=server.url, host=host))
        async with AwsSession(AwsSettings(endpoint_url="http://kinesis.test")) as session:
            await session.json_client("kinesis").call("GetRecords", b"{}")

    assert server.calls[0].line == "POST http://kinesis.test/ HTTP/1.1"
    assert server.calls[0].headers["host"] == "kinesis.test"


async def test_no_proxy_is_used_for_what_no_proxy_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", LOCAL)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async with (
        canned(lambda call: {}) as server,
        AwsSession(AwsSettings(endpoint_url=server.url)) as session,
    ):
        await session.json_client("kinesis").call("GetRecords", b"{}")

    assert len(server.calls) == 1


async def test_a_ca_bundle_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle.pem")

    async with AwsSession(AwsSettings(endpoint_url="https://127.0.0.1:9")) as session:
        with pytest.raises(AwsError, match=r"/nonexistent/bundle\.pem.*AWS_CA_BUNDLE"):
            await session.json_client("kinesis").call("GetRecords", b"{}")


@pytest.mark.parametrize("variable", [None, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_the_ca_bundle_is_the_one_that_botocore_uses(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    everything = Path(certifi.where()).read_text()
    if variable:
        end = "-----END CERTIFICATE-----"
        bundle = tmp_path / "bundle.pem"
        bundle.write_text(everything.partition(end)[0] + end)
        monkeypatch.setenv(variable, str(bundle))

    trusted = tls_context(botocore.session.Session()).cert_store_stats()["x509_ca"]

    assert trusted == (1 if variable else everything.count("BEGIN CERTIFICATE"))


async def test_what_is_not_hot_has_a_full_client(moto_url: str, no_account: None) -> None:
    async with AwsSession(AwsSettings(endpoint_url=moto_url)) as session:
        sns = await session.client("sns")
        await sns.create_topic(Name="poller-sessions")
        topics = await sns.list_topics()

        assert await session.client("sns") is sns
    assert any("poller-sessions" in topic["TopicArn"] for topic in topics["Topics"])
