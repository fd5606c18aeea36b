"""A cluster of ours becomes what a step wants of it, as `apply` would have it: by the playbook."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from provisioner.action.carry import carry_out
from provisioner.action.migration.running import Make, Run
from provisioner.action.prepare import Prepared, prepare
from provisioner.action.transition import Transition
from provisioner.bundle.layout import Bundle
from provisioner.errors import ProvisionError
from provisioner.network.podnetwork import PodNetwork
from provisioner.spec.model import ClusterSpec


class ByPlaybook:
    """The maker of clusters that this tool has made."""

    def check(self, run: Run) -> None:
        """By the playbook's own admission, which each step asks again: kernels, firewalls, images."""
        change = run.change
        if change.fresh:
            beside = None if change.within else change.old
            self.make(run, Transition(change.recorded(change.migration), beside=beside))

    def begin(self, run: Run) -> None:
        """The measuring pods' image has been there since the cluster was made."""

    def make(self, run: Run, transition: Transition, *, of_old: bool = False) -> Make:
        loaded = run.change.source if of_old else run.change.target
        return partial(_carried, run, prepare(replace(loaded, transition=transition), run.pool, run.emit))

    def objects(self, run: Run, spec: ClusterSpec) -> list[dict[str, Any]]:
        return objects_of(run, spec)


def bundle_of(run: Run) -> Bundle:
    """Raises ProvisionError where there is none."""
    if run.change.target.bundle is None:
        raise ProvisionError("there is no bundle, and with it no manifest and no image")
    return run.change.target.bundle


def objects_of(run: Run, spec: ClusterSpec) -> list[dict[str, Any]]:
    """What the bundle's manifest makes of the spec, by upstream's images."""
    bundle = bundle_of(run)
    network = PodNetwork(spec, lambda name: bundle.artifact(name).path.read_text(encoding="utf-8"))
    return network.objects(lambda image: image)


def _carried(run: Run, prepared: Prepared) -> int:
    _, outcome = carry_out(prepared, run.pool, run.emit, run.stack, run.held, None, lambda _: True)
    return run.count(outcome)
