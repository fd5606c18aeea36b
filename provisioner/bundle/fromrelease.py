"""Takes a component from its publisher: a file of a release, or an image of his registry."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from provisioner.bundle import download, publish, pull
from provisioner.bundle.catalogue import Component, Release
from provisioner.bundle.store import Finished, Store
from provisioner.engine.events import Emit, Progress
from provisioner.errors import ProvisionError

ORIGIN = "release"


def publisher(component: Component) -> str:
    """The address by which the publisher is found to be reachable or not."""
    if component.release:
        return component.release.checksum or component.release.url
    return f"https://{pull.registry_of(component.reference)}/v2/"


def make(component: Component, store: Store, emit: Emit) -> Finished:
    """Raises ProvisionError when the publisher cannot be read or his checksum does not fit."""
    if component.release is None:
        return pull.image(component, store, emit)

    def seen(done: int, total: int | None) -> None:
        emit(Progress(task="download", subject=component.name, done=done, total=total, unit="bytes"))

    # An archive serves several components: it stays among the downloads until the whole bundle is complete.
    release, downloads = component.release, store.root / "downloads"
    file = download.fetch(release.url, release.checksum, downloads, seen, sha256=release.sha256)
    with store.workspace() as workspace:
        taken = _member(file, component.release, workspace / "member") if component.release.member else file
        return publish.artifact(component, taken, ORIGIN, store)


def _member(archive: Path, release: Release, target: Path) -> Path:
    with tarfile.open(archive) as tar:
        # Not by its name: that reads all of an archive, and some have gigabytes after their first files.
        found = next((member for member in tar if member.name == release.member), None)
        source = tar.extractfile(found) if found else None
        if source is None:
            raise ProvisionError(f"{release.url} has no file {release.member}")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target
