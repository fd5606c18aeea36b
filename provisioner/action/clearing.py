"""A host that leaves is left as it was before: what the tool remembers of it goes, and pods and data with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from provisioner.action.keeping import (
    IMAGES,
    NOTHING,
    STORED,
    Keep,
    folders_above,
    groups_of,
    images_of,
    keeps_images,
    kept_on,
)
from provisioner.action.load import Loaded
from provisioner.action.migration.hosts import write_record
from provisioner.action.prepare import Prepared
from provisioner.action.transition import last_record
from provisioner.engine.events import Emit, Note
from provisioner.engine.execute import Executor
from provisioner.engine.hostwork import HostWork
from provisioner.engine.ownership import Ownership, leftovers
from provisioner.engine.planner import Planner
from provisioner.errors import ProvisionError
from provisioner.inventory.aliases import REGISTRY
from provisioner.kube import runtimeimages
from provisioner.kube.halt import Registry, clear_script, halt_script, halted, remember_script
from provisioner.kube.inuse import parse_users, users_script
from provisioner.kube.lookagain import look_script, parse_look
from provisioner.network.record import NetworkRecord, Section, cidrs_of
from provisioner.playbook.distributions import distribution_of
from provisioner.playbook.facts import Facts
from provisioner.remote.pool import Pool
from provisioner.resources.model import Owned
from provisioner.resources.owned import kept_lines, parse_owned, taken_over
from provisioner.resources.package import brought
from provisioner.resources.packageremoval import parse_removal, removal_script
from provisioner.shell.script import Script

HALT_SECONDS = 300.0
_OTHERS = "others have put something there"
_ASIDE = "/var/lib/provision/displaced"


@dataclass(frozen=True)
class Clearing:
    """How far it goes. `whole`: the cluster ends, and with it a registry's images; `packages`: those that came by us
    go, too."""

    whole: bool = False
    keep: Keep = NOTHING
    packages: bool = False


def clear(
    prepared: Prepared, pool: Pool, host: str, facts: Facts, emit: Emit, wanted: Clearing = Clearing()
) -> int:
    """Ends what runs there for the cluster, takes away what the shipped playbook has put there, and then the cluster's
    data. What stays is told, and why: what is kept, what others have put beside ours, packages.

    Returns how many things were taken away. Raises ProvisionError, also for what a second look finds there."""
    return _Host(prepared, pool, host, facts, emit, wanted).clear()


def going(prepared: Prepared, host: str, keep: Keep = NOTHING) -> dict[str, Owned]:
    """What the host remembers to be the cluster's, but for what stays."""
    playbook, known = prepared.memory.playbook, prepared.memory.owned.get(host, {})
    kept = kept_on(prepared, host, known, keep)
    if keep.bundle:
        kept |= {IMAGES, STORED}
    return _ours(known, playbook, kept)


def stores(known: Mapping[str, Owned], facts: Facts, playbook: str) -> bool:
    """Whether images of a registry of ours lie there, by what the host knows, or what an earlier one has left: none of
    somebody's that ran before us."""
    registry = known.get(f"systemd:{registry_unit(facts)}")
    if registry is None or registry.before.get("active"):
        return STORED in known
    return playbook in registry.playbooks


def registry_unit(facts: Facts) -> str:
    """The name of its unit."""
    return f"{distribution_of(facts).registry_unit}.service"


def _ours(known: Mapping[str, Owned], playbook: str, kept: Collection[str]) -> dict[str, Owned]:
    return {rid: each for rid, each in known.items() if playbook in each.playbooks and rid not in kept}


@dataclass(frozen=True)
class _Host:
    """One host at work."""

    prepared: Prepared
    pool: Pool
    name: str
    facts: Facts
    emit: Emit
    wanted: Clearing

    @property
    def playbook(self) -> str:
        return self.prepared.memory.playbook

    def clear(self) -> int:
        known = taken_over(parse_owned(self.facts.owned), self.playbook)
        kept = kept_on(self.prepared, self.name, known, self.wanted.keep)
        ours = _ours(known, self.playbook, kept)
        units = {each.name for each in ours.values() if each.kind == "systemd"}
        images, registry = self._images(known, ours), self._registry(known, units)
        self._remember(known, images)
        self._know_network()
        stays = self._halt(units, registry, images)
        if IMAGES in known and IMAGES not in images:
            self._run(runtimeimages.delete_script())
        ended = [*halted(units), *([registry.unit] if registry and registry.unit else [])]
        self._look(ended)  # where it finds something, the next run still knows what there was to end
        for rid, (name, users) in parse_users(self._run(users_script())).items():
            if ours.pop(rid, None):
                stays[name] = f"of use to {users}"
        count = self._take_away(known, ours)
        stays |= self._packages(known, ours, kept)
        stays |= self._forget(known, kept, images)
        stays |= self._look(_ended(ours, "active", "enabled"))
        if stays:
            told = "; ".join(f"{what} ({why})" for what, why in stays.items())
            self.emit(Note(message=f"{self.name}: stays: {told}"))
        return count

    def _images(self, known: Mapping[str, Owned], ours: Collection[str]) -> frozenset[str]:
        """Ids of those that stay, as they are remembered."""
        keep, found = self.wanted.keep, set[str]()
        if ours and keeps_images(self.prepared, self.name, keep):
            found.add(IMAGES)
        if STORED in known and (keep.registry or keep.bundle):
            found.add(STORED)
        if keep.bundle and not keep.registry and stores(known, self.facts, self.playbook):
            found.add(STORED)
        return frozenset(found)

    def _registry(self, known: Mapping[str, Owned], units: Collection[str]) -> Registry | None:
        """One that goes with its images."""
        keep = self.wanted.keep
        if (
            not self.wanted.whole
            or keep.registry
            or keep.bundle
            or not stores(known, self.facts, self.playbook)
        ):
            return None
        unit = registry_unit(self.facts)
        return Registry(unit if unit in units else "", distribution_of(self.facts).registry_storage)

    def _remember(self, known: Mapping[str, Owned], images: Collection[str]) -> None:
        """Images that stay, before anything else by which a run that is killed would be known to have kept them."""
        new = {rid: images_of(self.playbook, rid) for rid in images if rid not in known}
        if new:
            run = self.prepared.loaded.run
            self._run(remember_script(kept_lines(new, {*new}, self.playbook, run)))

    def _know_network(self) -> None:
        """Where pods have addresses is known there from now on: control planes may be cleared, and the run killed,
        before this host is done. Not where that cannot be written: what makes room on a full disk comes next."""
        record = last_record(self.prepared.facts)
        if self.wanted.whole and self.facts.mark and record != NetworkRecord():
            with suppress(ProvisionError):
                write_record(self.pool, [self.name], record)

    def _halt(
        self, units: Collection[str], registry: Registry | None, images: Collection[str]
    ) -> dict[str, str]:
        attached = attached_to(self.prepared.loaded)
        script = halt_script(units, self._pod_cidrs, attached, images=IMAGES not in images, registry=registry)
        return parse_look(self._run(script)).stays

    def _take_away(self, known: Mapping[str, Owned], ours: Mapping[str, Owned]) -> int:
        """Of `ours` what can be; the host's memory is of all that is `known`."""
        kinds, run = self.prepared.kinds, self.prepared.loaded.run
        stage = leftovers((), {self.name: ours}, self.playbook, kinds)
        plan = Planner(self.pool, kinds).plan([stage], inventory="", inputs="", texts=False)
        ownership = Ownership(run, self.playbook, {self.name: known}, kinds)
        work = HostWork(self.pool, kinds, self.emit, run, ownership=ownership)
        outcome = Executor(work, {}, self.emit).run(plan)
        if not outcome.ok:
            failure = outcome.failures[0]
            raise ProvisionError(f"{self.name}: {failure.resource}: {failure.reason}", failure.hint)
        return sum(outcome.changed.values())

    def _packages(
        self, known: Mapping[str, Owned], ours: Mapping[str, Owned], kept: Collection[str]
    ) -> dict[str, str]:
        """Those that stay, and why. Those that go have no service of `ours` that runs on."""
        asked = packages_of(known, self.playbook)
        if not self.wanted.packages:
            why = "kept" if self.wanted.keep.bundle else "packages that provision installed"
            return {", ".join(asked): why} if asked else {}
        others = [
            each
            for each in known.values()
            if each.kind == "package" and (each.id in kept or each.playbooks != {self.playbook})
        ]
        names = {name for each in others for name in each.name.split(", ")}
        found = parse_removal(self._run(removal_script({*asked} - names, names, _ended(ours, "active"))))
        if found.gone:
            self.emit(Note(message=f"{self.name}: removed the packages {', '.join(found.gone)}"))
        return {f"the package {name}": why for name, why in found.stays.items()}

    def _forget(
        self, known: Mapping[str, Owned], kept: frozenset[str], images: frozenset[str]
    ) -> dict[str, str]:
        """What the host remembers goes, but for what stays; which is returned, and why."""
        run = self.prepared.loaded.run
        others = any(each.playbooks - {self.playbook} for each in known.values())
        everything = {**known, **{rid: images_of(self.playbook, rid) for rid in images}}
        memory = []
        if kept or images or others:
            memory = kept_lines(everything, kept | images, self.playbook, run)
        made = [each.name for each in known.values() if _is_folder_of_ours(each) and each.id not in kept]
        script = clear_script(made=made, memory=memory)
        above = folders_above({known[rid].name for rid in kept})
        found = [path for path in self._run(script).splitlines() if path not in above]
        return {path: why_left(path, kept) for path in found} | self._kept(images)

    def _kept(self, images: Collection[str]) -> dict[str, str]:
        keep, kept = self.wanted.keep, {}
        if keep.registry and self._is_registry:
            kept["the registry with its images"] = "kept"
        elif STORED in images:
            kept["the registry's images"] = "kept"
        if IMAGES in images:
            kept["programs and container images"] = "kept"
        return kept

    @property
    def _pod_cidrs(self) -> list[str]:
        """Also of a network that is not the inventory's: the cluster goes as it is."""
        return pod_cidrs_of(self.prepared.loaded, last_record(self.prepared.facts).at_work)

    @property
    def _is_registry(self) -> bool:
        return REGISTRY in groups_of(self.prepared, self.name)

    def _look(self, ended: Collection[str]) -> dict[str, str]:
        """What stays, and why. Raises ProvisionError for what should be gone; `ended` are the units that have."""
        loaded = self.prepared.loaded
        seen = parse_look(self._run(look_script(ended, self._pod_cidrs, attached_to(loaded))))
        if seen.left:
            raise ProvisionError(
                f"{self.name}: was cleared, but looked at again it has {', '.join(seen.left)}",
                f"run the same command again; what is there then, somebody on {self.name} brings back or holds",
            )
        return seen.stays

    def _run(self, script: Script) -> str:
        result = self.pool.session(self.name).run(script, deadline=HALT_SECONDS)
        if result.status != 0:
            said = result.stderr.decode(errors="replace").strip()[-400:]
            raise ProvisionError(
                f"{self.name}: clearing it failed: {said}", "mend that and run the same command again"
            )
        return result.stdout.decode(errors="replace")


def pod_cidrs_of(loaded: Loaded, at_work: Sequence[Section] = ()) -> list[str]:
    """Where pods have addresses, by the spec and by the sections `at_work`; nothing without a cluster."""
    if loaded.spec is None:
        return []
    network = loaded.spec.network
    wanted = [*network.pod_cidrs, *(each.cidr for each in network.calico.pools)]
    return [*dict.fromkeys([*wanted, *(cidr for section in at_work for cidr in cidrs_of(section))])]


def attached_to(loaded: Loaded) -> list[str]:
    """What CNI calls the networks that pods get beside the cluster's own."""
    return (
        [f"{each.namespace}.{each.name}" for each in loaded.spec.network.attachments] if loaded.spec else []
    )


def packages_of(known: Mapping[str, Owned], playbook: str) -> tuple[str, ...]:
    """Those that only `playbook` asked for, and that were not there before."""
    mine = (each for each in known.values() if each.kind == "package" and each.playbooks == {playbook})
    return tuple(dict.fromkeys(name for each in mine for name in brought(each)))


def why_left(path: str, kept: Collection[str]) -> str:
    """What a path is that clear_script has left alone; `kept` are ids."""
    place = path.removeprefix(_ASIDE)
    if place == path:
        return _OTHERS
    return "the original of what is kept" if f"file:{place}" in kept else "others' own, which was in the way"


def _is_folder_of_ours(owned: Owned) -> bool:
    return owned.kind == "file" and owned.wanted.get("type") == "directory" and not owned.before


def _ended(ours: Mapping[str, Owned], *unless: str) -> set[str]:
    """Units that do not run any more: all of `ours`, `unless` they were so before."""
    units = (each for each in ours.values() if each.kind == "systemd")
    return {each.name for each in units if not any(each.before.get(state) for state in unless)}
