"""What a command was asked for goes to stdout; what it does meanwhile to stderr."""

from __future__ import annotations

import sys
from typing import Any

from provisioner.report.listing import show_json
from provisioner.report.printable import printable


def say(line: str) -> None:
    """Prints a line of a result."""
    sys.stdout.write(printable(line) + "\n")


def tell(value: dict[str, Any], line: str, *, as_json: bool) -> None:
    """Prints the result as one JSON value, or as a line."""
    if as_json:
        show_json(value)
    else:
        say(line)
