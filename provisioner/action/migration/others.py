"""A cluster that others have built becomes what a step wants of it: by its own kubectl, and with images that nodes get
over SSH. Of the cluster nothing is changed but its pod network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from provisioner.action.exchange import agnhost_of
from provisioner.action.gates import leniently
from provisioner.action.migration.byplaybook import bundle_of, objects_of
from provisioner.action.migration.change import Change
from provisioner.action.migration.checks import check_given_out
from provisioner.action.migration.originals import Originals, write_originals
from provisioner.action.migration.othersthere import check_hosts, check_there
from provisioner.action.migration.running import Make, Run
from provisioner.action.transition import Transition, gently
from provisioner.bundle.preloaded import PreloadedImageKind
from provisioner.engine.events import Note
from provisioner.engine.execute import Executor, Gate
from provisioner.engine.hostwork import HostWork
from provisioner.engine.plan import Desired, Plan
from provisioner.engine.planner import Planner
from provisioner.errors import ProvisionError
from provisioner.kube import oldnetwork
from provisioner.kube.gates import network_ready
from provisioner.kube.manifest import ManifestKind
from provisioner.kube.objects import object_digest, object_key
from provisioner.kube.othersnetwork import agents_of, read_made
from provisioner.network.patches import images_of
from provisioner.resources.model import AnyKind, Present, Resource
from provisioner.spec.model import ClusterSpec

Objects = list[dict[str, Any]]
_NETWORK_READY = "network_ready"


class ByKubectl:
    """The maker of clusters that others have built. `originals` are what the last migration that led away from their
    network found there, which is what comes back when the way leads back."""

    def __init__(self, originals: Originals | None) -> None:
        self._originals = originals

    def check(self, run: Run) -> None:
        change = run.change
        check_there(run)
        check_hosts(run)
        if self._untouched(change):
            self._originals = self._found(run)
        if change.within and self._is_original(change.old):
            raise ProvisionError(
                f"{change.old.network.plugin} is as its builder has installed it, and its settings are in a manifest "
                "of theirs",
                "migrate to another plug-in, or change it by that manifest",
            )
        if self._is_original(change.old) and change.record.migration is None:
            check_given_out(change, run.plane)

    def begin(self, run: Run) -> None:
        """The originals, and images of what measures, and of what comes, while nothing is changed yet."""
        if self._originals is not None:
            write_originals(run.pool, run.planes, self._originals)
        new = [] if self._is_original(run.change.new) else self.objects(run, run.change.new)
        with run.step("images", ", ".join(run.nodes)):
            code = self._carried(run, [_images(run, new)], {})
        if code:
            raise ProvisionError(
                "not all nodes have got their images", "mend that and run the same command again"
            )

    def make(self, run: Run, transition: Transition, *, of_old: bool = False) -> Make:
        spec = run.change.old if of_old else run.change.new
        objects = self.objects(run, spec)
        adjusted = objects if self._is_original(spec) else transition.adjust(objects)
        return partial(self._made, run, spec, adjusted, transition)

    def objects(self, run: Run, spec: ClusterSpec) -> Objects:
        if self._originals and self._is_original(spec):
            return [*self._originals.objects]
        return objects_of(run, spec)

    def _untouched(self, change: Change) -> bool:
        """The network is there as its builder has it by now, who may have changed it since the last migration."""
        if self._originals is None:
            return True
        return change.record.migration is None and (
            change.record.now is None or self._is_original(change.old)
        )

    def _is_original(self, spec: ClusterSpec) -> bool:
        return self._originals is not None and self._originals.network == spec.network

    def _found(self, run: Run) -> Originals:
        """What is there. Raises ProvisionError where it is not what the inventory says."""
        change = run.change
        plugin = change.old.network.plugin
        places = agents_of(run.plane, plugin)
        if len(places) != 1:
            there = " and ".join(each.namespace for each in places)
            raise ProvisionError(
                f"{plugin} has agents in {there}" if there else f"no DaemonSet of {plugin}'s is in the cluster",
                "take one of them away first" if there else
                "cluster.network.plugin has to name the plug-in that is there; of which namespace and name its "
                "DaemonSet is `kubectl get daemonsets -A` tells",
            )  # fmt: skip
        objects = read_made(run.plane, places[0], objects_of(run, change.old))
        found = Originals(change.migration.source, objects, change.old.network)
        found.check(change)
        return found

    def _made(self, run: Run, spec: ClusterSpec, objects: Objects, transition: Transition) -> int:
        daemons = [object_key(each) for each in objects if each["kind"] == "DaemonSet"]
        manifest = Resource(
            "manifest",
            spec.network.plugin,
            Present({object_key(each): object_digest(each) for each in objects}),
            {"objects": objects},
            text="",
        )
        stages = [
            _images(run, [] if self._is_original(spec) else objects),
            Desired("network", {run.plane.host: (manifest,)}, gate=_NETWORK_READY, always=True),
        ]
        ready = {_NETWORK_READY: partial(network_ready, run.plane, run.nodes, daemons)}
        code = self._carried(run, stages, leniently(ready, transition.lenient, run.emit))
        if code == 0 and transition.settled:
            for each in oldnetwork.remove(run.plane, self.objects(run, run.change.old), objects):
                run.emit(Note(message=f"the namespace {each} stays: others have things in it"))
        return code

    def _carried(self, run: Run, stages: Sequence[Desired], gates: Mapping[str, Gate | None]) -> int:
        kinds: Mapping[str, AnyKind] = {
            "preloaded_image": PreloadedImageKind(bundle_of(run).image, lambda image: image.reference),
            "manifest": ManifestKind(),
        }
        inventory = str(run.change.target.request.inventory)
        gentle = [gently(each) for each in stages]
        plan: Plan = Planner(run.pool, kinds).plan(gentle, inventory=inventory, inputs="", texts=False)
        work = HostWork(run.pool, kinds, run.emit, run.change.target.run, guard=run.guard)
        return run.count(Executor(work, gates, run.emit, each=run.pool.each).run(plan))


def _images(run: Run, objects: Objects) -> Desired:
    """On every node: what it may run of `objects`, and what measures. Raises ProvisionError for an image that the
    bundle lacks."""
    bundle = bundle_of(run)
    wanted = {reference: bundle.image(reference) for reference in images_of(objects)}
    measuring = agnhost_of(bundle)
    wanted[measuring.reference] = measuring
    resources = tuple(
        Resource("preloaded_image", reference, Present({"pinned": True}), {"image": image})
        for reference, image in wanted.items()
    )
    return Desired("images", dict.fromkeys(run.nodes, resources))
