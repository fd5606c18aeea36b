"""From an inventory file to desired state: what every command begins with."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provisioner import __version__
from provisioner.action.choice import check_choice
from provisioner.action.hostvars import common_variables, host_variables
from provisioner.action.modules import BASE_MODULES, CLUSTER_MODULES
from provisioner.action.reach import all_reached
from provisioner.engine.events import Emit
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.labs import lab_of
from provisioner.inventory.model import Host, Inventory, load_inventory
from provisioner.inventory.secrets import Secret
from provisioner.playbook.facts import Facts, facts_script, parse_facts
from provisioner.playbook.load import load_playbook, shipped
from provisioner.playbook.model import Playbook, Selection, Stage
from provisioner.remote.hostkeys import KnownHosts
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.resources.model import Owned
from provisioner.resources.modprobe import IPVS_MODULES
from provisioner.resources.owned import parse_owned

# The rest is imported by `get_ready` while the hosts are being connected; and what only a cluster needs, 0.2 s, not at
# all for a playbook without a cluster.
if TYPE_CHECKING:
    from provisioner.action.variables import ClusterVariables
    from provisioner.bundle.layout import Bundle
    from provisioner.engine.plan import Desired
    from provisioner.pki.cluster import ClusterState
    from provisioner.resources.model import AnyKind, Module
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

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the run, in inventory order: those that some stage names."""
        chosen = {host.name for stage in self.playbook.stages for host in _matching(self.inventory, stage)}
        if self.request.limit:
            limited = {host.name for host in self.inventory.match(self.request.limit)}
            chosen = (chosen & limited) | {host.name for host in self.inventory.group("kube_control_plane")}
        return tuple(name for name in self.inventory.hosts if name in chosen)

    @property
    def kernel_modules(self) -> tuple[str, ...]:
        """What the spec needs that not every kernel has."""
        return IPVS_MODULES if self.spec is not None and self.spec.proxy.mode == "ipvs" else ()

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


@dataclass(frozen=True)
class Memory:
    """What the hosts remember to be ours, by host and resource id, and the name of this playbook in that."""

    playbook: str
    owned: Mapping[str, Mapping[str, Owned]]


@dataclass(frozen=True)
class Prepared:
    """Everything that the engine needs. `cluster` is None without a spec."""

    loaded: Loaded
    facts: Mapping[str, Facts]
    kinds: Mapping[str, AnyKind]
    desired: tuple[Desired, ...]
    inputs: str
    memory: Memory
    cluster: ClusterVariables | None
    fresh: ClusterState | None = None
    """The identity of a cluster that does not exist yet."""

    @property
    def established(self) -> bool:
        """Some node has joined the cluster."""
        return self.cluster is not None and len(self.cluster.joining) < len(self.cluster.node_names)


def load(request: Request) -> Loaded:
    """Reads and checks all input files; no host is reached. Raises InputError with every problem."""
    inventory, spec = _inputs_of(request)
    path = request.playbook or shipped("playbooks") / "site.yaml"
    modules = {*BASE_MODULES, *(CLUSTER_MODULES if spec else ())}
    playbook = load_playbook(path, modules)
    check_choice(request.selection, request.limit, playbook, inventory)
    bundle = _bundle(inventory, spec) if spec else None
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    loaded = Loaded(request, inventory, spec, playbook, bundle, run)
    if not loaded.hosts:
        place = "--limit" if request.limit else str(path)
        raise InputError([Problem(place, 0, 0, "the playbook has no stage for any of the hosts")])
    return loaded


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


def _bundle(inventory: Inventory, spec: ClusterSpec) -> Bundle:
    from provisioner.action.source import bundle_of

    return bundle_of(inventory, spec)


def connect(loaded: Loaded) -> Pool:
    """The sessions of the run; nothing is dialled yet."""
    return connect_to(loaded.inventory)


def get_ready(loaded: Loaded, pool: Pool) -> None:
    """Begins to connect the hosts and, until they answer, imports what comes after: 0.1 s, with a cluster 0.3 s."""
    pool.warm(loaded.hosts)
    from provisioner.action import carry, kinds  # noqa: F401
    from provisioner.playbook import compile as _compile  # noqa: F401

    if loaded.spec is not None:
        from provisioner.action import clusterkinds, variables  # noqa: F401


def connect_to(inventory: Inventory) -> Pool:
    """Sessions for an inventory's hosts. A lab's own key and host keys are found by its name."""
    folder = lab_of(inventory)
    key = folder / "id_ed25519" if folder else None
    connections = {name: host.connection for name, host in inventory.hosts.items()}
    keys = [key] if key and key.exists() else []
    return Pool(connections, known_hosts=KnownHosts.load(known_hosts_files(inventory)), key_files=keys)


def known_hosts_files(inventory: Inventory) -> list[Path]:
    """Where host keys are looked for: the lab's, the inventory's, the user's."""
    folder = lab_of(inventory)
    files = [folder / "known_hosts"] if folder else []
    return [*files, inventory.path.parent / "known_hosts", Path("~/.ssh/known_hosts").expanduser()]


def prepare(loaded: Loaded, pool: Pool, emit: Emit, *, changes: bool = True) -> Prepared:
    """Facts of all hosts, then the compiled wishes. Raises UnreachableError naming every host that is not reached.

    Without `changes` to come, more is let pass (see `admit`).
    """
    get_ready(loaded, pool)
    facts = gather(loaded, pool)
    if loaded.spec is not None:
        from provisioner.action.admission import admit

        admit(loaded, loaded.spec, facts, emit, changes=changes)
    return compile_with(loaded, facts, emit)


def compile_with(
    loaded: Loaded, facts: Mapping[str, Facts], emit: Emit, *, for_show: bool = False
) -> Prepared:
    """The compiled wishes for hosts of which `facts` are known. Pure but for a new cluster's keys.

    Raises ProvisionError for a part of a cluster that does not exist yet, unless it is `for_show` and never carried
    out.
    """
    from provisioner.action.kinds import base_modules, kinds_of
    from provisioner.action.leftovers import with_leftovers

    modules: dict[str, Module] = dict(base_modules(deep=loaded.request.deep))
    cluster: ClusterVariables | None = None
    fresh: ClusterState | None = None
    state: ClusterState | None = None
    if loaded.spec is not None and loaded.bundle is not None:
        from provisioner.action.carried import Carried
        from provisioner.action.clusterkinds import ClusterKinds, cluster_modules
        from provisioner.action.fixed import check_fixed, fixed_of
        from provisioner.action.ospackages import files_for
        from provisioner.action.variables import ClusterVariables
        from provisioner.kube.token import BootstrapToken

        planes = {host.name for host in loaded.inventory.group("kube_control_plane")}
        carried = Carried.of(facts, planes)
        state = carried.agreed(loaded.spec.name, _pending(loaded.request))
        started = any(each.kubelet_certificate for each in facts.values())
        if not (state.fixed and started):
            state = replace(state, fixed=fixed_of(loaded.spec))
        check_fixed(loaded.inventory, loaded.spec, state)
        fresh = None if carried.states else state
        if fresh and loaded.request.partial and not for_show:
            raise ProvisionError(
                "this cluster does not exist yet: its keys have to be saved before anything is signed with them",
                "apply it once without --limit, --tags and --stage",
            )
        cluster = ClusterVariables(loaded.inventory, loaded.spec, state, facts, loaded.bundle)
        platforms = {host: each.platform for host, each in facts.items()}
        own = ClusterKinds(
            loaded.spec, loaded.bundle, state, platforms, BootstrapToken(), emit, loaded.request.deep,
            files_for(facts, loaded.bundle),
        )  # fmt: skip
        modules |= cluster_modules(own)
    desired = _compile(loaded, modules, cluster, facts)
    kinds = kinds_of(modules)
    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    playbook = f"site of {state.uuid}" if state and not loaded.request.playbook else loaded.playbook_path
    desired = with_leftovers(loaded, desired, owned, kinds, playbook)
    memory = Memory(playbook, owned)
    return Prepared(loaded, facts, kinds, desired, _inputs(loaded), memory, cluster, fresh)


def _pending(request: Request) -> Secret | None:
    """The identity that an agreed plan promised to a new cluster."""
    if request.identity is None:
        return None
    from provisioner.action.pending import read_pending

    return read_pending(request.identity)


def gather(loaded: Loaded, pool: Pool) -> dict[str, Facts]:
    """Facts by host, one exec each, in parallel. Raises as `usable`."""
    packages: Mapping[str, Mapping[str, Sequence[str]]] = {}
    if loaded.spec is not None:
        from provisioner.action.ospackages import asked_of

        packages = asked_of(loaded.inventory, loaded.spec)
    firewall = loaded.spec is not None and loaded.spec.firewall != "ignore"
    return usable(gather_each(pool, loaded.hosts, loaded.kernel_modules, packages, firewall=firewall))


def gather_each(
    pool: Pool,
    hosts: Sequence[str],
    modules: Sequence[str] = (),
    packages: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType({}),
    *,
    firewall: bool = False,
) -> dict[str, Facts | Exception]:
    """Facts by host, or what was raised instead. `modules`: of the kernel, to be looked for; `packages`: by host and
    distribution."""

    def ask(session: Session) -> Facts:
        began = time.time()
        script = facts_script(modules, packages.get(session.host), firewall=firewall)
        return parse_facts(session.host, session.run(script, deadline=90).stdout, began)

    return pool.map(hosts, ask)


def usable(answers: Mapping[str, Facts | Exception]) -> dict[str, Facts]:
    """The facts. Raises UnreachableError with all that were not reached, ProvisionError for those without root rights
    or tools."""
    facts = all_reached(answers)
    plain = [host for host, each in facts.items() if not each.root]
    if plain:
        raise ProvisionError(
            f"not root on {', '.join(plain)}", "set ansible_become: true, or log in as root with ansible_user"
        )
    poor = [
        f"{host} lacks {', '.join(each.missing_tools)}" for host, each in facts.items() if each.missing_tools
    ]
    if poor:
        raise ProvisionError(
            "; ".join(poor), "install tar, gzip, iproute2, kmod, coreutils, util-linux, findutils"
        )
    return facts


def _compile(
    loaded: Loaded,
    modules: Mapping[str, Module],
    cluster: ClusterVariables | None,
    facts: Mapping[str, Facts],
) -> tuple[Desired, ...]:
    from provisioner.engine.plan import Desired
    from provisioner.playbook.compile import Compiler
    from provisioner.playbook.render import keep_compiled

    compiler = Compiler(loaded.playbook, modules, loaded.request.selection)
    variables = _lazily(loaded, cluster, facts)
    limited = (
        {host.name for host in loaded.inventory.match(loaded.request.limit)} if loaded.request.limit else None
    )
    desired = []
    for stage in loaded.playbook.stages:
        if not loaded.request.selection.wants_stage(stage):
            continue
        hosts = [each.name for each in _matching(loaded.inventory, stage)]
        chosen = [host for host in hosts if host in facts and (limited is None or host in limited)]
        resources = {host: compiler.stage(stage, host, variables(host)) for host in chosen}
        wanted = {host: each for host, each in resources.items() if each}
        desired.append(Desired(stage.name, wanted, stage.serial, stage.gate, stage.always, stage.barrier))
    keep_compiled()
    return tuple(desired)


def _lazily(
    loaded: Loaded, cluster: ClusterVariables | None, facts: Mapping[str, Facts]
) -> Callable[[str], Mapping[str, Any]]:
    made: dict[str, Mapping[str, Any]] = {}
    common = common_variables(loaded.inventory)

    def of(host: str) -> Mapping[str, Any]:
        if host not in made:
            own = host_variables(loaded.inventory.hosts[host], common)
            made[host] = {**own, **(cluster.of(host) if cluster else {"facts": facts[host]})}
        return made[host]

    return of


def _matching(inventory: Inventory, stage: Stage) -> Sequence[Host]:
    """Hosts of a stage's pattern; a group of ours that the inventory leaves out is empty, not an error."""
    try:
        return inventory.match(stage.hosts)
    except InputError as fault:
        where = (stage.document.file, *stage.document.at((*stage.where, "hosts")))
        raise InputError([Problem(*where, each.reason, each.hint) for each in fault.problems]) from None


def _inputs(loaded: Loaded) -> str:
    digest = hashlib.sha256(__version__.encode())
    for each in (
        loaded.inventory.digest,
        loaded.playbook.digest,
        loaded.bundle.digest if loaded.bundle else "",
    ):
        digest.update(each.encode())
    digest.update(repr((loaded.request.limit, sorted(loaded.request.selection.tags))).encode())
    return digest.hexdigest()
