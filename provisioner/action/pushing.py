"""`bundle push`, `bundle robot`, and `bundle diff` with a registry: which images, to which registry, as whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from ipaddress import ip_address
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
from provisioner.registry import tls, unreached
from provisioner.registry.client import Registry
from provisioner.registry.compare import Compared, compare
from provisioner.registry.harbor import Harbor, NoHarborError
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.placing import NamedImage, placed
from provisioner.registry.push import push_all
from provisioner.registry.server import RegistryServer
from provisioner.registry.target import Target
from provisioner.registry.transport import RefusedError

if TYPE_CHECKING:  # cryptography takes time to import
    from provisioner.bundle.minisign import PublicKey


_ACCOUNT = "give --username and --password-file"
# As Harbor's server checks it (goharbor/harbor, src/server/v2.0/handler/robot.go).
_ROBOT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_MOST_NAMES = 4


@dataclass(frozen=True)
class Access:
    """`ca` is a file in PEM (None: the system's authorities), `address` where the registry's name is, if not by DNS."""

    target: Target
    ca: Path | None = None
    address: str | None = None
    username: str | None = None
    password: Secret | None = None

    def open(self) -> Registry:
        """Raises InputError as `server`, UnreachableError at once when nothing takes a connection."""
        unreached.check(self.server)
        return Registry(self.server)

    def harbor(self) -> Harbor:
        """Raises as `open`."""
        unreached.check(self.server)
        return Harbor(self.server)

    def check(self) -> None:
        """Before anything else is done. Raises as `server`."""
        _ = self.server

    @cached_property
    def server(self) -> RegistryServer:
        """The password is asked for once. Raises InputError with all that is wrong with what was given."""
        if problems := list(self._problems()):
            raise InputError(problems)
        who = account(self.username, self.password)
        return RegistryServer(self.target.host, self.target.port, self._authority, self.address, who)

    @cached_property
    def _authority(self) -> bytes | None:
        return None if self.ca is None else authority_in(self.ca, "a file of certificates in PEM").encode()

    def _problems(self) -> Iterator[Problem]:
        if self.username and self.password is None:
            hint = "--password-file FILE or --password-command COMMAND"
            yield Problem("--username", 0, 0, f"{self.username} has no password", hint)
        if self.password is not None and not self.username:
            reason = "there is a password, and no account that it is of"
            yield Problem("--username", 0, 0, reason, "give its name, or leave the password out")
        if self.address is not None and not _is_address(self.address):
            hint = "an IPv4 or IPv6 address at which the registry is"
            yield Problem("--address", 0, 0, f"{self.address!r} is no IP address", hint)
        try:
            if self._authority is not None:
                tls.trust(self._authority)
        except ProvisionError as fault:
            yield Problem("--ca", 0, 0, fault.reason, fault.hint)


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
    public = True if create == "public" else None
    project = HarborProject(access.harbor, access.target.project, public, emit)
    if create is not None and not project.name:
        hint = "HOST[:PORT]/PROJECT: its first part is the project"
        raise InputError([Problem("--to", 0, 0, "names no project to make", hint)])
    access.check()
    images = placed(images_of(paths, wanted, emit, key), access.target.project)
    with _asked_for_an_account(access):
        if create is not None:
            _check_harbor(access, "push without --create-project: others make repositories by themselves")
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
    project = access.target.project.partition("/")[0]
    _check_robot(access, name, project)
    # Not written over: a secret that is lost so cannot be had again.
    check_free(output, force=False, hint="name another one, or move it away")
    access.check()
    _check_harbor(access, "robot accounts are Harbor's: make this one by the registry's own means")
    with access.harbor() as harbor:
        made = harbor.robot(project, name, days, "made by provision: pulls and pushes")
    write_secret(made.secret, output, force=False)
    return made.name


def _check_robot(access: Access, name: str, project: str) -> None:
    problems = []
    if not project:
        problems.append(Problem("--to", 0, 0, "names no project", "HOST[:PORT]/PROJECT"))
    if not _ROBOT.fullmatch(name):
        hint = "small letters and digits, and one of . _ - between them; Harbor itself puts robot$PROJECT+ before it"
        problems.append(Problem("NAME", 0, 0, f"{name!r} cannot be a robot account's name", hint))
    if not access.username and access.password is None:
        problems.append(Problem("--username", 0, 0, "Harbor makes accounts for accounts only", _ACCOUNT))
    if problems:
        raise InputError(problems)


def _check_harbor(access: Access, hint: str) -> None:
    """Raises ProvisionError, with `hint`, when another registry answers."""
    try:
        with access.harbor() as harbor:
            harbor.info()
    except NoHarborError as fault:
        raise ProvisionError(fault.reason, hint) from fault
    except RefusedError:
        return  # whatever else it refuses, the request in question tells better


@contextmanager
def _asked_for_an_account(access: Access) -> Iterator[None]:
    """What is refused because we named none is told so."""
    try:
        yield
    except ProvisionError as fault:
        refusal = fault if isinstance(fault, RefusedError) else fault.__cause__
        asked = isinstance(refusal, RefusedError) and refusal.status == HTTPStatus.UNAUTHORIZED
        if asked and not access.username:
            raise ProvisionError(fault.reason, f"the registry asks for an account: {_ACCOUNT}") from fault
        raise


def compared(path: Path | None, wanted: Sequence[str], access: Access, emit: Emit) -> list[Compared]:
    """Raises as `push`."""
    access.check()
    images = placed(images_of([path] if path else [], wanted, emit), access.target.project)
    with _asked_for_an_account(access), access.open() as registry:
        return compare(registry, images)


def images_of(
    paths: Sequence[Path], wanted: Sequence[str], emit: Emit, key: PublicKey | None = None
) -> list[NamedImage]:
    """All images of bundles (none named: the last one built), or those whose references are `wanted`.

    Raises InputError when one of these is nowhere, ProvisionError when a bundle is not signed with `key`.
    """
    paths = paths or [default_bundle_path()]
    found = [image for path in paths for image in _within(path, emit, key)]
    known = {image.reference for image in found}
    unknown = [
        Problem("--image", 0, 0, f"there is no image {name}", near_names(name, known)) for name in wanted
    ]
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


def near_names(name: str, known: set[str]) -> str:
    """The whole names that hold `name`, or are like it, as a hint."""
    from provisioner.inventory.words import nearest

    near = sorted(each for each in known if name.lower() in each.lower())
    if not near:
        forms = [(form, each) for each in sorted(known) for form in _forms(each)]
        word = nearest(name, [form for form, _ in forms])
        near = sorted({each for form, each in forms if form == word})
    more = f" {len(near) - _MOST_NAMES} more have it in their names" if len(near) > _MOST_NAMES else ""
    shown = " or ".join(near[:_MOST_NAMES])
    return f"did you mean {shown}?{more}" if near else "`provision bundle inspect` lists them"


def _forms(reference: str) -> Iterator[str]:
    """What people call an image: its whole name, without its host, its last part, each with its tag and without."""
    path, last = reference.partition("/")[2], reference.rpartition("/")[2]
    for form in (reference, path, last):
        yield form
        yield form.rpartition(":")[0]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
