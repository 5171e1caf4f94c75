"""The config file as a whole: what it becomes, and a line for everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from poller.errors import ConfigError
from poller.settings import (
    AuthConfig,
    AwsConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    InvalidConfig,
    MappingSettings,
    Settings,
    load,
    override,
)
from poller.wire.arns import mapping_uuid
from poller.wire.mappings import MappingConfig, parse_mapping

NOW = 1_770_000_000.0
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:jobs"
ROLE = "arn:aws:iam::000000000000:role/poller"
EXPOSED = (
    "listening beyond this machine needs auth; add auth: {{token: TOKEN}} to the config, or auth: "
    "{{access_keys: {{ID: SECRET}}}}, or both, or auth: none to let everybody in; or listen on "
    "127.0.0.1:{}"
)
EMULATOR = "http://127.0.0.1:9001/2015-03-31/functions/function/invocations"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path


def loaded(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "poller.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ or {}, now=NOW)


def lines(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    """The lines of what is wrong, without the file's name."""
    name = f"{folder / 'poller.yaml'}:"
    try:
        loaded(folder, text, environ)
        found: tuple[str, ...] = ()
    except InvalidConfig as error:
        found = error.lines
    assert all(line.startswith(name) for line in found)
    return [line.removeprefix(name) for line in found]


def function(folder: Path, text: str, environ: dict[str, str] | None = None) -> FunctionConfig:
    return loaded(folder, f"functions:\n  f: {text}\n", environ).functions["f"]


def in_function(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with the function f, whose keys are `text`."""
    found = lines(folder, f"functions:\n  f: {text}\n", environ)
    assert all(line.startswith("2: functions.f") for line in found)
    return [line.removeprefix("2: functions.f") for line in found]


def mapping_config(**request: str) -> MappingConfig:
    config = parse_mapping(request, now=NOW)
    assert isinstance(config, MappingConfig)
    return config


def test_a_whole_file_becomes_values(folder: Path) -> None:
    text = f"""
aws:
  region: us-east-1
  account_id: 123456789012        # twelve digits, with or without quotes
  endpoint_url: http://127.0.0.1:4566
  endpoints: {{kinesis: ${{KINESIS}}}}
state: sqlite:code/poller.db
listen: "[::1]:9310"
concurrency: 100
functions:
  orders:live:
    url: http://127.0.0.1:8080/orders
    timeout: 30
    concurrency: 5
    role: arn:aws:iam::123456789012:role/orders
    headers: {{X-Api-Key: "${{KEY}}"}}
  jobs: {{handler: app.jobs.handler}}
mappings:
  - EventSourceArn: {STREAM}
    FunctionName: orders:live
    StartingPosition: LATEST
  - EventSourceArn: {QUEUE}
    FunctionName: jobs:$LATEST
"""
    settings = loaded(folder, text, {"KINESIS": "http://127.0.0.1:4567", "KEY": "secret"})
    live = "arn:aws:lambda:us-east-1:123456789012:function:orders:live"
    latest = "arn:aws:lambda:us-east-1:123456789012:function:jobs:$LATEST"
    stream = mapping_config(
        EventSourceArn=STREAM, FunctionName="orders:live", StartingPosition="LATEST"
    )
    queue = mapping_config(EventSourceArn=QUEUE, FunctionName="jobs:$LATEST")
    assert settings == Settings(
        aws=AwsConfig(
            region="us-east-1",
            account_id="123456789012",
            endpoint_url="http://127.0.0.1:4566",
            endpoints={"kinesis": "http://127.0.0.1:4567"},
        ),
        state=f"sqlite:{folder}/code/poller.db",
        listen=("::1", 9310),
        concurrency=100,
        functions={
            "orders:live": FunctionConfig(
                name="orders:live",
                timeout=30.0,
                concurrency=5,
                role="arn:aws:iam::123456789012:role/orders",
                runs=EndpointConfig(
                    urls=("http://127.0.0.1:8080/orders",), headers={"X-Api-Key": "secret"}
                ),
                line=0,
            ),
            "jobs": FunctionConfig(
                name="jobs",
                timeout=3.0,
                concurrency=10,
                role="arn:aws:iam::123456789012:role/poller",
                runs=HandlerConfig(
                    handler="app.jobs.handler",
                    folder=folder,
                    python=sys.executable,
                    memory=None,
                    environment={},
                ),
                line=0,
            ),
        },
        mappings=(
            MappingSettings(
                uuid=mapping_uuid(STREAM, live),
                function="orders:live",
                function_arn=live,
                config=stream,
                line=0,
            ),
            MappingSettings(
                uuid=mapping_uuid(QUEUE, latest),
                function="jobs",
                function_arn=latest,
                config=queue,
                line=0,
            ),
        ),
    )
    assert [mapping.line for mapping in settings.mappings] == [19, 22]
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("text", ["{}", "aws:\nfunctions:\nmappings:\nstate:\nlisten:\n"])
def test_a_file_may_leave_everything_out(folder: Path, text: str) -> None:
    assert loaded(folder, text) == Settings(
        aws=AwsConfig(region=None, account_id="000000000000", endpoint_url=None, endpoints={}),
        state=f"sqlite:{folder}/poller.db",
        listen=("127.0.0.1", 9310),
        functions={},
        mappings=(),
    )


def test_a_comment_more_changes_no_settings(folder: Path) -> None:
    text = "functions:\n  f: {url: http://h/}\n"
    assert loaded(folder, text) == loaded(folder, "# why\n" + text)


def test_settings_cannot_be_changed(folder: Path) -> None:
    settings = loaded(folder, "functions:\n  f: {url: http://h/, headers: {a: b}}\n")
    runs = settings.functions["f"].runs
    assert isinstance(runs, EndpointConfig)
    for mapping in (settings.functions, settings.aws.endpoints, runs.headers):
        assert isinstance(mapping, MappingProxyType)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.state = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("aws", "environ", "name", "region"),
    [
        ("{region: eu-north-1}", {"AWS_REGION": "us-east-2"}, "f", "eu-north-1"),
        ("{}", {"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-west-1"}, "f", "us-east-2"),
        ("{}", {"AWS_DEFAULT_REGION": "us-west-1"}, "f", "us-west-1"),
        ("{}", {"AWS_REGION": ""}, "f", "us-east-1"),
        ("{}", {}, "f", "us-east-1"),
        ("{}", {}, "arn:aws:lambda:eu-west-3:000000000000:function:f", "eu-west-3"),
    ],
)
def test_the_region_of_functions_is_the_files_the_environments_or_the_sources(
    folder: Path, aws: str, environ: dict[str, str], name: str, region: str
) -> None:
    settings = loaded(
        folder,
        f"aws: {aws}\nfunctions: {{f: {{url: http://h/}}}}\nmappings:\n"
        f"  - {{EventSourceArn: '{STREAM}', FunctionName: '{name}', StartingPosition: LATEST}}\n",
        environ,
    )
    (mapping,) = settings.mappings
    assert mapping.function_arn == f"arn:aws:lambda:{region}:000000000000:function:f"


# The file.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: the file must have keys, such as functions: and mappings:"]),
        ("- a\n", ["1: the file must have keys, such as functions: and mappings:"]),
        (b"a: 1\nb: \xff\n", ["2: this is not UTF-8 text; save it as UTF-8"]),
        (b" " * (1024 * 1024 + 1), ["1: more than 1048576 bytes are no config"]),
        ("a: [\n", ["2: column 1: did not find expected node content while parsing a flow node"]),
        ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n",
         ["2: listen: is there twice, first on line 1; keep one"]),
        ("\n\nmapping: []\n", ["3: mapping: unknown key; did you mean mappings?"]),
        ("zzz: 1\n",
         ["1: zzz: unknown key; known here: auth, aws, concurrency, functions, listen, "
          "mappings, state, tracing"]),
        ("listen: ${PORT}\n",
         ["1: listen: the environment variable PORT is not set; set it, or write "
          "${PORT:-DEFAULT}"]),
        ("aws: 5\n", ["1: aws: must be a block of keys; such as region: us-east-1"]),
        ("functions: [f]\n",
         ["1: functions: must be a block of keys; name each function, with its keys below"]),
        ("mappings: {}\n",
         ["1: mappings: must be a list of mappings; begin each mapping with -"]),
        ("mappings: [5]\n",
         ["1: mappings[0]: must be a block of keys; such as EventSourceArn: ARN"]),
        ("listen: [1]\n", ["1: listen: must be text; such as 127.0.0.1:9310"]),
        ("state: {}\n", ["1: state: must be text; such as sqlite:poller.db"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_told_with_its_line(
    folder: Path, text: str | bytes, expected: list[str]
) -> None:
    assert lines(folder, text) == expected


def test_a_file_that_cannot_be_read_is_one_line(folder: Path) -> None:
    for path, reason in (
        (folder / "none.yaml", "No such file or directory"),
        (folder, "Is a directory"),
    ):
        with pytest.raises(InvalidConfig) as error:
            load(path, {}, now=NOW)
        assert error.value.lines == (f"{path}: cannot be read: {reason}",)


def test_everything_is_told_at_once_and_in_the_files_order(folder: Path) -> None:
    text = """\
mappings:
  - EventSourceArn: arn:aws:kafka:us-east-1:123456789012:cluster/c/1
    FunctionName: nobody
    BatchSize: ${SIZE}
functions:
  f: {url: 5, urls: x}
aws: {account_id: 5}
listen: 0.0.0.0:80
"""
    assert lines(folder, text) == [
        "2: mappings[0].EventSourceArn: Amazon MSK as an event source is not supported yet",
        "3: mappings[0].FunctionName: Function does not exist; declared under functions: f",
        "4: mappings[0].BatchSize: the environment variable SIZE is not set; set it, or write "
        "${SIZE:-DEFAULT}",
        "6: functions.f.url: must be a URL such as http://127.0.0.1:8080/path",
        "6: functions.f.urls: unknown key; did you mean url?",
        "7: aws.account_id: must be 12 digits",
        f"8: listen: {EXPOSED.format(80)}",
    ]


# aws, listen, auth, state.


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{region: 'us east'}", [".region: must be a region, such as us-east-1"]),
        ("{region: [x]}", [".region: must be text, not a list"]),
        ("{region: }", ['.region: has no value; "" would be empty text']),
        ("{account_id: 12345678901}", [".account_id: must be 12 digits"]),
        ("{acount_id: 1}", [".acount_id: unknown key; did you mean account_id?"]),
        ("{endpoint_url: ftp://h}", [".endpoint_url: must be a URL such as "
                                     "http://127.0.0.1:8080/path"]),
        ("{endpoint_url: http://u:secret@h}", [".endpoint_url: must be a URL without a user "
                                               "name"]),
        ("{endpoints: http://h}", [".endpoints: must be a block of keys, not text"]),
        ("{endpoints: {kinesys: http://h}}",
         [".endpoints.kinesys: unknown key; did you mean kinesis?"]),
        ("{endpoints: {sqs: h}}", [".endpoints.sqs: must be a URL such as "
                                   "http://127.0.0.1:8080/path"]),
    ],
)  # fmt: skip
def test_the_aws_block_is_checked(folder: Path, block: str, expected: list[str]) -> None:
    assert lines(folder, f"aws: {block}\n") == [f"1: aws{line}" for line in expected]


def test_a_region_of_the_environment_is_checked(folder: Path) -> None:
    assert lines(folder, "{}\n", {"AWS_REGION": "x y"}) == [
        "1: aws.region: AWS_REGION in the environment must be a region, such as us-east-1"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.9.9.9:65535", ("127.9.9.9", 65_535)),
        ("localhost:80", ("localhost", 80)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_listening_on_loopback_needs_nothing_else(
    folder: Path, text: str, expected: tuple[str, int]
) -> None:
    assert loaded(folder, f"listen: '{text}'\n").listen == expected


ELSEWHERE = [
    ("0.0.0.0:9310", ("0.0.0.0", 9310)),
    ("[::]:9310", ("::", 9310)),
    ("[0:0::0]:9310", ("::", 9310)),
    ("[FD00::2]:9310", ("fd00::2", 9310)),
    ("poller.internal:9310", ("poller.internal", 9310)),
    ("192.168.1.4:9310", ("192.168.1.4", 9310)),
]


@pytest.mark.parametrize(("text", "expected"), ELSEWHERE)
def test_listening_elsewhere_needs_auth(folder: Path, text: str, expected: tuple[str, int]) -> None:
    for absent in ("", "auth:\n", "auth: null\n"):
        assert lines(folder, f"{absent}listen: '{text}'\n") == [
            f"{2 if absent else 1}: listen: {EXPOSED.format(9310)}"
        ]
    for auth in ("none", "{token: 12345678}", "{access_keys: {ID: 12345678}}"):
        assert loaded(folder, f"listen: '{text}'\nauth: {auth}\n").listen == expected


@pytest.mark.parametrize(("text", "expected"), ELSEWHERE)
def test_listening_elsewhere_by_the_command_line_needs_auth_in_the_file(
    folder: Path, text: str, expected: tuple[str, int]
) -> None:
    with pytest.raises(ConfigError) as refused:
        override(loaded(folder, "{}"), listen=text, folder=folder)
    assert str(refused.value) == f"--listen: {EXPOSED.format(9310)}"
    settings = loaded(folder, "auth: none\n")
    assert override(settings, listen=text, folder=folder).listen == expected


@pytest.mark.parametrize(
    ("text", "keys", "token"),
    [
        ("none", {}, None),
        ("'none'", {}, None),
        ("${NONE}", {}, None),
        ("{token: '${TOKEN}'}", {}, "s3cret-of-env"),
        ("{token: 12345678}", {}, "12345678"),
        ("{access_keys: {AKID_1: ${TOKEN}, test: a/b+c=d,e}}",
         {"AKID_1": "s3cret-of-env", "test": "a/b+c=d,e"}, None),
        ("{access_keys: {0123: s3cret-one}, token: s3cret-two}", {"0123": "s3cret-one"},
         "s3cret-two"),
        ("{access_keys: {test: test}, token: s3cret}", {"test": "test"}, "s3cret"),
    ],
)  # fmt: skip
def test_auth_is_none_or_keys_or_a_token_or_both(
    folder: Path, text: str, keys: dict[str, str], token: str | None
) -> None:
    text = text.replace("a/b+c=d,e", "'a/b+c=d,e'")
    settings = loaded(folder, f"auth: {text}\n", {"TOKEN": "s3cret-of-env", "NONE": "none"})
    assert settings.auth == AuthConfig(access_keys=keys, token=token)
    assert settings.auth.is_none == (not keys and token is None)
    assert "s3cret" not in repr(settings)


WHO = ": must be none, or a block with access_keys, token or both; none would let everybody in"
EMPTY = " is empty, and whoever sends nothing would know it"
UNFIT = " must be up to 1024 visible characters of ASCII, without spaces and line ends"
NO_ID = (
    ".access_keys: has a name that is no access key id, which is up to 128 letters, digits, _ and "
    "-; each is ID: SECRET"
)
NO_KEYS = ".access_keys: must be a block of 1 to 100 keys; each is ID: SECRET"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", [WHO]),
        ("[]", [WHO]),
        ("None", [WHO]),
        ("s3cret-token", [WHO]),
        ("true", [WHO]),
        ("{tokens: s3cret-token}", [".tokens: unknown key; did you mean token?"]),
        ("{token: }", ['.token: has no value; "" would be empty text']),
        ("{token: ''}", [f".token:{EMPTY}"]),
        ("{token: '${EMPTY:-}'}", [f".token:{EMPTY}"]),
        ("{token: s3cret with spaces}", [f".token:{UNFIT}"]),
        ('{token: "s3cret-token\\n"}', [f".token:{UNFIT}"]),
        ("{token: s3cret-töken}", [f".token:{UNFIT}"]),
        (f"{{token: s3cret{'x' * 1024}}}", [f".token:{UNFIT}"]),
        ("{token: [s3cret-token]}", [".token: must be text, not a list"]),
        ("{access_keys: }", [NO_KEYS]),
        ("{access_keys: {}}", [NO_KEYS]),
        ("{access_keys: [s3cret-token]}", [NO_KEYS]),
        (f"{{access_keys: {{{', '.join(f'k{n}: s3cret{n:03}' for n in range(101))}}}}}", [NO_KEYS]),
        ("{access_keys: {s3cret/key: AKIDEXAMPLE}}", [NO_ID]),
        ("{access_keys: {'': s3cret-key}}", [NO_ID]),
        ("{access_keys: {A: s3cret, B: }, token: s3cret}",
         ['.access_keys.B: has no value; "" would be empty text']),
    ],
)  # fmt: skip
def test_what_is_wrong_with_auth_is_told_without_a_secret(
    folder: Path, text: str, expected: list[str]
) -> None:
    found = lines(folder, f"listen: 0.0.0.0:80\nauth: {text}\n")
    assert found == [f"2: auth{line}" for line in expected]
    assert not any("s3cret" in line for line in found)


@pytest.mark.parametrize(
    "text",
    ["9310", "127.0.0.1", "127.0.0.1:65536", ":80", "::1:80", "a b:1", "[1:2]:80", "[1.2.3.4]:80"],
)
def test_other_addresses_are_refused(folder: Path, text: str) -> None:
    assert lines(folder, f"listen: '{text}'\n") == [
        "1: listen: must be HOST:PORT, such as 127.0.0.1:9310"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poller.db", "must be sqlite:PATH, such as sqlite:poller.db"),
        ("sqlite:", "must be sqlite:PATH, such as sqlite:poller.db"),
        ("sqlite::memory:", "must be sqlite:PATH, such as sqlite:poller.db"),
        ("sqlite:///poller.db", "must be sqlite:PATH, such as sqlite:poller.db"),
        ("redis:x", "must be sqlite:PATH, such as sqlite:poller.db"),
        ("dynamodb:positions", "dynamodb:TABLE is not supported yet; use sqlite:PATH"),
        ("sqlite:code", "names a folder; name a file in it"),
        (
            "sqlite:missing/poller.db",
            "its folder does not exist; make it, or name another file",
        ),
    ],
)
def test_other_states_are_refused(folder: Path, text: str, message: str) -> None:
    assert lines(folder, f"state: '{text}'\n") == [f"1: state: {message}"]


def test_the_command_line_comes_before_the_file(folder: Path) -> None:
    settings = loaded(folder, "{}")
    assert override(settings, listen=None, state=None, folder=folder) == settings
    changed = override(settings, listen="127.0.0.1:0", state="sqlite:x.db", folder=folder / "code")
    assert changed == dataclasses.replace(
        settings, listen=("127.0.0.1", 0), state=f"sqlite:{folder}/code/x.db"
    )
    for options, message in (
        ({"listen": "x", "state": None}, "--listen: must be HOST:PORT, such as 127.0.0.1:9310"),
        ({"listen": None, "state": "x"}, "--state: must be sqlite:PATH, such as sqlite:poller.db"),
    ):
        with pytest.raises(ConfigError) as error:
            override(settings, folder=folder, **options)
        assert str(error.value) == message


# Functions.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{url: http://h}", None),
        ("{url: [http://h, http://i]}", None),
        (f"{{url: {EMULATOR}}}", 1),
        (f"{{url: [{EMULATOR}, {EMULATOR.replace('9001', '9002')}]}}", 2),
        (f"{{url: {EMULATOR}, concurrency: 3}}", 3),
        ("{handler: a.b}", 10),
        ("{handler: a.b, concurrency: 1}", 1),
        ("{handler: a.b, concurrency: 10000}", 10_000),
    ],
)
def test_concurrency_has_a_default_for_each_kind(
    folder: Path, text: str, expected: int | None
) -> None:
    assert function(folder, text).concurrency == expected


def test_every_key_of_a_handler_is_kept(folder: Path) -> None:
    (folder / "python").touch(mode=0o755)
    text = """
    handler: pack/age.module.name
    path: code
    python: ./python
    memory: 512
    timeout: 1.5
    concurrency: 2
    environment:
      TEXT: text
      NUMBER: 007
      FLAG: ${FLAG}
      EMPTY: ${EMPTY}
      QUOTED: ""
"""
    assert function(folder, text, {"FLAG": "true", "EMPTY": ""}) == FunctionConfig(
        name="f",
        timeout=1.5,
        concurrency=2,
        role=ROLE,
        runs=HandlerConfig(
            handler="pack/age.module.name",
            folder=folder / "code",
            python=str(folder / "python"),
            memory=512,
            environment={
                "TEXT": "text",
                "NUMBER": "007",
                "FLAG": "true",
                "EMPTY": "",
                "QUOTED": "",
            },
        ),
        line=0,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", [": must be a block of keys; such as handler: app.orders.handler"]),
        ("{}",
         [": says nothing to run; write one of handler, command, url, runtime_api, lambda"]),
        ("{timeout: 3}",
         [": says nothing to run; write one of handler, command, url, runtime_api, lambda"]),
        ("{handler: a.b, url: http://h}", [": has handler and url; keep one of them"]),
        ("{handler: a.b, command: [x]}", [": has handler and command; keep one of them"]),
        ("{command: []}",
         [".command: must be a program with its arguments, as text or as a list"]),
        ("{url: http://h, async: 3}", [".async: must be a block of keys, not a number"]),
        ("{url: http://h, async: {MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 59, x: 1}}",
         [".async.MaximumRetryAttempts: must be a whole number from 0 to 2, not 3",
          ".async.MaximumEventAgeInSeconds: must be a whole number from 60 to 21600, not 59",
          ".async.x: unknown key; known here: DeadLetter, MaximumEventAgeInSeconds, "
          "MaximumRetryAttempts, OnFailure, OnSuccess"]),
        ("{url: http://h, async: {OnSuccess: 'arn:aws:s3:::done', OnFailure: failed}}",
         [".async.OnSuccess: a bucket can be the destination of failures only; use an SQS queue, "
          "an SNS topic, a Lambda function or an event bus",
          '.async.OnFailure: "failed" is not the ARN of a destination; use an SQS queue, an SNS '
          "topic, a Lambda function, an event bus or an S3 bucket"]),
        ("{url: http://h, async: {DeadLetter: 'arn:aws:s3:::dead'}}",
         ['.async.DeadLetter: "arn:aws:s3:::dead" cannot be a dead-letter queue; use a standard '
          "SQS queue or SNS topic, or name it as OnFailure"]),
        ("{url: http://h, handlr: a.b}", [".handlr: unknown key; did you mean handler?"]),
        ("{url: http://h, timeout: 0}", [".timeout: must be a number from 1 to 900, not 0"]),
        ("{url: http://h, timeout: 901}", [".timeout: must be a number from 1 to 900, not 901"]),
        ("{url: http://h, timeout: .nan}", [".timeout: must be a number from 1 to 900, not nan"]),
        ("{url: http://h, timeout: '3'}",
         ['.timeout: must be a number from 1 to 900, not "3"']),
        ("{url: http://h, timeout: true}",
         [".timeout: must be a number from 1 to 900, not true"]),
        ("{url: http://h, timeout: }",
         [".timeout: must be a number from 1 to 900, not nothing"]),
        ("{url: http://h, timeout: [3]}",
         [".timeout: must be a number from 1 to 900, not a list"]),
        ("{url: http://h, concurrency: 0}",
         [".concurrency: must be a whole number from 1 to 10000, not 0"]),
        ("{url: http://h, concurrency: 10001}",
         [".concurrency: must be a whole number from 1 to 10000, not 10001"]),
        ("{url: http://h, concurrency: 1.5}",
         [".concurrency: must be a whole number from 1 to 10000, not 1.5"]),
        ("{url: http://h, role: admin}",
         [".role: must be a role's ARN, such as arn:aws:iam::123456789012:role/poller"]),
        ("{handler: name}", [".handler: must be MODULE.NAME, such as app.orders.handler"]),
        ("{handler: a.b c}", [".handler: must be MODULE.NAME, such as app.orders.handler"]),
        ("{handler: [a.b]}", [".handler: must be text, not a list"]),
        ("{handler: a.b, memory: 127}",
         [".memory: must be a whole number from 128 to 10240, not 127"]),
        ("{handler: a.b, memory: 10241}",
         [".memory: must be a whole number from 128 to 10240, not 10241"]),
        ("{handler: a.b, path: missing}", [".path: is no folder; name the folder of the code"]),
        ("{handler: a.b, path: poller.yaml}",
         [".path: is no folder; name the folder of the code"]),
        ("{handler: a.b, python: no-such-python}",
         [".python: is no program; name an interpreter on PATH, or its path"]),
        ("{handler: a.b, headers: {a: b}}",
         [".headers: is for url, not for handler; remove it"]),
        ("{url: http://h, environment: {}}",
         [".environment: is for handler and command, not for url; remove it"]),
        ("{url: http://h, path: code}",
         [".path: is for handler and command, not for url; remove it"]),
        ("{url: http://h, python: python3}",
         [".python: is for handler, not for url; remove it"]),
        ("{url: http://h, memory: 128}",
         [".memory: is for handler and command, not for url; remove it"]),
        ("{url: []}", [".url: must be a URL or a list of 1 to 1000 of them"]),
        ("{url: {}}", [".url: must be a URL or a list of 1 to 1000 of them"]),
        ("{url: ['http://h', 'h']}",
         [".url[1]: must be a URL such as http://127.0.0.1:8080/path"]),
        ("{url: ['http://h', 'http://h']}", [".url: has an address twice; keep one"]),
        ("{url: http://h, headers: {'a b': c}}", [".headers.a b: is no name of a header"]),
        ("{url: http://h, headers: {Host: h}}", [".headers.Host: is set by poller; remove it"]),
        ("{url: http://h, headers: {Content-Length: 5}}",
         [".headers.Content-Length: is set by poller; remove it"]),
        ("{url: http://h, headers: {a: 1, A: 2}}", [".headers: has a header twice; keep one"]),
        ("{handler: a.b, environment: {1x: y}}",
         [".environment.1x: is no name of a variable: letters, digits and _, not a digit first"]),
        ("{handler: a.b, environment: {_HANDLER: y}}",
         [".environment._HANDLER: is set by poller, as Lambda does; remove it"]),
        ("{handler: a.b, environment: [A]}",
         [".environment: must be a block of keys, not a list"]),
        ("{handler: a.b, environment: {A: [b]}}",
         [".environment.A: must be text, not a list"]),
        ("{handler: a.b, environment: {A: }}",
         ['.environment.A: has no value; "" would be empty text']),
        ("{handler: a.b, environment: {A: \"\\0\"}}",
         [".environment.A: has a NUL character, which no program can be given"]),
    ],
)  # fmt: skip
def test_each_wrong_key_of_a_function_is_told(folder: Path, text: str, expected: list[str]) -> None:
    assert in_function(folder, text) == expected


def test_runtimes_cannot_attach_where_poller_listens(folder: Path) -> None:
    runs = "runtime_api: 127.0.0.1:9001"

    assert lines(folder, f"listen: 127.0.0.1:9001\nfunctions:\n  listen: {{{runs}}}\n") == [
        "3: functions.listen.runtime_api: is the address of listen, too; give it another"
    ]


@pytest.mark.parametrize(
    ("listen", "place", "meet"),
    [
        ("127.0.0.1:9001", "localhost:9001", True),
        ("127.0.0.1:9001", "{listen: 0.0.0.0:9001, allow: [10.0.0.0/8]}", True),
        ("127.0.0.1:9001", "127.0.0.2:9001", False),
        ("127.0.0.1:9001", "localhost:9002", False),
    ],
)
def test_one_address_may_have_several_names(
    folder: Path, listen: str, place: str, meet: bool
) -> None:
    text = f"listen: {listen}\nfunctions:\n  f: {{runtime_api: {place}}}\n"
    assert [line.partition(": is ")[2] for line in lines(folder, text)] == (
        ["the address of listen, too; give it another"] if meet else []
    )


def test_runtimes_of_two_functions_cannot_attach_to_one_address(folder: Path) -> None:
    place = "runtime_api: 127.0.0.1:9001"

    assert lines(folder, f"functions:\n  a: {{{place}}}\n  b: {{{place}}}\n  c: {{{place}}}\n") == [
        "3: functions.b.runtime_api: is the address of function a, too; give it another",
        "4: functions.c.runtime_api: is the address of function a, too; give it another",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a b", '"a b" names no function'),
        ("orders:$LATEST", "declares $LATEST; plain orders answers for it"),
        (
            "arn:aws:lambda:us-east-1:123456789012:function:orders",
            "is an ARN; declare it as orders",
        ),
        ("x" * 65, "names no function"),
    ],
)
def test_a_function_has_a_name(folder: Path, name: str, problem: str) -> None:
    (line,) = lines(folder, f"functions:\n  '{name}': {{url: http://h}}\n")
    assert problem in line


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "{url: 'http://u:hunter2@h h/'}",
        "{url: 'http://u:hunter2@h:99999/'}",
        "{url: ['http://u:hunter2@h/', 'http://u:hunter2@h/']}",
        '{url: http://h, headers: {a: "hunter2\\n"}}',
        "{url: http://h, headers: hunter2}",
        '{handler: a.b, environment: {A: "hunter2\\0"}}',
        "{handler: a.b, environment: hunter2}",
        "{handler: a.b, environment: [hunter2]}",
        "{url: 'http://u:${SECRET}@h h/'}",
    ],
)
def test_no_secret_is_in_a_message(folder: Path, text: str) -> None:
    found = in_function(folder, text, {"SECRET": SECRET})
    assert found
    assert SECRET not in "".join(found)


def test_no_secret_is_in_what_settings_show_of_themselves(folder: Path) -> None:
    text = """
functions:
  a: {url: "http://u:hunter2@h/", headers: {x: hunter2}}
  b: {handler: a.b, environment: {x: hunter2}}
"""
    assert SECRET not in repr(loaded(folder, text))


# Mappings.


def with_functions(mappings: str) -> str:
    return f"functions: {{f: {{url: http://h}}, g:live: {{url: http://h}}}}\nmappings:\n{mappings}"


def mapping(arn: str, name: str, more: str = "") -> str:
    return f"  - {{EventSourceArn: '{arn}', FunctionName: '{name}'{more}}}\n"


NOT_THERE = "Function does not exist; declared under functions: f, g:live"
OTHER_ACCOUNT = (
    "Function does not exist; functions here have account 000000000000: write f, or set "
    "aws.account_id"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f", None),
        ("f:$LATEST", None),
        ("g:live", None),
        ("000000000000:function:f", None),
        ("arn:aws:lambda:eu-west-1:000000000000:function:g:live", None),
        ("g", NOT_THERE),
        ("g:$LATEST", NOT_THERE),
        ("f:live", NOT_THERE),
        ("f:1", NOT_THERE),
        ("h", NOT_THERE),
        ("123456789012:function:f", OTHER_ACCOUNT),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", OTHER_ACCOUNT),
    ],
)
def test_a_mapping_names_a_declared_function(folder: Path, name: str, expected: str | None) -> None:
    found = lines(folder, with_functions(mapping(QUEUE, name)))
    assert found == ([f"3: mappings[0].FunctionName: {expected}"] if expected else [])


def test_a_function_of_another_region_is_not_declared_here(folder: Path) -> None:
    arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
    (line,) = lines(folder, "aws: {region: us-east-1}\n" + with_functions(mapping(QUEUE, arn)))
    assert line == (
        "4: mappings[0].FunctionName: Function does not exist; functions here are in us-east-1: "
        "write f, or set aws.region"
    )


def test_a_function_that_is_wrong_itself_is_declared(folder: Path) -> None:
    text = f"functions:\n  f: {{url: 5}}\nmappings:\n{mapping(QUEUE, 'f')}"
    assert [line.partition(":")[0] for line in lines(folder, text)] == ["2"]


@pytest.mark.parametrize("again", ["f", "f:$LATEST", "000000000000:function:f"])
def test_a_pair_of_source_and_function_is_there_once(folder: Path, again: str) -> None:
    text = with_functions(mapping(QUEUE, "f") + mapping(QUEUE, "g:live") + mapping(QUEUE, again))
    assert lines(folder, text) == [
        "5: mappings[2]: has the source and the function of the mapping on line 3; keep one of them"
    ]


def test_the_problems_of_mappings_have_their_own_lines(folder: Path) -> None:
    text = with_functions(f"""\
  - &first
    EventSourceArn: {STREAM}
    FunctionName: f
    StartingPosition: LATEST
    DestinationConfig:
      OnFailure:
        Destination: nowhere
  - <<: *first
    FunctionName: g:live
    BatchSize: 0
    TumblingWindowInSeconds: 901
""")
    nowhere = (
        'DestinationConfig.OnFailure.Destination: "nowhere" is not the ARN of a failure '
        "destination; use an SQS queue, an SNS topic or an S3 bucket, such as "
        "arn:aws:s3:::my-bucket"
    )
    assert lines(folder, text) == [
        f"9: mappings[0].{nowhere}",
        f"9: mappings[1].{nowhere}",
        "12: mappings[1].BatchSize: must be a whole number from 1 to 10000, not 0",
        "13: mappings[1].TumblingWindowInSeconds: must be a whole number from 0 to 900, not 901",
    ]


def test_a_number_may_come_from_the_environment(folder: Path) -> None:
    text = with_functions(mapping(QUEUE, "f", ", BatchSize: ${SIZE}"))
    (settings,) = loaded(folder, text, {"SIZE": "7"}).mappings
    assert settings.config.batch_size == 7
    (line,) = lines(folder, text.replace("${SIZE}", '"${SIZE}"'), {"SIZE": "7"})
    assert line.endswith('BatchSize: must be a whole number from 1 to 10000, not "7"')


# Anything at all.

WORDS = st.sampled_from(
    (
        *("aws", "region", "account_id", "endpoint_url", "endpoints", "kinesis", "state"),
        *("sqlite:x", "listen", "127.0.0.1:0", "functions", "f", "url", "http://h", "handler"),
        *("a.b", "timeout", "5", "concurrency", "environment", "path", "python", "headers"),
        *("memory", "role", "command", "mappings", "EventSourceArn", "FunctionName", "BatchSize"),
        *("StartingPosition", "LATEST", "DestinationConfig", "OnFailure", "Destination"),
        *("arn:aws:s3:::bucket", STREAM, QUEUE, "${X}", "${Y:-1}", "0.5", "~", "true"),
        *("\\0", "x" * 300),
    )
)
TREES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(WORDS, inner, max_size=4).map(
            lambda block: "{" + ", ".join(f'"{key}": {value}' for key, value in block.items()) + "}"
        )
    ),
    max_leaves=20,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    TREES
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.dictionaries(st.sampled_from(["aws", "functions", "mappings", "f"]), TREES).map(
        lambda block: "{" + ", ".join(f"{key}: {value}" for key, value in block.items()) + "}"
    )
)
def test_any_file_is_settings_or_lines(folder: Path, text: str | bytes) -> None:
    content = text.encode("utf-8", "replace") if isinstance(text, str) else text
    assert not any("\n" in line for line in lines(folder, content, {"X": "5"}))
