"""How each fault of a node's pod network is mended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from provisioner.action.load import Loaded
from provisioner.action.repairbinaries import put_back
from provisioner.engine.events import Emit, Failed, HostChanging, Step
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.cniagents import agents_on
from provisioner.kube.cnicluster import ClusterNode, Pod, read_cluster
from provisioner.kube.cnifaults import BINARIES, CNI0, CONDITION, LEASES, SANDBOXES, Fault
from provisioner.kube.cnimend import delete_pods, give_back, readdress, tear_down, tell_available
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session

AGENT_SECONDS = 120.0
"""How long a DaemonSet's pod may take to be Ready again."""
_PAUSE = 2.0


@dataclass
class Mender:
    """Mends faults, one after the other. `plane` is the host whose API server is asked. `unreached`: a host was lost
    meanwhile; `new`: the hosts that got plug-ins, so that what failed for want of them may succeed by itself; `went`:
    whether all mends of a host and kind went well."""

    loaded: Loaded
    pool: Pool
    emit: Emit
    plane: str
    unreached: bool = False
    new: set[str] = field(default_factory=set)
    went: dict[tuple[str, str], bool] = field(default_factory=dict)

    def mend(self, fault: Fault) -> bool:
        """Whether it went well, which is told; what is mended is only known by reading again."""
        well = self._mend(fault)
        key = (fault.host, fault.kind)
        self.went[key] = well and self.went.get(key, True)
        return well

    def _mend(self, fault: Fault) -> bool:
        ways: Mapping[str, Callable[[Fault], str]] = {
            BINARIES: self._binaries,
            CNI0: self._cni0,
            SANDBOXES: self._sandboxes,
            LEASES: self._leases,
            CONDITION: self._condition,
        }
        began = time.monotonic()
        self.emit(HostChanging(stage="repair", host=fault.host, resource=fault.kind))
        try:
            told = ways[fault.kind](fault)
        except ProvisionError as error:
            self.unreached = self.unreached or isinstance(error, UnreachableError)
            self.emit(
                Failed(
                    stage="repair",
                    host=fault.host,
                    resource=fault.kind,
                    reason=error.reason.removeprefix(f"{fault.host}: "),
                    exit_code=error.exit_code,
                    hint=error.hint,
                )
            )
            return False
        seconds = time.monotonic() - began
        self.emit(Step(task=fault.kind, subject=f"{fault.host}: {told}", seconds=seconds))
        return True

    @property
    def _plane(self) -> Session:
        return self.pool.session(self.plane)

    def _binaries(self, fault: Fault) -> str:
        if fault.from_bundle:
            put_back(self.loaded, self.pool, fault.host, fault.files[0].rpartition("/")[0], self.emit)
        else:
            self._restart_agent(fault)
        self.new.add(fault.host)
        return f"{', '.join(fault.files)} put back"

    def _cni0(self, fault: Fault) -> str:
        readdress(self.pool.session(fault.host), fault.link, fault.wrong, fault.right)
        delete_pods(self._plane, fault.pods)
        return f"{fault.link} has {', '.join(fault.right)}"

    def _sandboxes(self, fault: Fault) -> str:
        self._restart_agent(fault)
        waits = fault.agent is not None or fault.host in self.new
        forgotten = tear_down(self.pool.session(fault.host), fault.complaints, waits=waits)
        by = (
            f"{len(forgotten)} forgotten by a restart of the runtime"
            if forgotten
            else "taken down by the kubelet"
        )
        return f"{', '.join(fault.things)}: {by}"

    def _restart_agent(self, fault: Fault) -> None:
        if fault.agent is not None:
            delete_pods(self._plane, [fault.agent])
            self._await_agents(fault, {fault.agent.uid})

    def _leases(self, fault: Fault) -> str:
        count = give_back(self.pool.session(fault.host), fault.network, fault.leases, fault.dead)
        return f"{count} of {len(fault.leases)} given back in {fault.network}"

    def _condition(self, fault: Fault) -> str:
        """By now the agent may have told so itself. While the network does not work there pods are kept away."""
        broken = [kind for kind in fault.after if not self.went.get((fault.host, kind))]
        if broken:
            raise ProvisionError(
                f"NetworkUnavailable was left True: the node's {' and '.join(broken)} {'are' if broken[1:] else 'is'}"
                " not mended",
                "mend that, and run the same command again",
            )
        agents = self._await_agents(fault)
        if self._node(fault.node).unavailable:
            tell_available(self._plane, fault.node, [str(each) for each in agents])
        return "NetworkUnavailable is False"

    def _node(self, name: str) -> ClusterNode:
        found = next((each for each in read_cluster(self._plane) if each.name == name), None)
        if found is None:
            raise ProvisionError(f"the node {name} is gone")
        return found

    def _await_agents(self, fault: Fault, but: Collection[str] = ()) -> list[Pod]:
        """The agents of the network on the node, once they are Ready. `but` are the uids of those that are to go.
        Raises ProvisionError after two minutes."""
        end = time.monotonic() + AGENT_SECONDS
        while True:
            pods = [each for each in agents_on(self._node(fault.node), fault.labels) if not each.leaving]
            if pods and all(each.ready and each.uid not in but for each in pods):
                return pods
            if time.monotonic() > end:
                raise ProvisionError(
                    f"{', '.join(map(str, pods)) or 'the pod of the network'} is not Ready there after"
                    f" {AGENT_SECONDS:.0f} s",
                    "`kubectl describe` says what it waits for",
                )
            time.sleep(_PAUSE)
