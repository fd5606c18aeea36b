"""What probes print: lines in sections, with a line `==` between two sections."""

from __future__ import annotations


def lines_of(output: bytes) -> list[str]:
    """The lines. Only a newline ends one: names may hold the other characters that Python's splitlines splits at."""
    text = output.decode(errors="surrogateescape")
    return text.removesuffix("\n").split("\n") if text else []


def sections(output: bytes, count: int) -> list[list[str]]:
    """Exactly `count` sections, empty ones where the output ended early."""
    parts: list[list[str]] = [[]]
    for line in lines_of(output):
        if line == "==":
            parts.append([])
        else:
            parts[-1].append(line)
    return (parts + [[] for _ in range(count)])[:count]
