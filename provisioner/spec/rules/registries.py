"""A registry outside the inventory: its authority, its account, and what Harbor needs."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import REGISTRY, Draft

# Publishers' registries, from which images are taken and into which nobody means to push a cluster's.
_PUBLIC = frozenset(
    (
        *("docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com"),
        *("quay.io", "ghcr.io", "registry.k8s.io", "k8s.gcr.io", "gcr.io"),
        *(
            "mcr.microsoft.com",
            "public.ecr.aws",
            "nvcr.io",
            "registry.access.redhat.com",
            "registry.redhat.io",
        ),
    )
)


def account_of_a_registry(draft: Draft) -> Iterator[Problem]:
    """An authority and an account are those of a registry that exists."""
    ours = "this tool makes the registry" if draft.group(REGISTRY) else ""
    if draft.get("registry", "preload") is True:
        ours = "there is no registry (preload)"
    for key in ("ca", "username", "password"):
        if ours and draft.get("registry", key) is not None:
            reason = f"{key} is that of a registry outside the inventory, and {ours}"
            yield draft.problem(("registry", key), reason, "take it out")
    pair = [key for key in ("username", "password") if draft.get("registry", key) is not None]
    if len(pair) == 1:
        reason = f"{pair[0]} without {'password' if pair[0] == 'username' else 'username'}"
        yield draft.problem(("registry", pair[0]), reason, "give both, the password as !secret {env: NAME}")


def host_is_a_registry_of_ours(draft: Draft) -> Iterator[Problem]:
    """All images are pushed there; with preload its name begins their references all the same."""
    host = draft.get("registry", "host")
    if isinstance(host, str) and host in _PUBLIC:
        reason = f"host: '{host}' is where images come from, not a registry of yours"
        hint = "name the one that nodes pull from, into which this tool pushes"
        yield draft.problem(("registry", "host"), reason, hint)


def images_can_be_named(draft: Draft) -> Iterator[Problem]:
    """The name begins the references of all images, and that of a folder on nodes."""
    host = draft.get("registry", "host")
    if isinstance(host, str) and ":" in host:
        reason = f"host: '{host}' cannot be a part of images' names"
        yield draft.problem(("registry", "host"), reason, "a name that nodes resolve, or an IPv4 address")


def harbor_has_its_project(draft: Draft) -> Iterator[Problem]:
    """Harbor keeps every image in a project, and takes pushes from accounts only."""
    if draft.get("registry", "kind") != "harbor":
        if isinstance(draft.get("registry", "public"), bool):
            reason = "public is said of a project of Harbor's"
            yield draft.problem(("registry", "public"), reason, "add kind: harbor, or take it out")
        return
    if draft.group(REGISTRY):
        reason = "the registry that this tool makes is no Harbor"
        yield draft.problem(
            ("registry", "kind"), reason, f"leave the group '{REGISTRY}' empty, or take kind out"
        )
        return
    if draft.get("registry", "project", default="") == "":
        reason = "Harbor keeps every image in a project"
        yield draft.problem(("registry", "kind"), reason, "name it in project; it is made if it is not there")
    if draft.get("registry", "username") is None and draft.get("registry", "password") is None:
        reason = "Harbor takes images from accounts only"
        yield draft.problem(("registry", "kind"), reason, "add username, and password as !secret {env: NAME}")
