"""What a run of a part (hosts, stages, another playbook) must not begin, because nothing in it would end it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provisioner.engine.plan import Desired
from provisioner.errors import ProvisionError
from provisioner.pki.cluster import STATE_FILE
from provisioner.resources.model import Present, Resource


def check_joining(desired: Sequence[Desired]) -> None:
    """A kubelet that is to join needs the token before it and its approval after it, both of which are the first
    control plane's, and that waits for the kubelet. Raises ProvisionError when one would wait for the other in vain."""
    asking = dict.fromkeys(host for host, each in _all(desired) if each.kind == "bootstrap_kubeconfig")
    token = any(
        each.kind == "bootstrap_token" and isinstance(each.desired, Present) for _, each in _all(desired)
    )
    admitted = {
        each.name: bool(each.spec["joining"]) for _, each in _all(desired) if each.kind == "node_joined"
    }
    if left := [host for host in asking if not token or host not in admitted]:
        raise ProvisionError(
            f"{', '.join(left)} would begin to join, and the run leaves out the first control plane's stages"
            " admission and join, which let nodes in",
            _take_along(left),
        )
    if left := [host for host, joining in admitted.items() if joining and host not in asking]:
        raise ProvisionError(
            f"{', '.join(left)} has not joined yet, and the run would wait for that in vain: it leaves out the stage"
            " kubelet there",
            _take_along(left),
        )


def _take_along(hosts: Sequence[str]) -> str:
    return f"take them along: --limit '{':'.join([*hosts, 'kube_control_plane[0]'])}', without --tags and --stage"


def check_saved(desired: Sequence[Desired]) -> None:
    """The keys of a cluster that does not exist yet have to be kept by the run that signs with them first. Raises
    ProvisionError when nothing of it does."""
    if not any(each.kind == "file" and each.name == STATE_FILE for _, each in _all(desired)):
        raise ProvisionError(
            "this cluster does not exist yet, and the playbook does not save its keys on the control planes",
            "make the cluster first, with `provision apply` and without --playbook",
        )


def _all(desired: Sequence[Desired]) -> Iterator[tuple[str, Resource]]:
    """Each resource with its host."""
    for stage in desired:
        for host, resources in stage.hosts.items():
            for each in resources:
                yield host, each
