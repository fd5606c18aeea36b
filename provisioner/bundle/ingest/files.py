"""Files and folders that the user names, each looked at for what it has."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from provisioner.bundle.catalogue import Component
from provisioner.bundle.ingest import loose
from provisioner.bundle.ingest.archive import has_images, take_images
from provisioner.bundle.ingest.images import TakenImage
from provisioner.bundle.ingest.layers import Intake, spooled
from provisioner.bundle.ingest.limits import Limits, shown
from provisioner.bundle.ingest.loose import Found, Part, Unused
from provisioner.bundle.ingest.plain import compression_of
from provisioner.bundle.ingest.tartable import is_tar
from provisioner.bundle.ingest.tree import FolderTree, TarTree, unreadable
from provisioner.bundle.store import Store
from provisioner.engine.events import Emit, Step
from provisioner.errors import Problem, ProvisionError

_HEAD = 512
_TOO_OLD = "was saved by a Docker before 1.10, whose images have no ID that their content proves"


@dataclass
class Content:
    """What was found: `images` and `parts` with the files that they are from, what is `unused`, and `problems` with
    files that claim to be more than they are."""

    images: list[tuple[Path, TakenImage]] = field(default_factory=list)
    parts: list[tuple[Path, Part]] = field(default_factory=list)
    unused: list[tuple[Path, Unused]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """With what files are looked at; `workspace` lasts until all of them have been taken."""

    components: Sequence[Component]
    store: Store
    emit: Emit
    limits: Limits
    workspace: Path

    @property
    def platforms(self) -> tuple[str, ...]:
        """For which there are bundles."""
        return tuple(dict.fromkeys(each.platform for each in self.components))


def look(paths: Sequence[Path], with_: Look) -> Content:
    """Everything that is at `paths`. A file that is named itself has to be of use."""
    content = Content()
    for path in paths:
        if not os.path.lexists(path):
            content.problems.append(Problem(str(path), 0, 0, "--from: there is no such file or folder"))
            continue
        try:
            for each in _files(path, content):
                _one(each, with_, content, named=each == path)
        except ProvisionError as fault:
            content.problems.append(Problem(str(path), 0, 0, fault.reason, fault.hint))
    return content


def _files(path: Path, content: Content) -> Iterator[Path]:
    """The files below `path`, and the folders that are an image layout or an unpacked archive of images."""
    if not path.is_dir() or has_images(FolderTree(path)):
        yield path
        return
    root = path.resolve()
    for folder, folders, files in os.walk(path, onerror=unreadable):
        folders.sort()
        for below in [Path(folder) / each for each in folders]:
            if below.is_symlink():
                content.unused.append(
                    (below, Unused(below.name, "is a link to a folder; those are not followed"))
                )
            elif has_images(FolderTree(below)):
                folders.remove(below.name)
                yield below
        for file in (Path(folder) / name for name in sorted(files)):
            # Not Path.resolve, which takes exception to links that lead in a circle.
            if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(root):
                reason = f"is a link out of the folder, to {shown(str(file.readlink()))}"
                content.problems.append(Problem(str(file), 0, 0, reason, "name the file itself with --from"))
            else:
                yield file


def _one(path: Path, with_: Look, content: Content, *, named: bool) -> None:
    began = time.monotonic()
    intake = Intake(with_.store, with_.emit, with_.limits, shown(path.name))
    workspace = Path(tempfile.mkdtemp(dir=with_.workspace))
    try:
        if path.is_dir():
            images, found = take_images(FolderTree(path), with_.platforms, intake), list[Found]()
        else:
            images, found = _file(path, workspace, with_, intake)
    except ProvisionError as fault:
        content.problems.append(Problem(str(path), 0, 0, fault.reason, fault.hint))
        shutil.rmtree(workspace)
        return
    _clear(workspace, found)
    content.images += [(path, image) for image in images]
    for each in found:
        if isinstance(each, Part):
            content.parts.append((path, each))
        elif named and not images and len(found) == 1:
            content.problems.append(Problem(str(path), 0, 0, f"{each.name} {each.why}"))
        else:
            content.unused.append((path, each))
    if images or any(isinstance(each, Part) for each in found):
        with_.emit(Step(task="ingest", subject=intake.subject, seconds=time.monotonic() - began))


def _clear(workspace: Path, found: Sequence[Found]) -> None:
    """Of what was unpacked only what is taken stays: there may be many archives."""
    kept = {each.path for each in found if isinstance(each, Part)}
    for file in workspace.iterdir():
        if file not in kept:
            file.unlink()


def _file(path: Path, workspace: Path, with_: Look, intake: Intake) -> tuple[list[TakenImage], list[Found]]:
    """Raises ProvisionError for an archive that is not as it has to be."""
    with _opened(path) as file:
        form = compression_of(file.read(_HEAD))
        plain = path
        if form:
            file.seek(0)
            plain = workspace / "plain"
            spooled(file, form, plain, intake)
    with plain.open("rb") as opened:
        head = opened.read(_HEAD)
        if not is_tar(head):
            return [], [_single(plain, head, intake.subject, workspace, with_)]
        tree = TarTree(opened, intake.limits)
        if has_images(tree):
            return take_images(tree, with_.platforms, intake), []
        if "repositories" in tree.names():
            raise ProvisionError(
                _TOO_OLD, "`docker load` it into a newer one, and `docker save` it from there"
            )
        packed = (path if form == "gzip" else plain, form)
        found = loose.programs(tree, packed, workspace, with_.components)
    return [], found or [Unused(intake.subject, "is an archive without images or programs")]


def _opened(path: Path) -> BinaryIO:
    """Raises ProvisionError for what is no file, without waiting at the end of a pipe, and for what may not be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ProvisionError("is no file")
        return path.open("rb")
    except OSError as error:
        raise ProvisionError(f"cannot be read: {error.strerror}") from error


def _single(path: Path, head: bytes, name: str, workspace: Path, with_: Look) -> Found:
    if not head:
        return Unused(name, "is empty")
    kept = workspace / "file"
    found = (loose.program if head[:4] == b"\x7fELF" else loose.text)(path, name, with_.components)
    if isinstance(found, Unused) or path.is_relative_to(workspace):
        return found
    shutil.copyfile(path, kept)
    return Part(found.component, found.version, kept, found.images)
