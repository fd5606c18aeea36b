"""Files that a command has written, and texts that it prints in their place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from provisioner.inventory.secrets import Secret


def show_text(text: str, *, as_json: bool) -> None:
    """Prints a text that was not written to a file."""
    sys.stdout.write(json.dumps({"event": "Written", "path": None, "text": text}) + "\n" if as_json else text)


def show_secret(text: Secret) -> None:
    """Prints a secret, because that was asked for."""
    sys.stdout.write(text.reveal())


def show_written(path: Path, then: str, *, as_json: bool, **facts: str) -> None:
    """Says what was written, with `facts` about it, and the command that comes next."""
    if as_json:
        sys.stdout.write(json.dumps({"event": "Written", "path": str(path), **facts}) + "\n")
        return
    sys.stderr.write(f"{path} written\n")
    for name, fact in facts.items():
        sys.stderr.write(f"  {name}: {fact}\n")
    sys.stderr.write(f"next: {then}\n")
