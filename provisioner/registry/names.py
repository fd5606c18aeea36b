"""Where an upstream image lives in the private registry: the same path without the upstream's host.

No name is mangled: who knows the upstream's reference knows the registry's, and the other way round but for the host.
"""

from __future__ import annotations

import re

from provisioner.errors import ProvisionError

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# The distribution specification's grammar of names and tags.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def repository(upstream: str, project: str = "") -> str:
    """`upstream` is a name without a tag ("ghcr.io/flannel-io/flannel"); "busybox" means library/busybox."""
    host, path = _split(upstream)
    if host in _DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return f"{project}/{path}" if project else path


def upstream(name: str) -> str:
    """The whole name: "busybox" is docker.io/library/busybox, others keep what they have."""
    host, path = _split(name)
    if host not in _DOCKER_HUB:
        return name
    return f"docker.io/{path if '/' in path else f'library/{path}'}"


def pullable(registry: str, port: int, upstream: str, digest: str, project: str = "") -> str:
    """The reference, by digest, under which nodes pull the image `upstream` (a name without a tag)."""
    return f"{registry}:{port}/{repository(upstream, project)}@{digest}"


def by_tag(registry: str, port: int, reference: str, project: str = "") -> str:
    """Where the registry has the image `reference` (`name:tag`), whatever that is."""
    name, _, tag = reference.rpartition(":")
    return f"{registry}:{port}/{repository(name, project)}:{tag}"


def place(reference: str, project: str = "") -> tuple[str, str]:
    """Repository and tag of `name:tag`. Raises ProvisionError for a floating tag, or a name that no registry takes."""
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        name, tag = reference, ""
    if floats(tag):
        raise ProvisionError(
            f"{reference} has {'no tag' if not tag else 'a tag that floats'}: nobody could say what a cluster runs",
            f"give it a version before it is saved: docker tag {name or reference} {name or reference}:1.0",
        )
    where = repository(name, project)
    if not _NAME.fullmatch(where) or not _TAG.fullmatch(tag):
        raise ProvisionError(
            f"no registry takes the name {where}:{tag}", "small letters, digits, '.', '_' and '-' between '/'"
        )
    return where, tag


def floats(tag: str) -> bool:
    """Whether the tag names no version: it has no digit ("stable", "main", ""), or follows the newest one."""
    return not any(map(str.isdigit, tag)) or "latest" in re.split("[._-]", tag.lower())


def _split(name: str) -> tuple[str, str]:
    """Host and path of a name without a tag; the first part is a host if it looks like one."""
    host, slash, path = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return host, path
    return "docker.io", name
