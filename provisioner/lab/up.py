"""`lab up`: from any state, nothing, whole or half-dead, to a lab whose hosts all answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provisioner.engine.events import Emit, Note, Step
from provisioner.errors import ProvisionError
from provisioner.lab import cgroups, host, keys, network, outer, root, state
from provisioner.lab.down import remains
from provisioner.lab.host import HostStatus, inspect
from provisioner.lab.locks import lab_lock, locked, machine_lock
from provisioner.lab.plan import LabPlan, faults
from provisioner.lab.readdress import check_subnet
from provisioner.lab.requirements import require_machine
from provisioner.lab.state import LabState

_SETTLING_SECONDS = 20.0
_PARALLEL = 16


def up(plan: LabPlan, emit: Emit) -> LabState:
    """Brings the lab up, mending just what is broken. Two runs on one lab wait for each other.

    Raises ProvisionError when the machine cannot carry it, InputError when its hosts run in another subnet, and
    UnreachableError when a host does not come up.
    """
    preflight(plan)
    waiting = Note(message=f"another run changes the lab {plan.name}; waiting for it")
    with locked(lab_lock(plan.names.key), waiting=lambda: emit(waiting)):
        return _up(plan, emit)


def preflight(plan: LabPlan) -> None:
    """Raises ProvisionError when the plan is wrong or the machine cannot carry it, and InputError when hosts of the lab
    run in another subnet. Changes nothing.
    """
    require_machine()
    wrong = faults(plan)
    if wrong:
        reasons = "\n".join(fault.reason for fault in wrong)
        raise ProvisionError(reasons, "mend the inventory's lab section and the hosts' addresses")
    check_subnet(plan)
    if not network.switch_is_up(plan):
        network.check_free(plan)  # now, and not after a root was built for a minute


def _up(plan: LabPlan, emit: Emit) -> LabState:
    check_subnet(plan)  # once more: the run that was waited for may have brought it up
    started = time.monotonic()
    layers = _layers(plan, emit)
    changed = _ensure_network(plan, emit)
    outer.claim(plan.names.key)
    changed |= _remove_strangers(plan, emit)
    _ensure_keys(plan)
    # Written before any host starts: after a kill, `down` and the next `up` know what was meant.
    state.write(plan, _state(plan, layers, state.read(plan.directory)))
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        changed |= any(list(pool.map(lambda name: _ensure_host(plan, name, layers, emit), plan.hosts)))
    result = _state(plan, layers, None)
    state.write(plan, result)
    emit(Step(task="lab up", subject=plan.name, seconds=time.monotonic() - started, changed=changed))
    return result


def _layers(plan: LabPlan, emit: Emit) -> tuple[Path, ...]:
    """A lab keeps the root that it was made with: another under its hosts' disks would tear them apart."""
    before = state.read(plan.directory)
    if before is not None and all(Path(layer).is_dir() for layer in before.layers):
        if (before.suite, before.packages, before.bare) != (plan.suite, list(plan.packages), plan.bare):
            emit(
                Note(
                    message=f"the lab {plan.name} keeps the packages that it was made with",
                    level="warning",
                    hint=f"`{plan.command('down')}`, then `{plan.command('up')}`, makes it anew",
                )
            )
        return tuple(Path(layer) for layer in before.layers)
    return root.layers(plan, emit)


def _ensure_network(plan: LabPlan, emit: Emit) -> bool:
    if network.switch_is_up(plan):
        return False
    with locked(machine_lock()):  # two labs must not both find one subnet free
        network.check_free(plan)
        started = time.monotonic()
        plan.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        network.make_switch(plan)
    emit(Step(task="lab network", subject=f"{plan.name} {plan.subnet}", seconds=time.monotonic() - started))
    return True


def _remove_strangers(plan: LabPlan, emit: Emit) -> bool:
    """Takes away hosts that are no longer in the inventory; their disks stay until `down`."""
    strangers = [name for name in cgroups.hosts(plan.names.cgroup) if name not in plan.hosts]
    for name in strangers:
        host.kill(plan.names.cgroup, name)
        network.remove_namespace(plan.names.namespace(name))
        emit(Step(task="lab host removed", subject=name))
    return bool(strangers)


def _ensure_keys(plan: LabPlan) -> None:
    keys.ensure_key(plan.key_file, f"lab {plan.name}")
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        list(pool.map(lambda name: keys.ensure_key(keys.host_key(plan, name), name), plan.hosts))
    keys.write_known_hosts(plan)


def _ensure_host(plan: LabPlan, name: str, layers: Sequence[Path], emit: Emit) -> bool:
    started = time.monotonic()
    found = inspect(plan, name)
    if found.well:
        return False
    if _is_booting(found):
        host.wait(plan, name)
    else:
        host.stop(plan, name)
        host.start(plan, name, layers)
    emit(Step(task="lab host", subject=name, seconds=time.monotonic() - started))
    return True


def _is_booting(found: HostStatus) -> bool:
    return found.running and found.linked and found.uptime < _SETTLING_SECONDS


def _state(plan: LabPlan, layers: Sequence[Path], before: LabState | None) -> LabState:
    pids = {name: host.first_process(plan, name) for name in plan.hosts} if before is None else before.pids
    return LabState(
        name=plan.name,
        subnet=str(plan.subnet),
        hosts={name: str(address) for name, address in plan.hosts.items()},
        suite=plan.suite,
        packages=list(plan.packages),
        layers=[str(layer) for layer in layers],
        bridge=plan.names.bridge,
        namespaces=list(network.namespaces(plan.names)),
        pids=pids,
        bare=plan.bare,
    )


def layers_of(plan: LabPlan) -> tuple[Path, ...]:
    """The root layers of a lab that is up. Raises ProvisionError when it is not."""
    found = state.read(plan.directory)
    if found is None or not remains(plan.directory):
        raise ProvisionError(f"the lab {plan.name} is not up", plan.command("up"))
    return tuple(Path(layer) for layer in found.layers)
