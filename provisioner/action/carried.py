"""What hosts carry of a cluster: its state on control planes, its mark on every host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from provisioner.inventory.secrets import Secret
from provisioner.pki.cluster import ClusterState, agreed_state, new_state
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.resources.owned import OF_CLUSTERS


@dataclass(frozen=True)
class Carried:
    """State files of control planes, and marks, by host."""

    states: Mapping[str, Secret] = field(repr=False)
    marks: Mapping[str, str]

    @classmethod
    def of(cls, facts: Mapping[str, Facts], planes: Collection[str]) -> Carried:
        """As `facts` have it. A state on another host than one of `planes` does not count."""
        states = {host: each.state for host, each in facts.items() if each.state and host in planes}
        return cls(states, {host: each.mark for host, each in facts.items() if each.mark})

    def agreed(
        self, name: str, pending: Secret | None = None, make: Callable[[str], ClusterState] = new_state
    ) -> ClusterState:
        """The state of the cluster `name`; `make` gives one to who has none. Raises as pki.cluster.agreed_state."""
        return agreed_state(name, self.states, self.marks, pending, make)

    def ending(self, name: str, owned: Mapping[str, Mapping[str, Owned]]) -> ClusterState:
        """The state of a cluster that is being taken down. Where its keys are gone already, by a run that was stopped,
        new ones pass for them: only which cluster it was counts, by marks, else by what hosts remember (`owned`)."""
        if self.states or self.marks:
            return agreed_state(name, self.states, self.marks, keyless=True)
        # A host that has no mark any more may remember things of one that ended before: which, does not matter then.
        names = (
            playbook.removeprefix(OF_CLUSTERS)
            for each in owned.values()
            for record in each.values()
            for playbook in record.playbooks
            if playbook.startswith(OF_CLUSTERS)
        )
        state = new_state(name)
        return replace(state, uuid=next(names, state.uuid))
