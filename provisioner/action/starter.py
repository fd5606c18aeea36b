"""`init`: an inventory to begin with, which says what may stand in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import yaml

from provisioner import __version__
from provisioner.errors import InputError, Problem
from provisioner.spec.versions import CATALOGUED

FIRST_ADDRESSES = {"registry": "192.0.2.10", "cp": "192.0.2.11", "worker": "192.0.2.21,192.0.2.22"}
"""Where nobody says otherwise, by the prefix of the hosts' names. From the block for documentation (RFC 5737)."""

_MEMBERS = 5
"""More etcd members make a cluster slower and hardly safer."""

_HOST_OPTIONS = """\
          # What may stand under any host, here or in host_vars. The address for other hosts, where it is not the one
          # that is logged in to, and the network card that has it.
          #node_address: {address}
          #node_interface: eth0
          # Where pods have addresses of two IP families: the node's of the second one; without it that of its link.
          #node_address_second: 2001:db8::11
          # Labels and taints of the node.
          #node_labels: {{example.com/disk: ssd}}
          #node_taints: ["example.com/dedicated=batch:NoSchedule"]
          # As under `nodes` above, for this node; single amounts replace those of the same name, a list the whole list.
          #node_max_pods: 110
          #node_pod_pids_limit: 4096
          #node_kube_reserved: {{cpu: 100m}}
          #node_system_reserved: {{ephemeral-storage: 1Gi}}
          #node_eviction_hard: {{memory.available: 100Mi}}
          #node_selinux_booleans: [container_use_cephfs]
          # Whether a control-plane host joins as a node; it takes ordinary pods only when it is in kube_node, too.
          #node: true
          # The connection table that kube-proxy asks of the kernel: entries a core, and at least; 0 leaves it alone.
          #kube_proxy_conntrack_max_per_core: 32768
          #kube_proxy_conntrack_min: 131072
          # For hosts that are containers themselves: processes are not made less killable.
          #containerd_restrict_oom_score_adj: true
          # Whether kubelet starts on a host that has swap.
          #kubelet_allow_swap: false
"""


@dataclass(frozen=True)
class Machine:
    """A host's name, and where it is reached."""

    name: str
    address: str


def machines(prefix: str, words: Sequence[str]) -> tuple[Machine, ...]:
    """Hosts from what was typed: ADDRESS or NAME=ADDRESS, several apart by commas. Names are `prefix` and a number."""
    given = [part.strip() for word in words for part in word.split(",") if part.strip()]
    given = given or FIRST_ADDRESSES[prefix].split(",")
    found = []
    for number, part in enumerate(given, 1):
        name, _, address = part.rpartition("=")
        found.append(Machine(name or f"{prefix}{number}", address))
    return tuple(found)


def starter(name: str, planes: Sequence[Machine], workers: Sequence[Machine], registry: Machine) -> str:
    """The text of an inventory of the cluster `name`. Raises InputError when it would not be a valid one."""
    text = resources.files("provisioner.action").joinpath("starter.yaml").read_text(encoding="utf-8")
    groups = "\n".join(_groups(planes, workers, registry))
    parts = {"name": _scalar(name), "version": CATALOGUED, "own_version": __version__, "groups": groups}
    text = Template(text).substitute(parts)
    _check(text)
    return text


def write_starter(text: str, path: Path) -> None:
    """Writes the file. Raises InputError when there is one already, or it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        reason = "there is a file already, and none is written over"
        raise InputError([Problem(str(path), 0, 0, reason, "name another with -o")]) from None
    except OSError as fault:
        raise InputError(
            [Problem(str(path), 0, 0, f"cannot be written: {os.strerror(fault.errno or 0)}")]
        ) from None


def _groups(planes: Sequence[Machine], workers: Sequence[Machine], registry: Machine) -> list[str]:
    members = planes[: min(len(planes) - (len(planes) + 1) % 2, _MEMBERS)]
    first, *others = planes
    return [
        "    # The cluster's memory: one, three or five hosts, usually control planes.",
        "    etcd:",
        "      hosts:",
        *(f"        {_scalar(each.name)}:" for each in members),
        "    # Where the API server, the controllers and the scheduler run.",
        "    kube_control_plane:",
        "      hosts:",
        *_host(first),
        _HOST_OPTIONS.format(address=_scalar(first.address)).rstrip("\n"),
        *(line for each in others for line in _host(each)),
        "    # Where pods run.",
        "    kube_node:",
        "      hosts:",
        *(line for each in workers for line in _host(each)),
        "    # Gives the nodes their images. Leave the group out for a registry that exists, and name that above.",
        "    registry:",
        "      hosts:",
        *_host(registry),
    ]


def _host(machine: Machine) -> tuple[str, str]:
    return f"        {_scalar(machine.name)}:", f"          ansible_host: {_scalar(machine.address)}"


def _scalar(text: str) -> str:
    """Text as YAML reads it back: quoted where it would be a number, a boolean or nothing."""
    return yaml.safe_dump(text, allow_unicode=True, width=1000).removesuffix("\n...\n").rstrip("\n")


def _check(text: str) -> None:
    from provisioner.spec.load import load_cluster

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_cluster(path)
        except InputError as fault:
            told = [Problem("init", 0, 0, each.reason, each.hint) for each in fault.problems]
            raise InputError(told) from None
