"""What users do wrong in a config or on a machine: one clear line for each thing."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.functions import Answer, errored, function
from tests.outside.sqs_lanes import send
from tests.outside.watched import (
    Mapped,
    await_line,
    command,
    config,
    watched,
)
from tests.servers import new_queue

FAILED, WRONG = 1, 2
ACCOUNT = "000000000000"

# Each line with a remark is wrong: what `check` says of it begins with the remark's path and has
# the remark's words.
WRONG_CONFIG = """\
aws:
  region: us east            # aws.region: region
  account_id: 12             # aws.account_id: 12 digits
  endpoint: http://x         # aws.endpoint: did you mean endpoint
  endpoints:
    kinesis: ftp://x         # aws.endpoints.kinesis: URL
    kineses: http://x        # aws.endpoints.kineses: did you mean kinesis
state: redis:x               # state: sqlite:PATH
listen: 9310                 # listen: HOST:PORT
lisen: 127.0.0.1:9310        # lisen: did you mean listen
functions:
  works: {url: "http://127.0.0.1:1/"}
  nothing: {timeout: 3}      # functions.nothing: nothing to run
  both:                      # functions.both: handler and url
    url: http://127.0.0.1:1/
    handler: app.handler
  slow:
    url: http://127.0.0.1:1/
    timeout: soon            # functions.slow.timeout: from 1 to 900
    concurency: 3            # functions.slow.concurency: did you mean concurrency
  secretive:
    url: "http://me:outside-url-password@/nowhere"  # functions.secretive.url: URL
    headers: {Key: "outside-header-value\\n"}  # functions.secretive.headers.Key: control
  unset:
    url: ${OUTSIDE_NOT_SET}  # functions.unset.url: OUTSIDE_NOT_SET is not set
mappings:
  - FunctionName: works
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/a
    StartingPosition: TRIM_HORIZON
  - FunctionName: works      # mappings[1]: the mapping on line
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/a
    StartingPosition: LATEST
  - FunctionName: missing    # mappings[2].FunctionName: Function does not exist
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:a
  - FunctionName: works
    EventSourceArn: arn:aws:sns:us-east-1:000000000000:a  # mappings[3].EventSourceArn: event source
  - FunctionName: works
    EventSourceArn: no ARN at all  # mappings[4].EventSourceArn: ARN
  - FunctionName: works
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:b
    BatchSize: "10"          # mappings[5].BatchSize: 10
    StartingPosition: LATEST  # mappings[5].StartingPosition: for streams only
  - FunctionName: works      # mappings[6].StartingPosition: Member must not be null
    EventSourceArn: arn:aws:kinesis:us-east-1:000000000000:stream/b
    BatchSize: 0             # mappings[6].BatchSize: from 1 to 10000
  - FunctionName: works
    EventSourceArn: arn:aws:sqs:us-east-1:000000000000:c.fifo
    MaximumBatchingWindowInSeconds: 1  # mappings[7].MaximumBatchingWindowInSeconds: FIFO
"""


# The config.


@pytest.mark.parametrize("name", ["check", "run"])
def test_a_wrong_config_is_a_line_for_each_problem(name: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG_CONFIG)
    ended = command(name, "wrong.yaml", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (WRONG, "")
    said = ended.stderr.splitlines()
    for number, line in enumerate(WRONG_CONFIG.splitlines(), 1):
        for path, words in re.findall(r"# ([\w.\[\]]+): (.+)", line):
            start = f"wrong.yaml:{number}: {path}: "
            assert any(each.startswith(start) and words in each for each in said), (start, said)
    assert len(said) == WRONG_CONFIG.count("# ")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text("functions: {}\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = command("run", "poller.yaml", "--listen", address, folder=tmp_path)
    assert ended.returncode == FAILED
    (line,) = ended.stderr.splitlines()
    assert f"cannot listen on {address}" in line


def test_a_debug_log_has_no_secrets_either(ministack_url: str) -> None:
    queue, missing = new_queue(ministack_url), f"arn:aws:sqs:us-east-1:{ACCOUNT}:missing"
    send(ministack_url, queue, "m")
    with (
        function(lambda call: errored() if call.number == 0 else Answer()) as stub,
        watched(
            config(ministack_url, Mapped(queue.arn, stub), Mapped(missing, stub)),
            *("--log-level", "debug"),
            ready=False,
        ) as running,
    ):
        await_line(running, "WARNING", "the function failed")
        await_line(running, "WARNING", "missing -> f1")
