"""Makes parts of a bundle of what files have, and says what each of them was taken for."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.bundle import oci, publish
from provisioner.bundle.catalogue import Component
from provisioner.bundle.ingest.files import Content, Look, look
from provisioner.bundle.ingest.images import TakenImage
from provisioner.bundle.ingest.limits import LIMITS, Limits
from provisioner.bundle.ingest.loose import Unused
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import Finished, Store, hash_file
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, Problem

ORIGIN = "file"


def take(
    paths: Sequence[Path],
    components: Sequence[Component],
    store: Store,
    emit: Emit,
    limits: Limits = LIMITS,
) -> list[Finished]:
    """What lies at `paths`, complete in the store. Raises InputError with every file that is refused, and why."""
    with store.workspace() as workspace:
        content = look(paths, Look(components, store, emit, limits, workspace))
        _settle_versions(content)
        problems = [*content.problems, *_conflicts(content)]
        if problems:
            raise InputError(
                problems, "what is damaged is fetched once more; what is no part of a bundle is left out"
            )
        _say(content, emit)
        return [*_images(content, components), *_artifacts(content, store)]


def replaces(taken: Collection[Finished], component: Component) -> bool:
    """Whether a component need not be made, because a file has it: an image of the same name, or the same artifact of
    any version."""
    for part in taken:
        notes = part.entry.annotations
        if component.kind == "image" and notes[oci.REF_NAME] == component.wanted_name:
            return True
        if part.entry.artifact_type and notes[oci.COMPONENT] == component.name:
            return part.entry.platform == component.platform
    return False


def names_of(taken: Collection[Finished]) -> frozenset[str]:
    """The names of the images among them."""
    return frozenset(part.entry.annotations[oci.REF_NAME] for part in taken if not part.entry.artifact_type)


def say_lacking(taken: Collection[Finished], every: Collection[Finished], emit: Emit) -> None:
    """Which images manifests out of files ask for that the bundle does not have."""
    there = names_of(every)
    for part in taken:
        notes = part.entry.annotations
        lacking = [image for image in notes.get(oci.IMAGES, "").split() if image not in there]
        if lacking:
            message = f"{notes[oci.COMPONENT]} {notes[oci.VERSION]} asks for {', '.join(lacking)}: not in the bundle"
            emit(
                Note(
                    level="warning", message=message, hint="give the archives that have them with --from, too"
                )
            )


def _settle_versions(content: Content) -> None:
    """Some manifests have no image: they are of the version of the one release of their project that is there."""
    told: dict[str, set[str]] = {}
    for _, part in content.parts:
        if part.version and part.component.kind != "archive":
            told.setdefault(part.component.homepage, set()).add(part.version)
    parts, content.parts = content.parts, []
    for path, part in parts:
        of = told.get(part.component.homepage, set())
        if part.version or len(of) == 1:
            content.parts.append((path, replace(part, version=part.version or next(iter(of)))))
        else:
            why = f"is {part.component.name} of which release it does not say, and nothing beside it does"
            content.unused.append((path, Unused(path.name, why)))


def _conflicts(content: Content) -> Iterator[Problem]:
    images: dict[str, tuple[Path, str]] = {}
    for path, image in content.images:
        other, image_id = images.setdefault(image.name, (path, image.image_id))
        if image_id != image.image_id:
            yield Problem(str(path), 0, 0, f"has another {image.name} than {other}", "leave one of them out")
    parts: dict[str, tuple[Path, str]] = {}
    for path, part in content.parts:
        digest, _ = hash_file(part.path)
        other, before = parts.setdefault(part.component.name, (path, digest))
        if before != digest:
            reason = f"has another {part.component.name} than {other}"
            yield Problem(str(path), 0, 0, reason, "leave one of them out")


def _say(content: Content, emit: Emit) -> None:
    """What each file was taken for, and what was not taken."""
    for path, image in content.images:
        emit(Note(message=f"{path}: the image {image.name} ({image.image_id[:19]})"))
    for path, part in content.parts:
        emit(Note(message=f"{path}: {part.component.name} {part.version}"))
    for path, each in content.unused:
        what = "" if each.name == path.name else f"{each.name} "
        emit(Note(level="warning", message=f"{path}: not taken: {what}{each.why}"))
    if not content.images and not content.parts:
        emit(Note(level="warning", message="nothing there is of use for a bundle"))


def _images(content: Content, components: Sequence[Component]) -> Iterator[Finished]:
    # The same image may come with its publisher's manifest and without: that one has the digest that others know.
    images = sorted((image for _, image in content.images), key=lambda image: image.published)
    for image in {image.name: image for image in images}.values():
        known = (each for each in components if each.wanted_name == image.name and each.kind == "image")
        component = next((each for each in known if each.platform == image.platform), None)
        entry = publish.entry_for(component, image.manifest, ORIGIN) if component else _entry(image)
        yield Finished(entry, (image.manifest, *image.blobs))


def _entry(image: TakenImage) -> Descriptor:
    name, _, tag = image.name.rpartition(":")
    notes = {oci.REF_NAME: image.name, oci.VERSION: tag, oci.ORIGIN: ORIGIN}
    notes |= {oci.TITLE: name.rpartition("/")[2], oci.COMPONENT: name.rpartition("/")[2]}
    return replace(image.manifest, annotations=notes, platform=image.platform)


def _artifacts(content: Content, store: Store) -> Iterator[Finished]:
    for path, part in {part.component.name: (path, part) for path, part in content.parts}.values():
        component = replace(part.component, version=part.version)
        more = {oci.IMAGES: " ".join(part.images)} if part.images else {}
        with store.workspace() as workspace:
            file = part.path
            if file == path:
                file = Path(shutil.copyfile(path, workspace / "file"))
            yield publish.artifact(component, file, ORIGIN, store, more)
