"""The catalogue: which components a bundle has, at which version, and where each may be had from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from provisioner.errors import InputError, Problem
from provisioner.inventory.words import hint_for

DIRECTORY = Path(__file__).parent
# Marks what was added after components had been built and cached: unset it is no part of their keys.
ADDED = {"added": True}


@dataclass(frozen=True)
class Release:
    """A file of the publisher's.

    `checksum` is where he states its SHA-256, or `sha256` what it is, where he states it nowhere; `member` a file
    inside of the archive.
    """

    url: str
    checksum: str = ""
    member: str = ""
    sha256: str = field(default="", metadata=ADDED)


@dataclass(frozen=True)
class Chart:
    """A Helm chart at `path` of a module, and how it is rendered: as which `release`, into which `namespace`, for which
    version of `kubernetes` (the oldest that is asked for), with which `values` beside its own."""

    path: str
    release: str
    namespace: str
    kubernetes: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Module:
    """A build with Go's toolchain.

    `directory` (under modules/) has go.mod and go.sum, or `source` (under sources/) a program of our own.
    `packages` are import paths; `file` is a file of the module that is taken as it is, `chart` one that
    Helm renders. `toolchain` is the version
    of Go to build with (as `go1.23.8`, which Go fetches by itself), where it must not be the machine's.
    """

    path: str
    directory: str = ""
    source: str = ""
    packages: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    cgo: bool = False
    file: str = ""
    toolchain: str = field(default="", metadata=ADDED)
    chart: Chart | None = field(default=None, metadata=ADDED)

    @property
    def wrapper(self) -> Path:
        return DIRECTORY / ("modules" if self.directory else "sources") / (self.directory or self.source)

    def version(self) -> str:
        """The version that go.mod pins; empty for a program of our own."""
        pins = (line.split() for line in (self.wrapper / "go.mod").read_text().splitlines())
        return next(
            (words[-1 if words[0] != "require" else 2] for words in pins if self.path in words[:2]), ""
        )


@dataclass(frozen=True)
class Debian:
    """Files out of Debian packages: programs with the libraries that they are linked with, and `plugins`,
    directories beside the libraries whose files are loaded by name at run time.
    """

    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Edit:
    """Leaves out the lines of `file` (a path in the image) in which the regular expression `drop` is found."""

    file: str
    drop: str


@dataclass(frozen=True)
class File:
    """A file of the image with this content. `owner` is a numeric user, `mode` octal."""

    path: str
    content: str = ""
    owner: int = 0
    mode: str = "0644"


@dataclass(frozen=True)
class ImageRecipe:
    """What an image consists of. `programs` maps paths in the image to packages; `busybox` are links in
    /bin. `tree` maps paths in the image to directories or files of the module, on which the `edits` are made; of
    them the `scripts` are started although they do not say what by. `directory` is where the entrypoint is started.
    """

    entrypoint: tuple[str, ...]
    programs: tuple[tuple[str, str], ...]
    command: tuple[str, ...] = ()
    user: str = ""
    busybox: tuple[str, ...] = ()
    certificates: bool = False
    exposed: tuple[str, ...] = ()
    debian: Debian = Debian()
    tree: tuple[tuple[str, str], ...] = field(default=(), metadata=ADDED)
    scripts: tuple[str, ...] = field(default=(), metadata=ADDED)
    edits: tuple[Edit, ...] = field(default=(), metadata=ADDED)
    files: tuple[File, ...] = field(default=(), metadata=ADDED)
    links: tuple[tuple[str, str], ...] = field(default=(), metadata=ADDED)
    environment: tuple[tuple[str, str], ...] = field(default=(), metadata=ADDED)
    directory: str = field(default="/", metadata=ADDED)


@dataclass(frozen=True)
class Component:
    """`kind` is binary, archive, manifest or image. `reference` and `tag` are an image's upstream name.

    `without` are images that a manifest asks for and no bundle has, because they are built from no module, or because
    another tag stands for one that floats. An image that is our `own` has no publisher: nobody is asked for it,
    whatever its reference names; a manifest that is rendered here is our own, too. A component without a module is had
    from its publisher alone: bundles that are made where he does not answer go without it, and without those that are
    `on_request` until that name is asked for.
    """

    name: str
    kind: str
    version: str
    platform: str
    homepage: str
    title: str
    module: Module
    release: Release | None = None
    reference: str = ""
    tag: str = ""
    image: ImageRecipe | None = None
    without: tuple[str, ...] = field(default=(), metadata=ADDED)
    own: bool = field(default=False, metadata=ADDED)
    on_request: str = field(default="", metadata=ADDED)

    @property
    def architecture(self) -> str:
        return self.platform.partition("/")[2]

    @property
    def published_only(self) -> bool:
        """There is no module to build it from, and it is not our own."""
        return not (self.own or self.module.directory or self.module.source)

    @property
    def wanted_name(self) -> str:
        """Under which the index of the bundle lists it."""
        return f"{self.reference}:{self.tag}" if self.reference else f"{self.name}:{self.version}"


@dataclass(frozen=True)
class Distribution:
    """Packages of one release of an operating system. `id` and `release` are ID and VERSION_ID of os-release(5),
    `suite` is the archive's name for it; what `packages` depend on comes along.
    """

    id: str
    release: str
    suite: str
    packages: tuple[str, ...]
    platform: str

    @property
    def name(self) -> str:
        return f"{self.id}-{self.release}"

    @property
    def architecture(self) -> str:
        return self.platform.partition("/")[2]


def distributions(path: Path = DIRECTORY / "catalogue.yaml") -> tuple[Distribution, ...]:
    """All releases of operating systems whose packages a bundle has, for all platforms."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        Distribution(**{**raw, "packages": tuple(raw["packages"])}, platform=platform)
        for platform in document["platforms"]
        for raw in document["distributions"]
    )


def load(path: Path = DIRECTORY / "catalogue.yaml") -> tuple[Component, ...]:
    """All components for all platforms, in the order in which they are built."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        _component(_merged(raw, document["families"]), platform)
        for platform in document["platforms"]
        for raw in document["components"]
    )


def check_known(option: str, names: Iterable[str], known: Sequence[str], reason: str) -> None:
    """Raises InputError with each of the `names` given by an option that is not known, and the nearest that is; the
    `reason` has {} in the name's place."""
    problems = [
        Problem(option, 0, 0, reason.format(name), hint_for(name, known))
        for name in names
        if name not in known
    ]
    if problems:
        raise InputError(problems)


_Chosen = TypeVar("_Chosen", bound="Component | Distribution")


def select(components: Iterable[_Chosen], names: Sequence[str] | None) -> tuple[_Chosen, ...]:
    """Those with one of the `names`; all if there are none.

    Raises InputError with every name that is not there.
    """
    every = tuple(components)
    known = sorted({component.name for component in every})
    check_known("COMPONENT", names or (), known, "no component is named '{}'")
    return tuple(component for component in every if not names or component.name in names)


def _merged(raw: Mapping[str, Any], families: Mapping[str, Any]) -> dict[str, Any]:
    family = families.get(raw.get("family", ""), {})
    merged = {**family, **raw, "module": {**family.get("module", {}), **raw.get("module", {})}}
    if raw["kind"] == "image":
        merged["release"] = raw.get("release")
    return merged


def _component(raw: Mapping[str, Any], platform: str) -> Component:
    fill = {
        "name": raw["name"],
        "version": raw["version"],
        "bare": raw["version"].removeprefix("v"),
        "arch": platform.partition("/")[2],
        "title": raw.get("title", raw["name"]),
    }
    release = raw.get("release")
    return Component(
        name=raw["name"],
        kind=raw["kind"],
        version=raw["version"],
        platform=platform,
        homepage=raw["homepage"],
        title=fill["title"],
        module=_module(raw["module"], fill, raw.get("values", {})),
        release=Release(**{key: value.format(**fill) for key, value in release.items()}) if release else None,
        reference=raw.get("reference", ""),
        tag=raw.get("tag", raw["version"]) if raw["kind"] == "image" else "",
        image=_image(raw["image"], raw["module"].get("path", "")) if "image" in raw else None,
        without=tuple(raw.get("without", ())),
        own=bool(raw.get("own", False)),
        on_request=raw.get("on_request", ""),
    )


def _module(raw: Mapping[str, Any], fill: Mapping[str, str], values: Mapping[str, str]) -> Module:
    path = raw.get("path", "")
    return Module(
        path=path,
        directory=raw.get("directory", ""),
        source=raw.get("source", ""),
        packages=tuple(_package(path, name) for name in raw.get("packages", ())),
        ldflags=tuple(flag.format(**fill) for flag in raw.get("ldflags", ())),
        tags=tuple(raw.get("tags", ())),
        cgo=bool(raw.get("cgo", False)),
        file=raw.get("file", ""),
        toolchain=raw.get("toolchain", ""),
        chart=_chart(raw["chart"], values) if "chart" in raw else None,
    )


def _chart(raw: Mapping[str, Any], values: Mapping[str, str]) -> Chart:
    return Chart(**{**raw, "values": tuple({**raw["values"], **values}.items())})


def _package(module: str, name: str) -> str:
    return os.path.normpath(f"{module}/{name}") if module else name


def _image(raw: Mapping[str, Any], module: str) -> ImageRecipe:
    return ImageRecipe(
        entrypoint=tuple(raw["entrypoint"]),
        programs=tuple((path, _package(module, name)) for path, name in raw["programs"].items()),
        command=tuple(raw.get("command", ())),
        user=raw.get("user", ""),
        busybox=tuple(raw.get("busybox", ())),
        certificates=bool(raw.get("certificates", False)),
        exposed=tuple(raw.get("exposed", ())),
        debian=_debian(raw.get("debian", {})),
        tree=tuple(raw.get("tree", {}).items()),
        scripts=tuple(raw.get("scripts", ())),
        edits=tuple(Edit(**edit) for edit in raw.get("edits", ())),
        files=tuple(File(path, **file) for path, file in raw.get("files", {}).items()),
        links=tuple(raw.get("links", {}).items()),
        environment=tuple(raw.get("environment", {}).items()),
        directory=raw.get("directory", "/"),
    )


def _debian(raw: Mapping[str, Any]) -> Debian:
    return Debian(
        packages=tuple(raw.get("packages", ())),
        programs=tuple(raw.get("programs", ())),
        plugins=tuple(raw.get("plugins", ())),
        links=tuple(raw.get("links", {}).items()),
    )
