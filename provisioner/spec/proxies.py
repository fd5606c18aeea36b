"""The HTTP proxy between a site and the world, and what must not go through it."""

from __future__ import annotations

from urllib.parse import urlsplit

from provisioner.spec.model import ClusterSpec

LOCAL = ("localhost", "127.0.0.1", "::1")


def no_proxy(spec: ClusterSpec) -> tuple[str, ...]:
    """What is reached directly: the hosts, pods and services of the cluster and its registry, and what the spec names.

    In the words that Go's programs and curl agree on: names, domains with a dot in front, addresses and CIDRs
    (golang.org/x/net/http/httpproxy).
    """
    own = spec.http_proxy.no_proxy if spec.http_proxy else ()
    found = (
        *LOCAL,
        *spec.network.pod_cidrs,
        *spec.network.service_cidrs,
        *(node.address for node in spec.nodes.values()),
        *spec.nodes,
        spec.endpoint.host,
        spec.registry.host,
        ".svc",
        f".{spec.dns.domain}",
        *own,
    )
    return tuple(dict.fromkeys(found))


def environment(spec: ClusterSpec) -> dict[str, str]:
    """The variables by which programs learn of the proxy, small and capital; none without one."""
    if spec.http_proxy is None:
        return {}
    url, around = spec.http_proxy.url, ",".join(no_proxy(spec))
    pairs = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": around}
    return {**pairs, **{name.lower(): value for name, value in pairs.items()}}


def described(url: str) -> str:
    """The proxy as it is told to people."""
    return urlsplit(url).netloc
