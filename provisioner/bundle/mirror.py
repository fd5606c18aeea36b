"""Where Debian packages come from: the machine's own apt configuration (sources.list(5), both formats)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.errors import ProvisionError

_SCHEMES = ("http://", "https://", "file:/")
_FOLLOWING = ("updates", "security")


@dataclass(frozen=True)
class Source:
    """One archive that apt is told of. `keyring` is a file; empty means the distribution's own."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str = ""
    trusted: bool = False


def mirror_for(suite: str, etc: Path = Path("/etc/apt")) -> Source:
    """The archive for `suite`: one that names it, else any Debian archive.

    Raises ProvisionError if there is none.
    """
    usable = [
        source for source in sources(etc) if source.uri.startswith(_SCHEMES) and "main" in source.components
    ]
    exact = [source for source in usable if suite in source.suites]
    near = [source for source in usable if source.uri.rstrip("/").endswith("/debian")]
    for source in (*exact, *near):
        return source
    raise ProvisionError(
        f"the machine's apt configuration names no Debian archive for {suite}",
        f"add one to {etc}/sources.list.d, with component main",
    )


def archives_for(suite: str, etc: Path = Path("/etc/apt")) -> tuple[Source, ...]:
    """The archive for `suite` and, where the machine's configuration has them, its updates and security updates.

    Raises ProvisionError if there is no archive.
    """
    main = replace(mirror_for(suite, etc), suites=(suite,), components=("main",))
    found = [main]
    for source in sources(etc):
        for name in source.suites:
            kind = name.rpartition("-")[2]
            near = source.uri == main.uri if kind == "updates" else "security" in source.uri
            if kind in _FOLLOWING and near and source.uri.startswith(_SCHEMES):
                found.append(replace(source, suites=(f"{suite}-{kind}",), components=("main",)))
    return tuple(dict.fromkeys(found))


def sources(etc: Path) -> Iterator[Source]:
    """Every enabled binary source, in apt's order of reading."""
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if path.suffix == ".sources" and path.is_file():
            yield from _deb822(path.read_text())
        elif path.suffix == ".list" and path.is_file():
            yield from _one_line(path.read_text())


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 3 or words[0] != "deb":
            continue
        options: dict[str, str] = {}
        if words[1].startswith("["):
            end = next((n for n, word in enumerate(words) if word.endswith("]")), len(words) - 1)
            inside = " ".join(words[1 : end + 1]).strip("[] ")
            options = dict(option.partition("=")[::2] for option in inside.split())
            words = [words[0], *words[end + 1 :]]
        if len(words) >= 3:
            yield _source(words[1], words[2:3], words[3:], options.get("signed-by"), options.get("trusted"))


def _deb822(text: str) -> Iterator[Source]:
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in paragraph.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                fields[last] = f"{fields.get(last, '')}\n{line.strip()}"
                continue
            name, _, value = line.partition(":")
            last = name.lower()
            fields[last] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            for uri in fields.get("uris", "").split():
                suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
                yield _source(uri, suites, components, fields.get("signed-by"), fields.get("trusted"))


def _source(
    uri: str, suites: list[str], components: list[str], keyring: str | None, trusted: str | None
) -> Source:
    file = keyring if keyring and keyring.startswith("/") and "\n" not in keyring else ""
    return Source(uri, tuple(suites), tuple(components), file, (trusted or "").lower() == "yes")


def proxy() -> dict[str, str]:
    """The environment that makes other programs use apt's HTTP proxy; empty when there is none."""
    done = subprocess.run(
        ["apt-config", "shell", "P", "Acquire::http::Proxy"], capture_output=True, text=True, check=False
    )
    value = done.stdout.strip().removeprefix("P=").strip("'\"")
    return {"http_proxy": value} if value and value != "DIRECT" else {}
