"""Where an upstream image lives in the private registry: the same path without the upstream's host."""

from __future__ import annotations


def repository(upstream: str, project: str = "") -> str:
    """`upstream` is a name without a tag ("ghcr.io/flannel-io/flannel"); "busybox" means library/busybox."""
    host, slash, path = upstream.partition("/")
    if not slash:
        path = f"library/{upstream}"
    elif not ("." in host or ":" in host or host == "localhost"):
        path = upstream
    return f"{project}/{path}" if project else path


def pullable(registry: str, port: int, upstream: str, digest: str, project: str = "") -> str:
    """The reference, by digest, under which nodes pull the image `upstream` (a name without a tag)."""
    return f"{registry}:{port}/{repository(upstream, project)}@{digest}"


def by_tag(registry: str, port: int, reference: str, project: str = "") -> str:
    """Where the registry has the image `reference` (`name:tag`), whatever that is."""
    name, _, tag = reference.rpartition(":")
    return f"{registry}:{port}/{repository(name, project)}:{tag}"
