"""The key `tracing`: where spans go, and which of them.

    tracing: true       what the standard variables of OpenTelemetry say
    tracing: {...}      the same, but for what is said here
    tracing: false      no spans, as without the key

What the exporter reads itself (OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE,
OTEL_BSP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) is not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

from poller.wire.problems import Problem

from .addresses import parse_url
from .file import ConfigFile
from .nodes import Block, Node, Scalar
from .readers import block, key, number, read_entry, text
from .schema import HEADER_NAME, header_value
from .values import TracingConfig

PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
ENDPOINT_DEFAULT = "http://localhost:4318"  # OpenTelemetry's
TRACES_PATH = "/v1/traces"
PROTOCOL = "http/protobuf"
NAME_LENGTH_MAX = 255
VALUE_LENGTH_MAX = 4_096

# What each request says itself, and what frames it.
RESERVED_HEADERS = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    )
)

_OFF = ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")
_ONE_OF = (
    ("OTEL_TRACES_EXPORTER", "otlp"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", PROTOCOL),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOL),
)
_PARENT_BASED = "parentbased_"
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}  # None: by the argument


def _header(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of a header")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError("is set by the exporter; remove it")
    return name


def _url(given: str) -> str:
    return parse_url(given, user_allowed=False)


def _name(given: str) -> str:
    if not given or len(given) > NAME_LENGTH_MAX:
        raise ValueError(f"must be a name of 1 to {NAME_LENGTH_MAX} characters")
    return given


def _value(given: str) -> str:
    if len(given) > VALUE_LENGTH_MAX:
        raise ValueError(f"must be up to {VALUE_LENGTH_MAX} characters")
    return given


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TracingEntry:
    endpoint: str | None = key(text(_url))
    headers: Mapping[str, str] | None = key(block(_header, text(header_value)))
    sample: float | None = key(number(0, 1, float))
    service: str | None = key(text(_name))
    attributes: Mapping[str, str] | None = key(block(_name, text(_value)))


def read_tracing(
    file: ConfigFile, node: Node | None, environ: Mapping[str, str]
) -> TracingConfig | None:
    """What `tracing` and the environment say; None where nothing is traced, or something is wrong,
    which is noted."""
    match node:
        case None | Scalar(value=False):
            return None
        case Scalar(value=True):
            entry: TracingEntry | list[Problem] = TracingEntry()
        case Block():
            entry = read_entry(TracingEntry, node)
        case _:
            entry = [Problem((), "must be true, false or a block of keys", "such as true")]
    if isinstance(entry, TracingEntry):
        if off := [
            f"{name}={said}" for name, said in _OFF if environ.get(name, "").lower() == said
        ]:
            file.warn(Problem(("tracing",), f"is off, since the environment has {off[0]}"))
            return None
        try:
            return _config(entry, environ)
        except ValueError as error:
            entry = [Problem((), str(error))]
    file.note(*(problem.below("tracing") for problem in entry))
    return None


def _config(entry: TracingEntry, environ: Mapping[str, str]) -> TracingConfig:
    """Raises ValueError."""
    if not _installed():
        raise ValueError(
            "needs OpenTelemetry's SDK, which is not installed; pip install 'poller[tracing]'"
        )
    for name, said in _ONE_OF:
        if environ.get(name, said) not in {"", said}:
            raise ValueError(f"{name} in the environment must be {said}, or not set")
    parent_based, ratio = _sampling(environ) if entry.sample is None else (True, entry.sample)
    attributes = dict(entry.attributes or {})
    if entry.service is not None:
        attributes["service.name"] = entry.service
    return TracingConfig(
        url=_endpoint(entry.endpoint, environ),
        headers=MappingProxyType(entry.headers or {}),
        ratio=ratio,
        parent_based=parent_based,
        resource=MappingProxyType(attributes),
    )


def _installed() -> bool:
    try:
        return all(find_spec(package) is not None for package in PACKAGES)
    except ModuleNotFoundError:  # of what a package is in
        return False


def _endpoint(given: str | None, environ: Mapping[str, str]) -> str:
    """The URL that spans are posted to.  Raises ValueError."""
    if given is not None:
        return _below(given)
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if said := environ.get(name):
            try:
                url = _url(said)
            except ValueError as error:
                raise ValueError(f"{name} in the environment {error}") from None
            return url if "TRACES" in name else _below(url)
    return _below(ENDPOINT_DEFAULT)


def _below(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(path=parts.path.removesuffix("/") + TRACES_PATH))


def _sampling(environ: Mapping[str, str]) -> tuple[bool, float]:
    """Whether parents decide, and how many of the others.  Raises ValueError."""
    name = environ.get("OTEL_TRACES_SAMPLER") or f"{_PARENT_BASED}always_on"
    kind = name.removeprefix(_PARENT_BASED)
    if kind not in _SAMPLERS:
        known = ", ".join([*_SAMPLERS, *(f"{_PARENT_BASED}{each}" for each in _SAMPLERS)])
        raise ValueError(f"OTEL_TRACES_SAMPLER in the environment must be one of {known}")
    ratio = _SAMPLERS[kind]
    return name != kind, _argument(environ) if ratio is None else ratio


def _argument(environ: Mapping[str, str]) -> float:
    try:
        ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG") or 1.0)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ValueError("OTEL_TRACES_SAMPLER_ARG in the environment must be from 0 to 1")
    return ratio
