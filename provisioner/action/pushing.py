"""`bundle push` and `bundle diff` with a registry: which images, to which registry, as whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.action.keyfile import check_free, write_secret
from provisioner.action.registryaccess import account
from provisioner.action.registrytrust import authority_in
from provisioner.bundle.layout import default_bundle_path
from provisioner.bundle.open import open_bundle, read_bundle
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.registry.client import Registry
from provisioner.registry.compare import Compared, compare
from provisioner.registry.harbor import Harbor
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.placing import NamedImage, placed
from provisioner.registry.push import push_all
from provisioner.registry.server import RegistryServer
from provisioner.registry.target import Target
from provisioner.registry.transport import RefusedError

if TYPE_CHECKING:  # cryptography takes time to import
    from provisioner.bundle.minisign import PublicKey


@dataclass(frozen=True)
class Access:
    """`ca` is a file in PEM (None: the system's authorities), `address` where the registry's name is, if not by DNS."""

    target: Target
    ca: Path | None = None
    address: str | None = None
    username: str | None = None
    password: Secret | None = None

    def open(self) -> Registry:
        """Raises ProvisionError when the password or the authority cannot be had."""
        return Registry(self._server())

    def harbor(self) -> Harbor:
        """Raises as `open`."""
        return Harbor(self._server())

    def _server(self) -> RegistryServer:
        if self.username and self.password is None:
            hint = "--password-file FILE or --password-command COMMAND"
            raise InputError([Problem("--username", 0, 0, f"{self.username} has no password", hint)])
        authority = None if self.ca is None else authority_in(self.ca, "--ca names the file").encode()
        who = account(self.username, self.password)
        return RegistryServer(self.target.host, self.target.port, authority, self.address, who)


def push(
    paths: Sequence[Path],
    wanted: Sequence[str],
    access: Access,
    emit: Emit,
    create: str | None = None,
    key: PublicKey | None = None,
    *,
    force: bool = False,
) -> None:
    """With `key` all have to be bundles that were signed, which is checked first. `create`: the registry is a Harbor,
    and its project is made, private or public. `force`: tags that name other images there are moved, which raises
    ConsentError else. Raises InputError, and ProvisionError as the registry does."""
    images = placed(images_of(paths, wanted, emit, key), access.target.project)
    project = HarborProject(access.harbor, access.target.project, True if create == "public" else None)
    if create is not None:
        if not project.name:
            hint = "HOST[:PORT]/PROJECT: its first part is the project"
            raise InputError([Problem("--to", 0, 0, "names no project to make", hint)])
        if project.ensure():
            emit(Note(message=f"the project {project.name} is there now, {create}"))
    with access.open() as registry:
        try:
            push_all(registry, images, emit, move=force)
        except RefusedError as refusal:
            raise project.explained(refusal) from refusal


def robot(access: Access, name: str, days: int, output: Path) -> str:
    """Makes a robot account of Harbor's that may pull and push; its secret, which is shown once, goes to a file of mode
    0600. Returns its whole name. Raises InputError before it is made where the file could not be."""
    check_free(output, force=False)
    project = access.target.project.partition("/")[0]
    if not project:
        raise InputError([Problem("--to", 0, 0, "names no project", "HOST[:PORT]/PROJECT")])
    with access.harbor() as harbor:
        made = harbor.robot(project, name, days, "made by provision: pulls and pushes")
    write_secret(made.secret, output, force=False)
    return made.name


def compared(path: Path | None, wanted: Sequence[str], access: Access, emit: Emit) -> list[Compared]:
    """Raises as `push`."""
    images = placed(images_of([path] if path else [], wanted, emit), access.target.project)
    with access.open() as registry:
        return compare(registry, images)


def images_of(
    paths: Sequence[Path], wanted: Sequence[str], emit: Emit, key: PublicKey | None = None
) -> list[NamedImage]:
    """All images of bundles (none named: the last one built), or those whose references are `wanted`.

    Raises InputError when one of these is nowhere, ProvisionError when a bundle is not signed with `key`.
    """
    found = [image for path in paths or [default_bundle_path()] for image in _within(path, emit, key)]
    known = {image.reference for image in found}
    unknown = [Problem("--image", 0, 0, f"there is no image {name}", _near(name, known)) for name in wanted]
    problems = [problem for problem, name in zip(unknown, wanted, strict=True) if name not in known]
    if problems:
        raise InputError(problems)
    if not found:
        raise InputError([Problem(str(path), 0, 0, "has no images") for path in paths])
    return [image for image in found if not wanted or image.reference in wanted]


def _within(path: Path, emit: Emit, key: PublicKey | None) -> Sequence[NamedImage]:
    """Of a bundle, or of an archive of images, which is taken into the build cache first."""
    # By its looks alone, before it is read, a signed one is a bundle.
    if key is not None or _is_bundle(path):
        return open_bundle(path, emit, key).images()
    from provisioner.bundle.build import build

    return build(components=None, source="file", output=None, emit=emit, files=[path]).images()


def _is_bundle(path: Path) -> bool:
    """What is neither there is told as a bundle that is not there."""
    if not path.is_file():
        return not path.is_dir() or (path / "index.json").exists()
    try:
        return bool(read_bundle(path).contents)
    except ProvisionError:
        return False


def _near(name: str, known: set[str]) -> str:
    from provisioner.inventory.words import nearest

    near = nearest(name, sorted(known))
    return f"did you mean {near}?" if near else "`provision bundle inspect` lists them"
