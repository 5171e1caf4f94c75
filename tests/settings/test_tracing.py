"""The key `tracing`, with what the environment says beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from poller.settings import InvalidConfig, Settings, TracingConfig, load

WITHOUT_SDK = (
    "import sys; sys.modules['opentelemetry'] = None;"
    "from poller.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


def loaded(folder: Path, text: str, environ: Mapping[str, str]) -> Settings:
    path = folder / "poller.yaml"
    path.write_text(f"{text}\n")
    return load(path, environ, now=2e9)


def config(**given: object) -> TracingConfig:
    fields = {
        "url": "http://localhost:4318/v1/traces",
        "headers": {},
        "ratio": 1.0,
        "parent_based": True,
        "resource": {},
    }
    return TracingConfig(**{**fields, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("state: sqlite:x.db", {"OTEL_TRACES_SAMPLER": "garbage"}, None),
        ("tracing: false", {}, None),
        ("tracing: ${TRACING:-false}", {}, None),
        ("tracing: ${TRACING:-false}", {"TRACING": "true"}, config()),
        ("tracing: true", {}, config()),
        ("tracing: {}", {}, config()),
        (
            "tracing: true",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://h:1/below/"},
            config(url="https://h:1/below/v1/traces"),
        ),
        (
            "tracing: true",
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/as-it-is",
            },
            config(url="http://h/as-it-is"),
        ),
        (
            "tracing: {endpoint: 'http://c:4318', headers: {K: v}, sample: 0.1, service: orders,"
            " attributes: {team: stock}}",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_TRACES_SAMPLER": "always_off"},
            config(
                url="http://c:4318/v1/traces",
                headers={"K": "v"},
                ratio=0.1,
                resource={"team": "stock", "service.name": "orders"},
            ),
        ),
        (
            "tracing: {endpoint: 'http://c:4318/?key=k'}",
            {},
            config(url="http://c:4318/v1/traces?key=k"),
        ),
        (
            "tracing: true",
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            config(ratio=0.25),
        ),
        ("tracing: true", {"OTEL_TRACES_SAMPLER": "always_on"}, config(parent_based=False)),
        (
            "tracing: true",
            {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "1"},
            config(parent_based=False, ratio=0.0),
        ),
    ],
)
def test_the_file_goes_before_the_environment(
    tmp_path: Path, text: str, environ: Mapping[str, str], expected: TracingConfig | None
) -> None:
    settings = loaded(tmp_path, text, environ)
    assert (settings.tracing, settings.warnings) == (expected, ())


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("tracing: always", {}, "must be true, false or a block of keys; such as true"),
        ("tracing: {endpoint: h}", {}, ".endpoint: must be a URL such as"),
        ("tracing: {endpoint: 'http://u:hidden@h'}", {}, ".endpoint: must be a URL without a user"),
        ("tracing: {sample: 2}", {}, ".sample: must be a number from 0 to 1, not 2"),
        ("tracing: {headers: {Content-Type: x}}", {}, "is set by the exporter; remove it"),
        ("tracing: {headers: {K: \"hidden\\n\"}}", {}, ".headers.K: has a control character"),
        ("tracing: {service: ''}", {}, ".service: must be a name of 1 to 255 characters"),
        ("tracing: {endpont: x}", {}, ".endpont: "),
        ("tracing: true", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "must be http/protobuf, or not"),
        ("tracing: true", {"OTEL_TRACES_EXPORTER": "console"}, "must be otlp, or not set"),
        ("tracing: true", {"OTEL_TRACES_SAMPLER": "xray"}, "must be one of always_on, always_off"),
        (
            "tracing: {}",
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "lots"},
            "OTEL_TRACES_SAMPLER_ARG in the environment must be from 0 to 1",
        ),
        (
            "tracing: true",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "hidden:4317"},
            "OTEL_EXPORTER_OTLP_ENDPOINT in the environment must be a URL",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_a_line(
    tmp_path: Path, text: str, environ: Mapping[str, str], said: str
) -> None:
    with pytest.raises(InvalidConfig) as error:
        loaded(tmp_path, text, environ)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path}/poller.yaml:1: tracing")
    assert said in line
    assert "hidden" not in line


@pytest.mark.parametrize("off", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_the_environment_can_turn_it_off_which_is_said(tmp_path: Path, off: str) -> None:
    name, _, value = off.partition("=")
    settings = loaded(tmp_path, "tracing: true", {name: value})
    assert settings.tracing is None
    (warning,) = settings.warnings
    assert warning.endswith(f"tracing: is off, since the environment has {off}")


def test_headers_and_the_url_are_not_shown(tmp_path: Path) -> None:
    text = "tracing: {endpoint: 'http://c/?key=hidden', headers: {authorization: hidden}}"
    settings = loaded(tmp_path, text, {})
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("command", ["check", "run"])
def test_without_the_packages_there_is_one_line_with_what_to_install(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "poller.yaml").write_text("tracing: true\n")
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_SDK, command, "poller.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.endswith(
        "poller.yaml:1: tracing: needs OpenTelemetry's SDK, which is not installed; "
        "pip install 'poller[tracing]'"
    )
