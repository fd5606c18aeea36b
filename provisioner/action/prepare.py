"""From what is known without a host, by the hosts' facts, to what is wanted of each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from provisioner import __version__
from provisioner.action.connect import connect_to
from provisioner.action.gather import gather_each, usable
from provisioner.action.hostvars import common_variables, host_variables
from provisioner.action.load import Loaded, Request, matching
from provisioner.engine.events import Emit
from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.network.autodetect import target_of
from provisioner.network.needs import links_of
from provisioner.network.record import NetworkRecord
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.resources.owned import OF_CLUSTERS, parse_owned, taken_over

# The rest is imported by `_get_ready` while the hosts are being connected; and what only a cluster needs, 0.2 s, not at
# all for a playbook without a cluster.
if TYPE_CHECKING:
    from provisioner.action.connect import Begun
    from provisioner.action.existing import Takeover
    from provisioner.action.variables import ClusterVariables
    from provisioner.bundle.layout import Bundle
    from provisioner.engine.plan import Desired
    from provisioner.pki.cluster import ClusterState
    from provisioner.remote.pool import Pool
    from provisioner.resources.model import AnyKind, Module
    from provisioner.spec.model import ClusterSpec


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
        return self.cluster is not None and self.cluster.established

    def text(self, artifact: str) -> str:
        """Of a bundle's artifact. Raises ProvisionError where there is no bundle, or no such artifact in it."""
        if self.loaded.bundle is None:
            raise ProvisionError("there is no bundle")
        return self.loaded.bundle.artifact(artifact).path.read_text(encoding="utf-8")


def connect(loaded: Loaded, begun: Begun | None = None) -> Pool:
    """The sessions of the run, all of which are begun."""
    return connect_to(loaded.inventory, loaded.hosts, begun)


def _get_ready(loaded: Loaded, pool: Pool) -> None:
    """Begins to log in to the hosts and, until they answer, imports what comes after: 0.1 s, with a cluster 0.3 s."""
    pool.warm(loaded.hosts)
    from provisioner.action import carry, kinds  # noqa: F401
    from provisioner.playbook import compile as _compile  # noqa: F401

    if loaded.spec is not None:
        from provisioner.action import clusterkinds, variables  # noqa: F401


def prepare(
    loaded: Loaded,
    pool: Pool,
    emit: Emit,
    facts: Mapping[str, Facts] | None = None,
    *,
    changes: bool = True,
) -> Prepared:
    """Facts of all hosts, unless they are given, then the compiled wishes. Raises as `gather`.

    Without `changes` to come, more is let pass (see `admit`).
    """
    facts = gather(loaded, pool) if facts is None else facts
    if loaded.spec is not None:
        from provisioner.action.admission import admit

        admit(loaded, loaded.spec, facts, emit, changes=changes)
    prepared = compile_with(loaded, facts, emit)
    if prepared.cluster and changes:
        from provisioner.action.partial import check_joining

        check_joining(prepared.desired)
    return prepared


def gather(loaded: Loaded, pool: Pool) -> dict[str, Facts]:
    """Facts by host, one exec each, in parallel. Raises as `usable`."""
    _get_ready(loaded, pool)
    packages: Mapping[str, Mapping[str, Sequence[str]]] = {}
    if loaded.spec is not None:
        from provisioner.action.ospackages import asked_of

        packages = asked_of(loaded.inventory, loaded.spec)
    firewall = loaded.spec is not None and loaded.spec.firewall != "ignore"
    vip = loaded.spec.load_balancer.vip if loaded.spec is not None else None
    addresses = {host.name: vip for host in loaded.inventory.group("load_balancer") if vip}
    existing = loaded.spec.existing if loaded.spec else None
    return usable(
        gather_each(
            pool,
            loaded.hosts,
            loaded.kernel_modules,
            packages,
            firewall=firewall,
            addresses=addresses,
            existing=existing,
            settings=loaded.tuned_settings,
            masters=links_of(loaded.spec) if loaded.spec else (),
            towards=target_of(loaded.spec.network) if loaded.spec else "",
        )
    )


def compile_with(
    loaded: Loaded, facts: Mapping[str, Facts], emit: Emit, *, for_show: bool = False, ending: bool = False
) -> Prepared:
    """The compiled wishes for hosts of which `facts` are known. Pure but for a new cluster's keys.

    Raises ProvisionError for a part of a cluster that does not exist yet, unless it is `for_show` and never carried
    out; with `ending` the cluster's keys and data may be gone, and it may be another one than the spec has it.
    """
    from provisioner.action.kinds import base_modules, kinds_of
    from provisioner.action.leftovers import with_leftovers

    owned = {host: parse_owned(each.owned) for host, each in facts.items()}
    modules: dict[str, Module] = dict(base_modules(deep=loaded.request.deep))
    cluster: ClusterVariables | None = None
    identity: _Identity | None = None
    if loaded.spec is not None and loaded.bundle is not None:
        identity = _identity(loaded, loaded.spec, facts, owned, for_show=for_show, ending=ending)
        cluster = _cluster(loaded, loaded.spec, loaded.bundle, facts, identity)
        modules |= _modules(loaded, loaded.spec, loaded.bundle, facts, identity, emit)
    fresh = identity.state if identity and identity.new else None
    desired = _compile(loaded, modules, cluster, facts)
    if fresh and not for_show:
        from provisioner.action.partial import check_saved

        check_saved(desired)
    kinds = kinds_of(modules)
    playbook = loaded.playbook_path
    if identity and not loaded.request.playbook:
        playbook = f"{OF_CLUSTERS}{identity.state.uuid}"
        owned = {host: taken_over(each, playbook) for host, each in owned.items()}
    desired = with_leftovers(loaded, desired, owned, kinds, playbook)
    memory = Memory(playbook, owned)
    return Prepared(loaded, facts, kinds, desired, _inputs(loaded), memory, cluster, fresh)


@dataclass(frozen=True)
class _Identity:
    """Of a cluster: `new` when no host carries it yet; `founders` are the members that begin its etcd."""

    state: ClusterState
    new: bool
    founders: frozenset[str]
    takeover: Takeover | None
    record: NetworkRecord


def _identity(
    loaded: Loaded,
    spec: ClusterSpec,
    facts: Mapping[str, Facts],
    owned: Mapping[str, Mapping[str, Owned]],
    *,
    for_show: bool,
    ending: bool,
) -> _Identity:
    from provisioner.action.carried import Carried
    from provisioner.action.etcd import check_forgotten, founders_of
    from provisioner.action.fixed import check_fixed, moved_network, never_ran, with_fixed
    from provisioner.action.transition import check_none_begun, last_record, record_of
    from provisioner.pki.cluster import new_state

    carried = Carried.of(facts, {host.name for host in loaded.inventory.group("kube_control_plane")})
    if ending:  # as it is: it may be another one than the inventory's by now, and without its data
        state = carried.ending(spec.name, owned)
        return _Identity(state, not carried.states, frozenset(), None, last_record(facts))
    pending = None if carried.states else _pending(loaded.request)  # it is gone once a host has the state
    takeover: Takeover | None = None
    if spec.existing is not None:
        from provisioner.action.existing import take_over

        takeover = take_over(loaded.inventory, spec, facts, owned)
    adopt = takeover.adopt if takeover else new_state
    state = carried.agreed(spec.name, pending, adopt)
    if takeover:
        takeover.check(state)
        # Where a part of the hosts is read, a key that lies with etcd may be out of sight.
        takeover = replace(takeover, authorities=state.authorities)
    record = record_of(facts, loaded.inventory)
    carries, state = state, with_fixed(spec, state, facts, owned)
    if loaded.transition is None:
        if not for_show:
            check_none_begun(record, str(loaded.request.inventory))
        check_fixed(loaded.inventory, spec, state)
    else:
        there = moved_network(state, spec)
        check_fixed(loaded.inventory, spec, there)
        state = there if loaded.transition.settled else carries
    new = not carried.states
    if new and loaded.request.partial and not for_show:
        raise ProvisionError(
            "this cluster does not exist yet: its keys have to be saved before anything is signed with them",
            "apply it once without --limit, --tags and --stage",
        )
    founders = frozenset[str]()
    if takeover is None:  # what others have built has its own
        check_forgotten(loaded.inventory, facts, owned)
        founders = founders_of(loaded.inventory, facts, never_ran=new or never_ran(spec, facts, owned))
    return _Identity(state, new, founders, takeover, record)


def _cluster(
    loaded: Loaded, spec: ClusterSpec, bundle: Bundle, facts: Mapping[str, Facts], identity: _Identity
) -> ClusterVariables:
    from provisioner.action.transition import section_of
    from provisioner.action.variables import ClusterVariables, Networks

    return ClusterVariables(
        loaded.inventory,
        spec,
        identity.state,
        facts,
        bundle,
        identity.founders,
        identity.takeover,
        Networks(None if spec.existing else section_of(loaded.inventory), identity.record, loaded.transition),
    )


def _modules(
    loaded: Loaded,
    spec: ClusterSpec,
    bundle: Bundle,
    facts: Mapping[str, Facts],
    identity: _Identity,
    emit: Emit,
) -> Mapping[str, Module]:
    """The cluster's own."""
    from provisioner.action.clusterkinds import ClusterKinds, cluster_modules
    from provisioner.action.ospackages import files_for
    from provisioner.kube.token import BootstrapToken

    takeover = identity.takeover
    return cluster_modules(
        ClusterKinds(
            spec,
            bundle,
            identity.state,
            {host: each.platform for host, each in facts.items()},
            BootstrapToken(),
            emit,
            loaded.request.deep,
            files_for(facts, bundle),
            takeover.certificates if takeover else {},
            takeover.kubeconfigs if takeover else {},
        )
    )


def _pending(request: Request) -> Secret | None:
    """The identity that an agreed plan promised to a new cluster."""
    if request.identity is None:
        return None
    from provisioner.action.pending import read_pending

    return read_pending(request.identity)


def _compile(
    loaded: Loaded,
    modules: Mapping[str, Module],
    cluster: ClusterVariables | None,
    facts: Mapping[str, Facts],
) -> tuple[Desired, ...]:
    from provisioner.engine.plan import Desired
    from provisioner.playbook.compile import Compiler
    from provisioner.playbook.render import keep_compiled

    if loaded.transition:
        from provisioner.action.transition import gently
    compiler = Compiler(loaded.playbook, modules, loaded.request.selection)
    variables = _lazily(loaded, cluster, facts)
    limited = (
        {host.name for host in loaded.inventory.match(loaded.request.limit)} if loaded.request.limit else None
    )
    desired = []
    for stage in loaded.playbook.stages:
        if not loaded.request.selection.wants_stage(stage):
            continue
        hosts = [each.name for each in matching(loaded.inventory, stage)]
        chosen = [host for host in hosts if host in facts and (limited is None or host in limited)]
        resources = {host: compiler.stage(stage, host, variables(host)) for host in chosen}
        wanted = {host: each for host, each in resources.items() if each}
        own = (stage.serial, stage.gate, stage.always, stage.barrier, stage.needs)
        desired.append(Desired(stage.name, wanted, *own))
    keep_compiled()
    return tuple(map(gently, desired) if loaded.transition else desired)


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


def _inputs(loaded: Loaded) -> str:
    digest = hashlib.sha256(__version__.encode())
    for each in (
        loaded.inventory.digest,
        loaded.playbook.digest,
        loaded.bundle.digest if loaded.bundle else "",
    ):
        digest.update(each.encode())
    selection = loaded.request.selection
    digest.update(repr((loaded.request.limit, sorted(selection.tags), sorted(selection.stages))).encode())
    return digest.hexdigest()
