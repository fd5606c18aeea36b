"""Builds a bundle: what is missing of the catalogue is made, one component after the other, then the
layout is written.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from provisioner.bundle import catalogue, frommodule, golang, ospackages, write
from provisioner.bundle.catalogue import Component, Distribution
from provisioner.bundle.completeness import prove_complete
from provisioner.bundle.frommodule import NO_INPUTS, Inputs
from provisioner.bundle.ingest import take
from provisioner.bundle.layout import Bundle, bundles_directory, default_bundle_path
from provisioner.bundle.oci import digest_of
from provisioner.bundle.recipe import module_key, release_key
from provisioner.bundle.store import Finished, Store
from provisioner.bundle.tarball import is_packed, pack
from provisioner.engine.events import Emit, Note, Progress, Step
from provisioner.errors import InputError, Problem, ProvisionError

SOURCES = ("auto", "release", "module", "file")


@dataclass(frozen=True)
class Plan:
    """How one component is had: it is there (`finished`), or it is made from `origin` and kept under
    `key`.
    """

    component: Component
    origin: str
    key: str
    finished: Finished | None
    inputs: Inputs = NO_INPUTS


def build(
    *,
    components: Sequence[str] | None,
    source: str,
    output: Path | None,
    emit: Emit,
    requested: Sequence[str] = (),
    files: Sequence[Path] = (),
) -> Bundle:
    """Make a bundle of the named `components` (None: all) in `output` (None: below the user's cache; NAME.tar: one
    file, whose directory stays in the cache).

    `source` is release, module, or auto: what is cached, else the release if its publisher answers, else the
    module. A bundle of the whole catalogue that goes to the cache becomes the default one. An interrupted
    build leaves every finished component, Go's cache and the downloads so far for the next. What comes
    on request alone is in it for the names `requested`, or where it is cached. What `files` have comes in beside that,
    or in its place; with the source `file` nothing else does. Raises ProvisionError, LockedError.
    """
    if source not in SOURCES:
        raise ProvisionError(f"{source!r} is no source", "one of: " + ", ".join(SOURCES))
    every: tuple[Component | Distribution, ...] = (*catalogue.load(), *catalogue.distributions())
    asked = check_requested(every, requested)
    chosen = catalogue.select(every, [*components, *asked] if components else None)
    store = Store(platformdirs.user_cache_path("provision") / "build")
    names = {*(components or ()), *requested}
    parts = [each for each in chosen if isinstance(each, Distribution) or _is_wanted(each, names, store)]
    left_out = None if components else list(_left_out(every))
    return _made(parts, Target(source, output, left_out, files), store, emit)


def build_chosen(
    chosen: Sequence[Component | Distribution],
    *,
    source: str,
    output: Path | None,
    emit: Emit,
    files: Sequence[Path] = (),
) -> Bundle:
    """Make a bundle of these and nothing else, as `build`. Raises ProvisionError, LockedError, also for what cannot be
    had now."""
    store = Store(platformdirs.user_cache_path("provision") / "build")
    return _made(chosen, Target(source, output, None, files, exact=True), store, emit)


@dataclass(frozen=True)
class Target:
    """Of a build: where parts come `source` from, the folder `output` (None: below the user's cache), and the images
    that a bundle of the whole catalogue is without; None for one of some parts, which have all to be had. `files` are
    archives and folders, whose content takes the place of what would be made; with `exact` only that comes in."""

    source: str
    output: Path | None
    left_out: list[str] | None
    files: Sequence[Path] = ()
    exact: bool = False


def _is_taken(taken: Sequence[Finished], part: Component | Distribution) -> bool:
    return isinstance(part, Component) and take.replaces(taken, part)


def _made(chosen: Sequence[Component | Distribution], target: Target, store: Store, emit: Emit) -> Bundle:
    try:
        with store.lock():
            taken = take.take(target.files, catalogue.load(), store, emit) if target.files else []
            if target.source == "file" and not taken:
                raise InputError([Problem("--from", 0, 0, "nothing there is of use for a bundle")])
            if target.exact:
                taken = [each for each in taken if any(_is_taken([each], part) for part in chosen)]
            wanted = [each for each in chosen if target.source != "file" and not _is_taken(taken, each)]
            finished = _finished(wanted, target, store, emit)
            whole = target.left_out is not None and target.source != "file"
            if whole:
                prove_complete(finished, store, [*(target.left_out or ()), *take.names_of(taken)])
            finished += taken
            take.say_lacking(taken, finished, emit)
            written = _write(finished, store, target.output, whole=whole)
    except OSError as error:
        raise ProvisionError(
            f"the bundle could not be built: {error}", f"is there space below {store.root}?"
        ) from error
    if target.output is not None and is_packed(target.output):
        pack(written, target.output, emit)
        return replace(Bundle.open(written), path=target.output)
    return Bundle.open(written)


def _finished(
    chosen: Sequence[Component | Distribution], target: Target, store: Store, emit: Emit
) -> list[Finished]:
    wanted = [each for each in chosen if isinstance(each, Component)]
    systems = [each for each in chosen if isinstance(each, Distribution)]
    named, source = target.left_out is None, target.source
    plans = _plan([each for each in wanted if not (each.own or each.published_only)], source, store, emit)
    plans += published([each for each in wanted if not each.on_request], source, store, emit, named=named)
    plans += [_from_release(each, store) for each in wanted if each.on_request]
    plans += _plan_own(wanted, store, emit)
    finished = _finish(plans, store, emit)
    return finished + _finish_packages(systems, store, emit, named=named)


def check_requested(every: Iterable[Component | Distribution], names: Sequence[str]) -> list[str]:
    """The components that come on request for these names. Raises InputError for names for which nothing does."""
    offered = [each for each in every if isinstance(each, Component) and each.on_request]
    known = sorted({each.on_request for each in offered})
    catalogue.check_known("--with", names, known, "nothing comes on request for '{}'")
    return [each.name for each in offered if each.on_request in names]


def _is_wanted(component: Component, named: Collection[str], store: Store) -> bool:
    if not component.on_request or {component.on_request, component.name} & {*named}:
        return True
    return store.finished(release_key(component)) is not None


def _left_out(every: Iterable[Component | Distribution]) -> Iterator[str]:
    """Images that a bundle is whole without."""
    for each in every:
        if isinstance(each, Component):
            yield from each.without
            if each.on_request:
                yield each.wanted_name


def _finish(plans: Sequence[Plan], store: Store, emit: Emit) -> list[Finished]:
    finished = []
    for number, plan in enumerate(plans):
        emit(
            Progress(
                task="bundle", subject=plan.component.name, done=number, total=len(plans), unit="components"
            )
        )
        began = time.monotonic()
        result = plan.finished or _make(plan, store, emit)
        seconds = time.monotonic() - began
        emit(Step(task="bundle", subject=plan.component.name, seconds=seconds, changed=plan.finished is None))
        finished.append(result)
    emit(Progress(task="bundle", done=len(plans), total=len(plans), unit="components"))
    return finished


def _finish_packages(
    systems: Sequence[Distribution], store: Store, emit: Emit, *, named: bool
) -> list[Finished]:
    """The packages of operating systems. Those that this machine's apt cannot get are left out, which is said; raises
    ProvisionError then when they were `named`."""
    finished = []
    for system in systems:
        began = time.monotonic()
        try:
            resolved = ospackages.resolve(system, store, emit)
        except ProvisionError as fault:
            if named:
                raise
            said = (
                f"no packages of {system.name}, whose hosts have to reach their own sources: {fault.reason}"
            )
            emit(Note(level="warning", message=said, hint=fault.hint))
            continue
        key = resolved.key(system)
        there = store.finished(key)
        result = there or ospackages.make(system, resolved, store, emit)
        store.finish(key, result)
        seconds = time.monotonic() - began
        emit(Step(task="bundle", subject=f"packages {system.name}", seconds=seconds, changed=there is None))
        finished.append(result)
    return finished


def _make(plan: Plan, store: Store, emit: Emit) -> Finished:
    if plan.origin == "release":
        result = _from_publisher(plan.component, store, emit)
    else:
        result = frommodule.make(plan.component, plan.inputs, store, emit)
    store.finish(plan.key, result)
    return result


def _from_publisher(component: Component, store: Store, emit: Emit) -> Finished:
    from provisioner.bundle import fromrelease

    try:
        return fromrelease.make(component, store, emit)
    except ProvisionError as fault:
        if not component.published_only:
            raise
        hint = "only its publisher has it: build where he answers, directly or, with --for, through a proxy"
        raise ProvisionError(fault.reason, hint) from fault


def _plan(wanted: Sequence[Component], source: str, store: Store, emit: Emit) -> list[Plan]:
    """Decide how each component is had; the network is asked only for what is neither decided nor cached."""
    releases = [_from_release(component, store) for component in wanted]
    if not wanted or source == "release" or (source == "auto" and all(plan.finished for plan in releases)):
        return releases
    try:
        modules: list[Plan] = _from_modules(wanted, store)
    except ProvisionError as error:
        if source == "module":
            raise
        return _releases_only(releases, error, emit)
    if source == "module":
        return modules
    pairs = list(zip(releases, modules, strict=True))
    hosts = _reachable([plan for plan, module in pairs if not (plan.finished or module.finished)], emit)
    return [_choose(release, module, hosts) for release, module in pairs]


def _plan_own(wanted: Sequence[Component], store: Store, emit: Emit) -> list[Plan]:
    """What nobody publishes: images of packages alone, and rendered charts. What this machine's apt cannot get is left
    out, or what wants Go, which is said; raises ProvisionError where nothing else is wanted."""
    plans = []
    for component in (each for each in wanted if each.own):
        try:
            inputs = Inputs.of(component, store)
            if component.module.chart and not store.finished(module_key(component, inputs, toolchain="")):
                golang.toolchain_version()
        except ProvisionError as fault:
            if len(wanted) == 1:
                raise
            emit(Note(level="warning", message=f"no {component.name}: {fault.reason}", hint=fault.hint))
            continue
        key = module_key(component, inputs, toolchain="")
        plans.append(Plan(component, "module", key, store.finished(key), inputs))
    return plans


def published(
    wanted: Sequence[Component], source: str, store: Store, emit: Emit, *, named: bool
) -> list[Plan]:
    """How the components are had that are built from no module, but for those on request. All are left out, which is
    said, where one of them cannot be had: what is `named`, or asked from releases, is not."""
    plans = [_from_release(each, store) for each in wanted if each.published_only and not each.on_request]
    missing = [plan for plan in plans if plan.finished is None]
    if not missing or source == "release" or (named and source == "auto"):
        return plans
    names = ", ".join(plan.component.name for plan in plans)
    if source == "module" and named:
        raise ProvisionError(f"there is no Go module of {names}", "use --source release")
    silent = {_host(plan) for plan in missing}
    if source == "auto":
        from provisioner.bundle import fromrelease, reach

        silent -= reach.reachable(fromrelease.publisher(plan.component) for plan in missing)
    if not silent:
        return plans
    why = (
        "there is no Go module of them"
        if source == "module"
        else f"not reachable: {', '.join(sorted(silent))}"
    )
    hint = "for network.attachments and Calico's operator alone; build the bundle anew where the publisher answers"
    emit(Note(message=f"without {names}: {why}", hint=hint))
    return []


def _releases_only(releases: list[Plan], error: ProvisionError, emit: Emit) -> list[Plan]:
    """Without Go or apt there is one way left. Raises `error` when that one is closed, too."""
    missing = [plan for plan in releases if not plan.finished]
    hosts = _reachable(missing, emit)
    if any(_host(plan) not in hosts for plan in missing):
        raise error
    return releases


def _from_release(component: Component, store: Store) -> Plan:
    key = release_key(component)
    return Plan(component, "release", key, store.finished(key))


def _from_modules(wanted: Sequence[Component], store: Store) -> list[Plan]:
    toolchain = golang.toolchain_version()
    plans = []
    for component in wanted:
        inputs = Inputs.of(component, store)
        key = module_key(component, inputs, toolchain)
        plans.append(Plan(component, "module", key, store.finished(key), inputs))
    return plans


def _choose(release: Plan, module: Plan, hosts: frozenset[str]) -> Plan:
    if release.finished or (not module.finished and _host(release) in hosts):
        return release
    return module


def _host(plan: Plan) -> str:
    from provisioner.bundle import fromrelease

    return urlsplit(fromrelease.publisher(plan.component)).netloc


def _reachable(plans: Sequence[Plan], emit: Emit) -> frozenset[str]:
    """The hosts of the publishers that answer."""
    if not plans:
        return frozenset()
    from provisioner.bundle import fromrelease, reach

    urls = [fromrelease.publisher(plan.component) for plan in plans]
    hosts = reach.reachable(urls)
    silent = sorted({urlsplit(url).netloc for url in urls} - hosts)
    if silent:
        emit(Note(message=f"not reachable: {', '.join(silent)}; their components are built from Go modules"))
    return hosts


def _write(finished: Sequence[Finished], store: Store, output: Path | None, whole: bool) -> Path:
    key = digest_of(write.index_of(finished))[7:23]
    target = bundles_directory() / key if output is None or is_packed(output) else output
    write.write_bundle(finished, store, target)
    if whole:
        shutil.rmtree(store.root / "downloads", ignore_errors=True)
        if output is None:
            write.point(default_bundle_path(), target)
    return target
