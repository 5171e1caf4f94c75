"""The config file: read, checked and turned into frozen values; only cli and service use it."""

from poller.errors import InvalidConfig

from .functions import undeclared
from .loading import load, override
from .values import (
    AwsConfig,
    EndpointConfig,
    FunctionConfig,
    HandlerConfig,
    MappingSettings,
    Settings,
)

__all__ = [
    "AwsConfig",
    "EndpointConfig",
    "FunctionConfig",
    "HandlerConfig",
    "InvalidConfig",
    "MappingSettings",
    "Settings",
    "load",
    "override",
    "undeclared",
]
