"""Where a service is and how it is spoken to, resolved by botocore's own data and settings."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.loaders import create_loader
from botocore.utils import ensure_boolean, get_environ_proxies

from poller.errors import PollerError

from .signing import Route, route


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the JSON protocols, as its model describes it, and where it is called.

    `target` is the prefix of X-Amz-Target; `signed_as` the service's name in signatures.
    """

    name: str
    route: Route
    content_type: str
    target: str
    signed_as: str


def json_service(session: Any, name: str, region: str, url: str | None) -> Service:
    """The service `name` at `url`, or where AWS has it.  Raises PollerError.

    The service's model is read with a loader of its own, so that nothing of it is kept.
    """
    loader = create_loader(session.get_config_variable("data_path"))
    try:
        about = loader.load_service_model(name, "service-2")["metadata"]
        where = url or _aws_url(session, loader, name, region)
    except BotoCoreError as error:
        raise PollerError(f"the endpoint of {name} in {region}: {error}") from None
    if about["protocol"] != "json":
        raise PollerError(f"{name} does not speak JSON but {about['protocol']}")
    return Service(
        name=name,
        route=route(where),
        content_type=f"application/x-amz-json-{about['jsonVersion']}",
        target=about["targetPrefix"],
        signed_as=about.get("signingName", about["endpointPrefix"]),
    )


def service_route(session: Any, name: str, region: str, url: str | None) -> Route:
    """Where the service `name` is: at `url`, or where AWS has it.  Raises PollerError."""
    loader = create_loader(session.get_config_variable("data_path"))
    try:
        return route(url or _aws_url(session, loader, name, region))
    except BotoCoreError as error:
        raise PollerError(f"the endpoint of {name} in {region}: {error}") from None


def _aws_url(session: Any, loader: Any, name: str, region: str) -> str:

    rules = loader.load_service_model(name, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    found = provider.resolve_endpoint(
        Region=region,
        UseDualStack=bool(session.get_config_variable("use_dualstack_endpoint")),
        UseFIPS=bool(session.get_config_variable("use_fips_endpoint")),
    )
    return str(found.url)


def configured_url(
    session: Any, service: str, endpoint_url: str | None, endpoints: Mapping[str, str]
) -> str | None:
    """The endpoint that settings, environment or profile give `service`; None: AWS's own.

    The settings come first; then botocore's order: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL,
    the profile's `services` section, the profile's `endpoint_url`.
    """
    if given := endpoints.get(service) or endpoint_url:
        return given
    try:
        if ensure_boolean(session.get_config_variable("ignore_configured_endpoint_urls") or False):
            return None
        profile = session.get_scoped_config()
        found = ConfiguredEndpointProvider(session.full_config, profile, service).provide()
    except BotoCoreError as error:
        raise PollerError(f"the endpoint of {service}: {error}") from None
    return str(found) if found else None


def is_loopback(url: str) -> bool:
    """Whether `url` can only be something on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(origin: str) -> str | None:
    """The proxy of HTTP_PROXY, HTTPS_PROXY and NO_PROXY for `origin`, as botocore reads them."""
    found = ProxyConfiguration(get_environ_proxies(origin)).proxy_url_for(origin)
    return str(found) if found else None


def tls_context(session: Any) -> ssl.SSLContext:
    """Trusts what botocore trusts: ca_bundle or AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, its own.

    Raises PollerError if that bundle cannot be read.
    """
    configured = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    bundle = configured or get_cert_path(True)
    try:
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        raise PollerError(
            f"the CA bundle {bundle} cannot be used ({error}); check AWS_CA_BUNDLE"
        ) from None
