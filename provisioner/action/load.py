"""From an inventory file to what is known without a host: what every command begins with."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.action.choice import check_choice
from provisioner.action.modules import BASE_MODULES, CLUSTER_MODULES
from provisioner.action.registryinputs import check_registry_inputs
from provisioner.engine.events import Emit, silent
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Host, Inventory, load_inventory
from provisioner.network.needs import modules_of_attachments, needs_of
from provisioner.playbook.load import load_playbook, shipped
from provisioner.playbook.model import Playbook, Selection, Stage
from provisioner.resources.modprobe import modules_of
from provisioner.resources.sysctl import setting_path

if TYPE_CHECKING:  # what only a cluster needs takes 0.2 s to import
    from provisioner.action.transition import Transition
    from provisioner.bundle.layout import Bundle
    from provisioner.spec.model import ClusterSpec


@dataclass(frozen=True)
class Request:
    """What the user asked for. `playbook` None is the shipped one. `deep` hashes large files instead of trusting
    the stat of their installation."""

    inventory: Path
    playbook: Path | None = None
    limit: str | None = None
    selection: Selection = field(default_factory=Selection)
    deep: bool = False
    identity: str | None = None
    """The uuid that an agreed plan promised to a new cluster."""
    of_others: bool = False
    """Also a cluster that stays its builder's, such as kubeadm's."""

    @property
    def partial(self) -> bool:
        """Whether it leaves out hosts or stages."""
        return bool(self.limit or self.selection.tags or self.selection.stages)


@dataclass(frozen=True)
class Loaded:
    """Everything that is known without a host. `spec` is None for a playbook without a cluster."""

    request: Request
    inventory: Inventory
    spec: ClusterSpec | None
    playbook: Playbook
    bundle: Bundle | None
    run: str
    transition: Transition | None = None
    """Of the pod network, in a run of `migrate`."""

    @property
    def cluster(self) -> ClusterSpec:
        """The spec, of who has asked whether there is one. Raises ProvisionError where there is none."""
        if self.spec is None:
            raise ProvisionError("the inventory has no cluster")
        return self.spec

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the run, in inventory order: those that some stage names, and the control planes, because they
        know which cluster it is."""
        chosen = self.named
        if self.spec is not None or self.request.limit:
            chosen |= {host.name for host in self.inventory.group("kube_control_plane")}
        return tuple(name for name in self.inventory.hosts if name in chosen)

    @property
    def named(self) -> set[str]:
        """Those that some stage names, and the limit."""
        chosen = {host.name for stage in self.playbook.stages for host in matching(self.inventory, stage)}
        if self.request.limit:
            chosen &= {host.name for host in self.inventory.match(self.request.limit)}
        return chosen

    @property
    def kernel_modules(self) -> tuple[str, ...]:
        """What the spec needs that not every kernel has."""
        if self.spec is None:
            return ()
        network = (*needs_of(self.spec).modules, *modules_of_attachments(self.spec))
        return tuple(dict.fromkeys([*modules_of(self.spec.proxy.mode), *network]))

    @property
    def tuned_settings(self) -> tuple[str, ...] | None:
        """Paths of the kernel's that the spec's tuning sets; None when it tunes nothing."""
        return settings_of(self.spec) if self.spec is not None else None

    @property
    def playbook_path(self) -> str:
        """By which the hosts remember what it wanted; another playbook's things are none of this one's."""
        return str(self.request.playbook.resolve()) if self.request.playbook else "site"

    @property
    def state_host(self) -> str:
        """Where the cluster's lock is held: the first control plane, else the first host."""
        return next((host.name for host in self.inventory.group("kube_control_plane")), self.hosts[0])

    @property
    def holder(self) -> str:
        """Who holds the locks of this run."""
        return f"{self.who}, pid {os.getpid()}, run {self.run}"

    @property
    def who(self) -> str:
        """Who began this run, and where."""
        return f"{getpass.getuser()}@{socket.gethostname()}"


def settings_of(spec: ClusterSpec) -> tuple[str, ...] | None:
    """Paths of the kernel's that the spec's tuning sets; None when it tunes nothing."""
    if not spec.tuning.asked:
        return None
    return tuple(setting_path(key) for key in spec.tuning.settings)


def load(request: Request, emit: Emit = silent, bundle: Bundle | None = None) -> Loaded:
    """Reads and checks all input files; no host is reached. Raises InputError with every problem.

    A bundle that is one file is unpacked, once, which may take a while: `emit` gets the progress. `bundle` takes the
    place of the spec's own.
    """
    inventory, spec = _inputs_of(request)
    if spec and not request.of_others:
        _check_ours(inventory, spec)
    site = "existing.yaml" if spec and spec.existing else "site.yaml"
    path = request.playbook or shipped("playbooks") / site
    modules = {*BASE_MODULES, *(CLUSTER_MODULES if spec else ())}
    playbook = load_playbook(path, modules)
    check_choice(request.selection, request.limit, playbook, inventory)
    if spec:
        check_registry_inputs(inventory, spec.registry)
    bundle = _bundle(inventory, spec, emit, bundle) if spec else None
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    loaded = Loaded(request, inventory, spec, playbook, bundle, run)
    if not loaded.named:
        place = "--limit" if request.limit else str(path)
        raise InputError([Problem(place, 0, 0, "the playbook has no stage for any of the hosts")])
    return loaded


def _check_ours(inventory: Inventory, spec: ClusterSpec) -> None:
    """Raises InputError for a cluster of which this tool changes nothing but the pod network."""
    from provisioner.spec.versions import KUBEADM

    if spec.existing is not None and spec.existing.preset == KUBEADM:
        place = inventory.origin(None, "cluster", "existing")
        reason = "existing: what kubeadm has made is kubeadm's to change, but for its pod network"
        raise InputError([Problem(*place, reason, "`provision migrate` is for it")])


def _inputs_of(request: Request) -> tuple[Inventory, ClusterSpec | None]:
    """A playbook of the user's own may do without a cluster; the shipped one may not."""
    if request.playbook is not None:
        inventory = load_inventory(request.inventory)
        if "cluster" not in inventory.variables:
            return inventory, None
        from provisioner.spec.load import load_spec

        return inventory, load_spec(inventory)
    from provisioner.spec.load import load_cluster

    return load_cluster(request.inventory)


def _bundle(inventory: Inventory, spec: ClusterSpec, emit: Emit, given: Bundle | None) -> Bundle:
    from provisioner.action.source import bundle_of, check_bundle

    if given is None:
        return bundle_of(inventory, spec, emit)
    check_bundle(inventory, spec, given)
    return given


def matching(inventory: Inventory, stage: Stage) -> Sequence[Host]:
    """Hosts of a stage's pattern; a group of ours that the inventory leaves out is empty, not an error."""
    try:
        return inventory.match(stage.hosts)
    except InputError as fault:
        where = (stage.document.file, *stage.document.at((*stage.where, "hosts")))
        raise InputError([Problem(*where, each.reason, each.hint) for each in fault.problems]) from None
