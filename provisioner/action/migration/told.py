"""What a migration will do, in words, before anything is done: what stops, where, for how long, and what stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from provisioner.action.migration.change import Change
from provisioner.action.migration.checks import pools_of
from provisioner.action.migration.within import leaving
from provisioner.inventory.words import some
from provisioner.kube.atstake import AtStake, read_at_stake
from provisioner.kube.objects import object_key
from provisioner.kube.ownobjects import kept_own, lost_own
from provisioner.kube.podcopies import FOLDER, saved
from provisioner.kube.workloads import Pod, Reading, Workload, read_workloads
from provisioner.network.calicoresources import bgp_keys
from provisioner.network.podlinks import outdated_links
from provisioner.network.record import ALONE
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Runner
from provisioner.spec.model import Network

_ENFORCING = ("calico", "canal", "cilium")
_NAMED = 8
"""So many are told by name."""
_ROLLOUT, _EVICTION = 10, 5
"""Seconds that one takes, as measured on small hosts with pods that start and end at once."""


def told(change: Change, facts: Mapping[str, Facts], planes: Sequence[Runner]) -> list[str]:
    """A line each; of `planes` the first one is asked of the cluster. Raises ProvisionError when the API server does
    not answer."""
    reading, stake = read_workloads(planes[0]), read_at_stake(planes[0], change.old.network.plugin)
    pods = going(change, reading)
    return [
        *_headed(change),
        *(_within(change, facts, pods) if change.within else _beside(change)),
        *(_nodes(change, reading, pods)),
        *(_gaps(reading, stake, pods) if not change.all_at_once else ()),
        *_saved(planes[0]),
        *_nobodys(stake, pods),
        *(_budgets(change, stake) if pods else ()),
        *((*_policies(change, stake), *_back_again(change, planes)) if not change.within else ()),
        *_kept(change, pods),
    ]


def going(change: Change, reading: Reading) -> list[Pod]:
    """Pods that are made anew."""
    pools = pools_of(change.new.network)
    if pools:
        return reading.outside([*pools.values()])
    return [] if change.within else reading.outside(reading.homes)


def words_of(network: Network) -> str:
    """The plug-in, and how it brings packets from node to node."""
    if network.carrier == "flannel":
        return f"{network.plugin} (backend {network.flannel.backend})"
    if network.plugin == "cilium":
        return f"cilium ({network.backend}, addresses by {network.cilium.ipam})"
    calico = network.calico
    if calico.policy_only:
        return "calico (policies alone)"
    pools = ", ".join(f"{each.name} {each.cidr} {each.encapsulation}" for each in calico.pools)
    extra = [*(["BGP"] if calico.backend == "bird" else []), *(["WireGuard"] if calico.wireguard else [])]
    return f"calico ({'; '.join([f'pools {pools}', *extra])})"


def _headed(change: Change) -> Iterator[str]:
    migration = change.migration
    back = "back: " if migration.back else ""
    yield f"{back}the pod network {words_of(change.old.network)} becomes {words_of(change.new.network)}"
    if change.begun and migration.phase == ALONE:
        yield "it has begun: no pod needs the former network any more, and what is left of it is taken away"
    elif change.begun:
        yield "it has begun: nothing of the former network has been taken away yet; the pods below are left to be moved"


def _beside(change: Change) -> Iterator[str]:
    old, new = change.old.network.plugin, change.new.network.plugin
    if change.migration.phase == ALONE:
        return
    yield (
        f"every node pulls the images of {new} before anything else; nothing stops before its agents are ready "
        "everywhere"
    )
    if "cilium" in (old, new):
        yield f"whether pods of {old} and {new} reach each other meanwhile has not been tried"
    else:
        yield f"until the last pod has moved, pods of {old} and of {new} reach each other: both run on all nodes"
    if change.all_at_once:
        yield (
            "all at once: every pod of the pod network ends at the same time; services have an outage as long as their "
            "pods take to end, start and be Ready: 1 to 11 s between pods that start at once, 10 to 16 s for small "
            "Deployments where this was measured; both are measured and told afterwards"
        )
    else:
        yield (
            "node by node, workers first; connections to a pod that is made anew break, as in any rollout; the times "
            "below are of pods that start and end at once"
        )


def _within(change: Change, facts: Mapping[str, Facts], pods: Sequence[Pod]) -> Iterator[str]:
    old, new = change.old.network, change.new.network
    if new.plugin == "flannel":
        yield (
            "all agents change together: pods of different nodes do not reach each other from then until theirs are "
            "ready (0.4 to 0.6 s where this was measured); those of one node do, and all keep their addresses"
        )
    elif new.plugin == "calico":
        if old.calico.backend != new.calico.backend:
            yield (
                "agents change from one way to the other while the former one still carries packets; pods got no "
                "answer for 0.7 to 1.3 s where this was measured"
            )
        elif any(each.encapsulation != "None" for each in leaving(change.old, change.new)):
            # Felix starts anew for it (Calico 3.28, node/pkg/allocateip, felix/config: not changed at run time).
            yield (
                "nodes get tunnel addresses of the new pools, all at once: packets between them may be lost for a "
                "moment (0.5 to 2 s where this was measured)"
            )
        if not pods:
            yield "pods keep their addresses, and none is made anew"
    if not pods:
        yield from (f"{each.reason}; {each.hint}" for each in outdated_links(change.new, facts))


def _nodes(change: Change, reading: Reading, pods: Sequence[Pod]) -> Iterator[str]:
    """Workers first, as they are done."""
    planes = {host.name for host in change.target.inventory.group("kube_control_plane")}
    names = sorted(
        reading.homes.keys() | {each.node for each in pods}, key=lambda name: (name in planes, name)
    )
    rolled: set[str] = set()  # a rollout takes the workload's pods of all nodes
    for name in names:
        mine = [each for each in pods if each.node == name]
        if mine and change.all_at_once:
            yield f"{name}: {_count(len(mine), 'pod')} made anew: {'; '.join(_at_once(mine))}"
        elif mine:
            ways = _one_by_one(reading, mine, change.migration.id)
            seconds = _seconds(reading, mine, change.migration.id, rolled)
            yield f"{name}: {_count(len(mine), 'pod')} made anew {seconds}: {'; '.join(ways)}"
        elif pods or not change.within:
            yield f"{name}: no pod is made anew"


def _at_once(pods: Sequence[Pod]) -> Iterator[str]:
    lone = sum(each.owner is None for each in pods)
    if lone < len(pods):
        yield f"{len(pods) - lone} deleted, and made anew by who made them"
    if lone:
        yield f"{lone} deleted and created again"


def _one_by_one(reading: Reading, pods: Sequence[Pod], mark: str) -> Iterator[str]:
    makers = [reading.maker(each) for each in pods]
    rolled = Counter(each.place for each in makers if each and each.may_roll(mark))
    lone = sum(each.owner is None for each in pods)
    evicted = len(pods) - rolled.total() - lone
    if rolled:
        yield f"{rolled.total()} by rollouts of {some(sorted(rolled), _NAMED)}"
    if evicted:
        yield f"{evicted} evicted, because their workloads do not roll by themselves or are not whole"
    if lone:
        yield f"{lone} evicted and created again"


def _seconds(reading: Reading, pods: Sequence[Pod], mark: str, rolled: set[str]) -> str:
    """How long it takes at least; adds to `rolled`, whose pods are no longer old when it is this node's turn."""
    makers = [reading.maker(each) for each in pods]
    mine = {each.place for each in makers if each and each.may_roll(mark)}
    alone = sum(not (each and each.may_roll(mark)) for each in makers)
    seconds = len(mine - rolled) * _ROLLOUT + alone * _EVICTION
    rolled |= mine
    return f"in some {seconds} s" if seconds else "with those before"


def _gaps(reading: Reading, stake: AtStake, pods: Sequence[Pod]) -> Iterator[str]:
    makers = {each.place: each for pod in pods if (each := reading.maker(pod))}
    gap = sorted(name for name, each in makers.items() if _has_gap(each, stake))
    if gap:
        yield (
            "these end a pod before the one in its place starts, so that its part of the work rests meanwhile: "
            f"{some(gap, _NAMED)}"
        )


def _has_gap(workload: Workload, stake: AtStake) -> bool:
    """A Deployment that rolls starts the new pod first; one that does not has its others for so long."""
    key = (workload.kind, workload.namespace, workload.name)
    if workload.kind != "Deployment":
        return True
    return key in stake.ending_first or (not workload.rolls and stake.alone(*key))


def _saved(plane: Runner) -> Iterator[str]:
    if names := saved(plane):
        yield f"a run that was stopped has kept copies of these; who is gone is created again first: {some(names, 50)}"


def _nobodys(stake: AtStake, pods: Sequence[Pod]) -> Iterator[str]:
    lone = [each for each in pods if each.owner is None]
    if lone:
        names = [
            f"{each.namespace}/{each.name}"
            + " (its emptyDir is lost)" * ((each.namespace, each.name) in stake.scratch)
            for each in lone
        ]
        yield (
            "nobody makes these anew but this run, which keeps a copy first; they are gone until they have started "
            f"again: {some(names, 50)}"
        )
    if jobs := sorted(
        {f"{each.namespace}/{each.owner[1]}" for each in pods if each.owner and each.owner[0] == "Job"}
    ):
        named = some(jobs, _NAMED)
        yield f"what Jobs have done so far is lost, and counts as a failure of theirs (backoffLimit): {named}"
    if any((each.namespace, each.name) in stake.scratch for each in pods if each.owner is not None):
        yield "what pods have in volumes of the kind emptyDir goes with them, as in any rollout"


def _budgets(change: Change, stake: AtStake) -> Iterator[str]:
    if not stake.budgets:
        return
    count = _count(len(stake.budgets), "PodDisruptionBudget", "")
    if change.all_at_once:
        yield f"all at once does not ask the {count}"
        return
    yield f"evictions keep the {count}; rollouts go by their workloads' own settings"
    if stake.held:
        yield f"these allow no eviction now, and would stop the run where it needs one: {some(stake.held, _NAMED)}"


def _policies(change: Change, stake: AtStake) -> Iterator[str]:
    was, will = (each.network.plugin in _ENFORCING for each in (change.old, change.new))
    ending = "s" * (len(stake.policies) == 1)
    spaces = Counter(space for space, _ in stake.policies)
    many = _count(sum(spaces.values()), "NetworkPolicy", "", "NetworkPolicies")
    where = f"{many} (in {some(sorted(spaces), _NAMED)})"
    if stake.policies and will and not was:
        yield f"{where}, which flannel has ignored, begin{ending} to be enforced: what is not allowed stops"
    elif stake.policies and was and not will:
        yield f"{where} stop{ending} being enforced: flannel has no policies, and what was forbidden is open"
    elif stake.policies:
        yield f"{where} stay{ending} enforced, for pods of either network by its own plug-in"
    if own := [each for each in stake.own if each not in bgp_keys(change.old.network)]:
        yield (
            f"{_count(len(own), 'object')} deleted with the definitions of {change.old.network.plugin}, and "
            f"kept: a migration that leads back to it creates them again: {some(own, _NAMED)}"
        )
    if change.old.network.plugin == "calico":
        yield (
            "any field of FelixConfiguration and BGPConfiguration `default` that is set beside the inventory (whether "
            "one is, is not looked for) goes, and the backup alone has it: the places for it are network.calico.felix "
            "and network.calico.bgp"
        )


def _back_again(change: Change, planes: Sequence[Runner]) -> Iterator[str]:
    plugin = change.new.network.plugin
    own = [object_key(each) for each in kept_own(planes, plugin)]
    if own:
        yield f"{_count(len(own), 'object')} created again, kept since {plugin} has left: {some(own, _NAMED)}"
    if lost := lost_own(planes[0], plugin, own):
        yield (
            f"{_count(len(lost), 'object')} not created again, kept when {plugin} left, and gone with the control "
            f"planes of that time: {some(lost, _NAMED)}"
        )


def _kept(change: Change, pods: Sequence[Pod]) -> Iterator[str]:
    if pods:
        yield f"pods have addresses of {_range(change)} afterwards"
    yield (
        "services, DNS names and the addresses of nodes stay; pods on the hosts' network and static pods are left alone"
    )
    yield (
        f"a backup of the former network's objects is written first: {FOLDER}/*/objects.yaml on "
        f"{change.target.state_host}"
        + ("" if change.within else "; configurations and files that go lie in the same folder on each node")
    )
    yield (
        "a run that was stopped goes on with the same command"
        + ("" if change.migration.back else ", and --rollback takes it back at any point")
    )


def _range(change: Change) -> str:
    network = change.new.network
    pools = ", ".join(map(str, pools_of(network).values()))
    return pools or f"their nodes' parts of {', '.join(network.pod_cidrs)}"


def _count(number: int, word: str, verb: str = "is", plural: str = "") -> str:
    """ "1 pod is", "2 pods are"."""
    are = {"is": "are"}.get(verb, verb)
    return f"{number} {word if number == 1 else plural or word + 's'} {verb if number == 1 else are}".strip()
