"""Who may ask a poller that others can reach: access keys, a token, or everybody.

It listens on an address of this machine that is not loopback; where there is none, on all of it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

from tests.functions import Function, function
from tests.outside.lambda_api import ACCOUNT, MAPPINGS, REGION, await_state, mapping_arn, refused
from tests.outside.poller_process import Running
from tests.outside.watched import await_line, command, lines, watched
from tests.servers import new_queue
from tests.waiting import eventually

KEY, SECRET = "AKIDOUTSIDE", "outside/auth+secret"
TOKEN = "outside-auth-token"
ENVIRONMENT = {"POLLER_SECRET": SECRET, "POLLER_TOKEN": TOKEN}
AUTH = {"access_keys": {KEY: "${POLLER_SECRET}"}, "token": "${POLLER_TOKEN}"}
NOTHING: dict[str, Any] = {"functions": {}, "mappings": []}
MISMATCH = "The request signature we calculated does not match the signature you provided."
COMMAND_TIMEOUT = 60.0
WRONG = 2


def own_address() -> str:
    """An address by which others reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            return "0.0.0.0"
        address: str = probe.getsockname()[0]
    return address


OWN = f"{own_address()}:0"


def client(running: Running, *, key: str = KEY, secret: str = SECRET) -> Any:
    return boto3.session.Session().client(
        "lambda",
        endpoint_url=running.address,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def ask(running: Running, path: str, **headers: str) -> tuple[int, str, bytes]:
    """Status, WWW-Authenticate and body."""
    request = urllib.request.Request(running.address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, "", reply.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.status, answer.headers.get("WWW-Authenticate", ""), answer.read()


def error(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}, "status": 403}


@pytest.fixture(scope="module")
def stub() -> Iterator[Function]:
    with function() as stub:
        yield stub


@pytest.fixture(scope="module")
def running(ministack_url: str, stub: Function) -> Iterator[Running]:
    config = {
        "aws": {"endpoint_url": ministack_url, "region": REGION},
        "functions": {"orders:live": {"url": stub.url}},
        "auth": AUTH,
    }
    with watched(config, "--listen", OWN, environment=ENVIRONMENT) as running:
        yield running
        assert not any(secret in running.log() for secret in (SECRET, TOKEN))


def test_boto3_with_a_key_does_everything(
    running: Running, stub: Function, ministack_url: str
) -> None:
    queue, api = new_queue(ministack_url), client(running)
    made = api.create_event_source_mapping(
        EventSourceArn=queue.arn, FunctionName="orders:live", Enabled=False, Tags={"a b+c": "d/e=f"}
    )
    uuid = made["UUID"]
    await_state(api, uuid, "Disabled")
    name = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders:live"
    found = api.list_event_source_mappings(EventSourceArn=queue.arn, FunctionName=name)
    assert [each["UUID"] for each in found["EventSourceMappings"]] == [uuid]
    resource = mapping_arn(uuid)
    assert api.list_tags(Resource=resource)["Tags"] == {"a b+c": "d/e=f"}
    api.untag_resource(Resource=resource, TagKeys=["a b+c", "\u00fc&="])
    assert api.list_tags(Resource=resource)["Tags"] == {}
    event = json.dumps({"long": "x" * 5_000_000})
    assert api.invoke(FunctionName=name, Payload=event)["StatusCode"] == 200
    assert [call.body for call in stub.calls] == [event.encode()]
    api.update_event_source_mapping(UUID=uuid, BatchSize=5)
    await_state(api, uuid, "Disabled")
    assert api.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"


def test_boto3_with_another_secret_or_key_hears_awss_words(running: Running) -> None:
    wrong = refused(client(running, secret="another").list_event_source_mappings)
    assert wrong["Error"]["Code"] == "InvalidSignatureException"
    assert wrong["Error"]["Message"].startswith(MISMATCH)
    unknown = client(running, key="AKIDNOBODY").create_event_source_mapping
    assert refused(unknown, FunctionName="orders", EventSourceArn="x:y:z:a:b:c") == error(
        "UnrecognizedClientException", "The security token included in the request is invalid."
    )


@pytest.mark.parametrize(("secret", "code"), [(SECRET, 0), ("another", 255)])
def test_the_aws_cli_signs_well(running: Running, tmp_path: Path, secret: str, code: int) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("aws"),
            *("lambda", "list-event-source-mappings", "--endpoint-url", running.address),
            *("--function-name", f"{ACCOUNT}:function:nobody:live", "--region", REGION),
        ],
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
        },
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if code == 0:
        assert json.loads(done.stdout) == {"EventSourceMappings": []}
    else:
        assert "(InvalidSignatureException)" in done.stderr
        assert MISMATCH in done.stderr


def test_prometheus_scrapes_with_the_token_and_not_without(running: Running) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    status, _, body = ask(running, "/metrics", Accept=accept, **bearer)
    assert status == 200
    assert ask(running, "/lag", **bearer)[0] == ask(running, MAPPINGS, **bearer)[0] == 200
    _, _, plain = ask(running, "/metrics", **bearer)
    names = {family.name for family in text_string_to_metric_families(plain.decode())}
    assert "poller_build_info" in names
    assert b"poller_build_info" in body
    for path in ("/metrics", "/lag", "/", "/nowhere"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
            status, challenge, body = ask(running, path, **headers)
            assert (status, challenge) == (401, 'Bearer realm="poller"')
            assert list(json.loads(body)) == ["message"]


def test_an_api_call_without_a_signature_is_refused_as_aws_does(running: Running) -> None:
    status, _, body = ask(running, f"{MAPPINGS}/")
    assert (status, json.loads(body)) == (403, {"message": "Missing Authentication Token"})


def test_probes_by_any_name_need_nothing(running: Running) -> None:
    for path in ("/healthz", "/readyz"):
        for host in ("10.0.0.7:9310", "poller.default.svc", "localhost"):
            assert ask(running, path, Host=host)[0] == 200


def test_the_pages_of_others_may_not_ask_even_with_the_token(running: Running) -> None:
    own = running.address
    bearer = f"Bearer {TOKEN}"
    assert ask(running, "/lag", Authorization=bearer, Origin=own)[0] == 200
    assert ask(running, "/lag", Authorization=bearer, Origin="https://evil.example")[0] == 403


def test_that_a_token_can_be_read_on_its_way_is_said_once(running: Running) -> None:
    where = running.address.removeprefix("http://")
    (line,) = lines(running, "WARNING", "can read the token")
    assert f"whoever sees the traffic of {where} can read the token" in line


def test_refusals_are_told_in_one_line(running: Running) -> None:
    assert len(lines(running, "WARNING", "refused")) <= 2  # one a minute


def test_auth_changes_on_sighup_and_is_never_lost(tmp_path: Path) -> None:
    def auth(secret: str) -> dict[str, Any]:
        return {**NOTHING, "auth": {"access_keys": {KEY: secret}}}

    first = auth("the-first-secret-of-it")
    with watched(first, "--listen", OWN, folder=tmp_path) as running:
        assert not lines(running, "can read the token")
        api = client(running, secret="the-first-secret-of-it")
        assert api.list_event_source_mappings()["EventSourceMappings"] == []
        running.rewrite(auth("the-second-secret-of-it"))
        running.hup()
        await_line(running, "auth has changed and is in force")
        assert refused(api.list_event_source_mappings)["status"] == 403
        api = client(running, secret="the-second-secret-of-it")
        assert api.list_event_source_mappings()["EventSourceMappings"] == []
        running.rewrite(NOTHING)
        running.hup()
        await_line(running, "changes nothing", "needs auth")
        assert api.list_event_source_mappings()["EventSourceMappings"] == []
        assert ask(running, MAPPINGS)[0] == 403
        running.rewrite({**NOTHING, "auth": "none"})
        running.hup()
        eventually(lambda: ask(running, MAPPINGS)[0] == 200)
        assert "secret-of-it" not in running.log()


def test_everybody_may_ask_where_auth_is_none_and_that_is_said() -> None:
    with watched({**NOTHING, "auth": "none"}, "--listen", OWN) as running:
        assert ask(running, "/metrics")[0] == ask(running, MAPPINGS)[0] == 200
        assert ask(running, "/metrics", Origin="https://evil.example")[0] == 403
        where = running.address.removeprefix("http://")
        await_line(running, "WARNING", f"auth is none: whoever reaches {where} may read metrics")


def test_auth_holds_on_loopback_too() -> None:
    config = {**NOTHING, "auth": {"token": TOKEN}}
    with watched(config) as running:
        assert ask(running, "/metrics")[0] == 401
        assert ask(running, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert not lines(running, "WARNING", "can read the token")
        evil = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
        assert ask(running, "/metrics", **evil)[0] == 403


def test_without_auth_nothing_starts_beyond_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "poller.yaml"
    path.write_text("functions: {}\n")
    ended = command("run", str(path), "--listen", OWN)
    assert (ended.returncode, ended.stdout) == (WRONG, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("poller: --listen: listening beyond this machine needs auth; add auth:")
    assert "auth: none" in line
    path.write_text("functions: {}\nlisten: 0.0.0.0:0\n")
    for name in ("run", "check"):
        ended = command(name, str(path))
        assert (ended.returncode, ended.stdout) == (WRONG, "")
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"{path}:2: listen: listening beyond this machine needs auth")
