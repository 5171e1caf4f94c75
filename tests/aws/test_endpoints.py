from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import certifi
import pytest

from poller.aws.client import AwsError
from poller.aws.endpoints import is_loopback, json_service, tls_context
from poller.aws.sessions import AwsSession, AwsSettings
from poller.errors import PollerError
from tests.aws.canned import canned

SOURCES = ["kinesis", "dynamodbstreams", "sqs"]
LOCAL = "http://127.0.0.1:9"  # nothing listens there, and nothing is sent


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = f"[services s]\nsqs=\n  endpoint_url={LOCAL}\n"
    config = tmp_path / "config"
    config.write_text(f"[profile x]\nregion=eu-west-1\nservices=s\n{services}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_DEFAULT_REGION")

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
