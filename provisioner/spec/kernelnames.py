"""What a kernel calls its settings and the features of links, and what values it takes: a slip is told before any host
is asked (kernel.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.inventory.words import distance, nearest
from provisioner.spec.values import RefusedError

TUNED = ("net.", "vm.", "fs.")
"""How names of what is tuned begin: of the network, of memory and of files. Others change the machine."""
_SLIPS = 2
"""Two wrong letters make a slip; names of which more are wrong may be those of a module that is not listed."""
_OF_LINKS = re.compile(r"(net\.ipv[46]\.(?:conf|neigh))\.([^.]+)\.(.+)")
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_SIZE = re.compile(r"([0-9]+) ?([kmgKMG])i?[bB]?")
_WORDS = {**dict.fromkeys(("on", "yes", "true"), "1"), **dict.fromkeys(("off", "no", "false"), "0")}
_COUNTS = {1: "one whole number", 2: "two whole numbers", 3: "three whole numbers"}


_WITH_DOT = "net.ipv4.conf.eth0/7.rp_filter"
_PREFIX = re.compile(r"/?proc/sys/|/")
_SWAP = str.maketrans("./", "/.")
_OWNERS = ("conf", "neigh")
"""Folders of the kernel's that have one for each link, by its name."""


def dotted(name: str) -> str:
    """The name with dots between its parts, and a slash for each dot within one: the first separator is that of all
    (sysctl(8))."""
    first = next((char for char in name if char in "./"), ".")
    return name.translate(_SWAP) if first == "/" else name


def check_parts(name: str) -> None:
    """Raises RefusedError for a `dotted` name of which a part has a dot within that is no link's name, and for a link's
    name of several parts: it would lead to another setting, or to none."""
    parts = name.split(".")
    for before, part, behind in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
        if "/" in part and not (before in _OWNERS and behind and part.strip("/")):
            meant = name.replace("/", ".")
            hint = f"did you mean '{meant}'?" if part.strip("/") else f"such as {_WITH_DOT}"
            raise RefusedError("only a link's name has a dot within, written as the other separator", hint)
    link = _OF_LINKS.fullmatch(name)
    if link and "." in link[3]:
        *more, last = link[3].split(".")
        meant = f"{link[1]}.{'/'.join([link[2], *more])}.{last}"
        raise RefusedError("a dot of a link's name is written as a slash", f"did you mean '{meant}'?")


def without_prefix(text: str) -> str:
    """With dots for whatever separates, and without what all names have in common."""
    return _PREFIX.sub("", text, count=1).replace("/", ".")


@cache
def _known() -> Mapping[str, Any]:
    import yaml

    found: Mapping[str, Any] = yaml.safe_load(
        Path(__file__).with_name("kernel.yaml").read_text(encoding="utf-8")
    )
    return found


@cache
def _settings() -> frozenset[str]:
    return frozenset(
        f"{folder}.{name}" for folder, names in _known()["settings"].items() for name in names.split()
    )


def check_setting(name: str) -> None:
    """Raises RefusedError for a name that is nearly one of the kernel's, or begins as none does."""
    root, _, rest = name.partition(".")
    if root not in _known()["roots"].split():
        meant = nearest(f"{root}.", TUNED)
        near = _near(name) or (f"{meant}{rest}" if meant else None)
        hint = f"did you mean '{near}'?" if near else f"they begin with {', '.join(TUNED)}"
        raise RefusedError("the kernel has no such setting", hint)
    if _plain(name) not in _settings() and (near := _near(name)):
        raise RefusedError("the kernel has no such setting", f"did you mean '{near}'?")


def meant_by(word: str) -> str:
    """The setting whose last part is `word`, "" when none or several have it."""
    found = [each for each in _settings() if each.endswith(f".{word}") and "*" not in each]
    return found[0] if len(found) == 1 else ""


def check_value(name: str, value: str | int) -> None:
    """Raises RefusedError where the kernel's setting `name` never takes the `value`; of those that are not listed
    nothing is known."""
    plain = _plain(name)
    count = _known()["shapes"].get(plain, 1)
    if plain not in _settings() or count == "text":
        return
    numbers = str(value).split()
    if len(numbers) != count or not all(map(_NUMBER.fullmatch, numbers)):
        raise RefusedError(f"{name} takes {_COUNTS[count]}, not {said(value)}", _instead(str(value), count))
    wide = count == 3 or not name.startswith("net.") or name.endswith("_wide")
    most = _known()["most"].get(plain, 2**64 - 1 if wide else 2**32 - 1)
    for each in numbers:
        if _read(each) < -(2**31):
            raise RefusedError(f"{name}: {each} is less than the kernel takes", f"at least {-(2**31)}")
        if _read(each) > most:
            raise RefusedError(f"{name}: {each} is more than the kernel takes", f"at most {most}")


def check_feature(name: str) -> None:
    """Raises RefusedError for what is no feature of a network link as `ethtool -k` lists them."""
    known, listed = _known()["features"].split(), _known()["listed_as"]
    if name in known:
        return
    near = listed.get(name) or nearest(name, known)
    hint = (
        f"did you mean '{near}'?"
        if near
        else "as `ethtool -k LINK` lists it, such as generic-receive-offload"
    )
    raise RefusedError(f"{said(name)} is no feature of a network link", hint)


def _plain(name: str) -> str:
    """With * for a link's name."""
    return _OF_LINKS.sub(r"\1.*.\3", name)


def _near(name: str) -> str | None:
    """The setting that is meant: of nearly that name, else one of that last part in another folder."""
    wanted = _plain(name)
    slips = ((distance(wanted, each), each) for each in _settings() if abs(len(each) - len(wanted)) <= _SLIPS)
    near = min(((far, each) for far, each in slips if far <= _SLIPS), default=None)
    found = near[1] if near else next(_elsewhere(wanted), None)
    link = _OF_LINKS.fullmatch(name)
    return found.replace("*", link[2] if link else "all") if found else None


def _elsewhere(wanted: str) -> Iterator[str]:
    folder, _, last = wanted.rpartition(".")
    if folder in _known()["settings"]:
        yield from sorted(each for each in _settings() if each.endswith(f".{last}"))


def _read(number: str) -> int:
    """As the kernel does (lib/vsprintf.c: simple_strtoul with base 0): 0x and 0 at the front are other bases."""
    digits = number.removeprefix("-")
    octal = len(digits) > 1 and digits.startswith("0") and digits.isdecimal() and not set("89") & set(digits)
    read = int(digits, 8) if octal else int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
    return -read if number.startswith("-") else read


def _instead(value: str, count: int) -> str:
    if size := _SIZE.fullmatch(value.strip()):
        return f"did you mean {int(size[1]) * 1024 ** ('kmg'.index(size[2].lower()) + 1)}?"
    if count == 1 and value.strip().lower() in _WORDS:
        return f"did you mean {_WORDS[value.strip().lower()]}?"
    return f"such as {' '.join(('4096', '65536', '1048576')[:count]) if count > 1 else '1'}"
