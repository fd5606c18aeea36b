"""From one plug-in to another: both are there for a while, and nothing of the former is touched until no pod needs it.

Agents of the new one come beside it on all nodes; node by node, new pods get the new network; pods are made anew, as
their workloads do that; then the old agents end, and what they have left on hosts goes. Up to that point the way back
costs nothing; after it, it is the same way once more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from provisioner.action.migration.change import Change
from provisioner.action.migration.checks import pools_of
from provisioner.action.migration.hosts import backup_folder, each, turn_script, write_record
from provisioner.action.migration.proof import check_all, check_node
from provisioner.action.migration.running import Run
from provisioner.action.transition import Transition
from provisioner.engine.events import Note
from provisioner.errors import ProvisionError
from provisioner.kube import oldnetwork
from provisioner.kube.cnicluster import read_cluster
from provisioner.kube.cnimend import tell_available
from provisioner.kube.ownobjects import keep_own, restore_own
from provisioner.kube.podmoves import Moves, Replaced
from provisioner.kube.remains import Remain, backup_script, clean_script, parse_remains, remains_script
from provisioner.kube.workloads import Pod, Reading, read_workloads
from provisioner.network.calicoresources import bgp_keys
from provisioner.network.record import ALONE, BOTH
from provisioner.shell.script import Script

_ENDING, _PAUSE = 60.0, 3.0
"""Seconds in which what the former network has left has to go, and between two tries: a pod is gone for the API before
its node has taken its sandbox down, which takes its time on a busy one."""


def go_beside(run: Run) -> int:
    """The exit code. Raises ProvisionError of the step that failed; done again, each step finds its work done."""
    change = run.change
    if change.migration.phase == BOTH:
        code = _beside(run)
        if code:
            return code
        _turned(run)
        moved(run)
        _turned(run)  # an agent that was started anew meanwhile has put its configuration back
        check_moved(run)
        check_all(run)
        change = run.change = replace(change, migration=replace(change.migration, phase=ALONE))
        write_record(run.pool, run.planes, change.recorded(change.migration))
    else:
        # A run that was cut off had not come to it, or an agent that was started anew has undone it.
        _turned(run)
        check_moved(run)  # a pod whose sandbox was made before may have got its address late
    _taken_away(run)
    code = settled(run, "alone")
    if code == 0:
        _told_available(run)  # one that took its time to end
        _restored(run)
        ended(run)
    return code


def _beside(run: Run) -> int:
    """The new network comes beside the other one."""
    change = run.change
    with run.step("backup", change.old.network.plugin):
        record = change.recorded(change.migration)
        make = run.maker.make(run, Transition(record, beside=change.old, lenient=_unproven(change)))
        note_down(run)
    with run.step("beside", change.new.network.plugin):
        code = make()
        if code == 0:
            restore_own(run.keepers, change.new.network.plugin, hosts=False)
    return code


def _told_available(run: Run) -> None:
    """Calico's agents tell of their node, when they end, that it has no network (preStop: calico-node -shutdown), and
    the new network's have told that it has one when they began. By now they are all Ready."""
    for node in read_cluster(run.plane):
        if node.unavailable and node.name in run.change.new.nodes:
            tell_available(run.plane, node.name, [run.change.new.network.plugin])
            run.tell([node.name], "condition:NetworkUnavailable", f"False; it was True: {node.unavailable}")


def _restored(run: Run) -> None:
    """All that users had made of the new network's kinds, once no pod is in the other one."""
    plugin = run.change.new.network.plugin
    waiting = restore_own(run.keepers, plugin)
    if waiting:
        what = f"kept on since {plugin} has left, because their kind or namespace is gone"
        run.emit(Note(level="warning", message=f"{what}: {', '.join(waiting)}"))


def _unproven(change: Change) -> frozenset[str]:
    """Gates that ask the network that is left: until pods are turned, new ones are in Calico beside flannel, and a
    network that does not carry is not to keep anybody in it."""
    return frozenset({"traffic"} if change.migration.back or change.new.network.plugin == "flannel" else ())


def note_down(run: Run) -> None:
    """What is begun is on record from now on, and the former network's objects are kept."""
    change = run.change
    write_record(run.pool, run.planes, change.recorded(change.migration))
    oldnetwork.backup(run.plane, run.maker.objects(run, change.old), backup_folder(change.migration.id))


def _turned(run: Run) -> None:
    change = run.change
    script = turn_script(
        change.old.network.plugin, change.new.network.plugin, backup_folder(change.migration.id)
    )
    for group in [run.nodes] if change.all_at_once else [[node] for node in run.nodes]:
        with run.step("turned", ", ".join(group)):
            said = each(run.pool, group, script, "new pods cannot get the new network")
            turned = [host for host, text in said.items() if text.strip()]
            run.tell(turned, f"network:{change.new.network.plugin}", "new pods get it")


def moved(run: Run) -> None:
    """Makes pods anew that have addresses of the former network. Raises ProvisionError."""
    moves = _moves(run)
    if run.change.all_at_once:
        with run.step("pods", "all nodes"):
            _tell_outage(run, moves.replace())
        return
    for node in run.nodes:
        with run.step("pods", node):
            _tell_pods(run, node, moves.roll(node))
            check_node(run, node)


def _tell_outage(run: Run, done: Replaced) -> None:
    """Of workloads: pods of the tool's own, which ask each other, start at once."""
    _tell_pods(run, run.plane.host, done.count)
    if done.workloads:
        many = f"{done.workloads} workload{'s' * (done.workloads != 1)}"
        run.emit(Note(message=f"{many} had all pods Ready again within {done.seconds:.1f} s of their end"))
    if done.late:
        named = f"not whole again, as they were before: {', '.join(done.late)}"
        run.emit(Note(level="warning", message=named, hint="`kubectl describe` of their pods tells why"))


def _tell_pods(run: Run, host: str, count: int) -> None:
    if count:
        run.tell([host], "pods", f"{count} made anew")


def check_moved(run: Run) -> None:
    """Also what was made while others were moved. Raises ProvisionError naming pods that keep their address."""
    moves = _moves(run)
    for _ in range(3):
        left = moves.old(moves.read())
        if not left:
            return
        with run.step("pods", "those that came meanwhile"):
            _tell_pods(run, run.plane.host, moves.roll())
    named = ", ".join(f"{each.namespace}/{each.name}" for each in left)
    raise ProvisionError(
        f"pods still have addresses of the former network: {named}", "run the same command again"
    )


def _moves(run: Run) -> Moves:
    new = run.change.new

    def old(reading: Reading) -> Sequence[Pod]:
        return reading.outside([*pools_of(new.network).values()] or reading.homes)

    return Moves(run.plane, run.change.migration.id, old)


def _taken_away(run: Run) -> None:
    """The old agents end, and what they have left on hosts goes; a second look proves it."""
    change = run.change
    old, new = change.old.network.plugin, change.new.network.plugin
    with run.step("agents end", old):
        keep_own(run.keepers, old, bgp_keys(change.old.network))
        if oldnetwork.stop(run.plane, *(run.maker.objects(run, each) for each in (change.old, change.new))):
            run.tell([run.plane.host], f"agents:{old}", "they have ended", "delete")
        oldnetwork.forget_notes(run.plane, old)
        _told_available(run)
    cidrs = _routed(run)
    with run.step("cleaned", old):
        keep_files(run)
        found = cleaned(
            run,
            old,
            clean_script(old, keep=(new,), pod_cidrs=cidrs),
            remains_script(old, keep=(new,), pod_cidrs=cidrs),
        )
    judged(run, found)


def cleaned(run: Run, what: str, clean: Script, look: Script) -> dict[str, tuple[Remain, ...]]:
    """Takes away what `what` has left on all nodes: what a second look finds there."""
    hosts = run.nodes
    if run.change.begun:  # an earlier run may have done it on some
        said = each(run.pool, hosts, look, f"what {what} has left cannot be looked for")
        hosts = [host for host, text in said.items() if any(not one.left for one in parse_remains(text))]
    end, held = time.monotonic() + _ENDING, hosts
    while True:
        each(run.pool, held, clean, f"what {what} has left does not go")
        said = each(run.pool, run.nodes, look, "the second look failed")
        found = {host: parse_remains(text) for host, text in said.items()}
        held = [host for host, remains in found.items() if not all(one.left for one in remains)]
        if not held or time.monotonic() > end:
            break
        time.sleep(_PAUSE)
    run.tell(hosts, f"remains:{what}", "taken away", "delete")
    return found


def keep_files(run: Run) -> None:
    """A copy of each file that is about to go, on its node."""
    change = run.change
    folder = f"{backup_folder(change.migration.id)}/files"
    script = backup_script(change.old.network.plugin, folder, keep=(change.new.network.plugin,))
    each(run.pool, run.nodes, script, "files of the former network cannot be kept")


def _routed(run: Run) -> list[str]:
    """Parts of the pod network to which the former plug-in has led: by nodes, or its pools."""
    network = run.change.old.network
    if network.plugin == "calico":
        return [pool.cidr for pool in network.calico.pools]
    homes = read_workloads(run.plane).homes
    return [str(network) for networks in homes.values() for network in networks]


def judged(run: Run, found: Mapping[str, Sequence[Remain]]) -> None:
    """Says what is left on purpose. Raises ProvisionError for all else that is still there."""
    reasons: dict[str, list[str]] = {}
    faults = []
    for host, remains in found.items():
        for remain in remains:
            if remain.left:
                reasons.setdefault(f"{remain.kind} {remain.name}: {remain.reason}", []).append(host)
            else:
                faults.append(
                    f"{host}: {remain.kind} {remain.name}" + (f" ({remain.reason})" * bool(remain.reason))
                )
    for reason, hosts in reasons.items():
        run.emit(Note(message=f"left on {', '.join(hosts)}: {reason}"))
    if faults:
        raise ProvisionError(
            f"{run.change.old.network.plugin} has left things that do not go:\n" + "\n".join(faults),
            "take them away, then run the same command again",
        )


def settled(run: Run, step: str) -> int:
    """Only the new network is wanted any more, and what is fixed of it is so from now on. The record says so when all
    is done (`ended`): a run that was stopped before has to come back."""
    change = run.change
    with run.step(step, change.new.network.plugin):
        transition = Transition(change.recorded(change.migration), settled=True)
        return run.maker.make(run, transition)()


def ended(run: Run) -> None:
    """The migration is on record as one that has ended."""
    write_record(run.pool, run.planes, run.change.recorded(None))
