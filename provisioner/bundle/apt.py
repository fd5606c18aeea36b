"""The packages of a Debian release, whatever the machine itself runs: apt with lists and a status of its own.

Signatures are checked as always: by the keyring that the machine's own sources name, else by Debian's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.debian import run
from provisioner.bundle.mirror import Source, archives_for

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_INSTALLED = re.compile(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+) ", re.MULTILINE)
_KEPT = (
    *("Package", "Version", "Architecture", "Multi-Arch", "Essential", "Priority", "Section", "Maintainer"),
    *(
        "Installed-Size",
        "Pre-Depends",
        "Depends",
        "Provides",
        "Conflicts",
        "Breaks",
        "Replaces",
        "Description",
    ),
    *("Filename", "Size", "SHA256"),
)
"""Fields of a package's paragraph (deb-control(5)) that decide what is installed. What is only recommended is not."""

Paragraph = Mapping[str, str]


@dataclass(frozen=True)
class Apt:
    """apt for one `suite` and architecture, in `root`, a folder of its own."""

    root: Path
    suite: str
    architecture: str

    def update(self, etc: Path = Path("/etc/apt")) -> None:
        """Fetch the lists. Raises ProvisionError."""
        for name in ("lists/partial", "cache/archives/partial"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "sources").write_text("".join(map(_line, archives_for(self.suite, etc))))
        for name in ("empty", "base"):
            (self.root / name).write_text("")
        # An archive that does not answer is an error and not a warning: its packages would be missing silently.
        run([*self._command("apt-get"), "-q", "-o", "APT::Update::Error-Mode=any", "update"])

    def paragraphs(self) -> dict[str, Paragraph]:
        """What apt would install, by name: the fields that decide."""
        text = run([*self._command("apt-cache"), "dumpavail"])
        found = (dict(_fields(paragraph)) for paragraph in text.split("\n\n"))
        native = ("all", self.architecture)
        return {each["Package"]: each for each in found if each.get("Architecture") in native}

    def base(self, packages: Mapping[str, Paragraph]) -> frozenset[str]:
        """The packages that every Debian has: what is required, with its dependencies, and apt.

        From now on `needs` takes them as installed.
        """
        required = [name for name, each in packages.items() if each.get("Priority") == "required"]
        names = frozenset(dict(self._simulated("empty", [*required, "apt"])))
        status = (
            paragraph({"Status": "install ok installed", **packages[name]})
            for name in sorted(names)
            if name in packages
        )
        (self.root / "base").write_text("\n".join(status))
        return names

    def needs(self, names: Sequence[str]) -> dict[str, str]:
        """The versions, by name, of what has to be installed over the base for `names`. Raises ProvisionError."""
        return dict(self._simulated("base", names))

    def download(self, versions: Mapping[str, str], folder: Path) -> None:
        """Fetch the packages' files to `folder`, checked by apt; those that are there stay. Raises ProvisionError."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{name}={version}" for name, version in versions.items()]
        run([*self._command("apt-get"), "-q", "download", *names], folder)

    def _simulated(self, status: str, names: Sequence[str]) -> list[tuple[str, str]]:
        options = ["-q", "-s", "--no-install-recommends"]
        said = run([*self._command("apt-get", status), *options, "install", *names])
        return [(name.partition(":")[0], version) for name, version in _INSTALLED.findall(said)]

    def _command(self, tool: str, status: str = "base") -> list[str]:
        settings = {
            "Dir::State": self.root,
            "Dir::State::lists": self.root / "lists",
            "Dir::State::status": self.root / status,
            "Dir::Cache": self.root / "cache",
            # Images of containers switch these off.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::sourcelist": self.root / "sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        return [tool, *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def paragraph(fields: Paragraph) -> str:
    """The fields as they stand in a list of packages, always in the same order."""
    order = sorted(fields, key=lambda name: _KEPT.index(name) if name in _KEPT else len(_KEPT))
    return "".join(f"{name}: {fields[name]}\n" for name in order)


def parse_paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of such a list."""
    return (dict(_fields(each)) for each in text.split("\n\n") if each.strip())


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        if colon and (name in _KEPT or name == "Status"):
            yield name, value


def _line(source: Source) -> str:
    signed = "trusted=yes" if source.trusted else f"signed-by={source.keyring or _KEYRING}"
    return f"deb [{signed}] {source.uri} {' '.join(source.suites)} {' '.join(source.components)}\n"
