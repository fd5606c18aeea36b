"""What a registry wants of whoever asks: the header WWW-Authenticate (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ITEM = re.compile(
    rf'(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*))|(?P<scheme>{_WORD})'
)


@dataclass(frozen=True)
class Challenge:
    """`scheme` and the names of the parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """The one that can be answered best of those in the header: a token's, else Basic. Several headers are one,
        with commas. What is no challenge is passed over.
        """
        found: list[tuple[str, dict[str, str]]] = []
        for item in _ITEM.finditer(header):
            if item["scheme"]:
                found.append((item["scheme"].lower(), {}))
            elif found:
                found[-1][1].setdefault(item["name"].lower(), _value(item))
        return max((cls(*each) for each in found), key=cls._use, default=cls("", {}))

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    def _use(self) -> int:
        if self.scheme == "bearer" and self.realm:
            return 2
        return int(self.scheme == "basic")


def _value(item: re.Match[str]) -> str:
    return item["plain"] if item["quoted"] is None else re.sub(r"\\(.)", r"\1", item["quoted"])
