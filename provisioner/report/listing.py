"""An inventory as JSON or as a tree of groups and hosts."""

from __future__ import annotations

import json
import sys
from typing import Any

from provisioner.inventory.graph import ALL
from provisioner.inventory.model import Inventory
from provisioner.report.printable import printable


def show_json(value: Any) -> None:
    """Prints a value as ansible-inventory does: keys sorted, four spaces."""
    sys.stdout.write(json.dumps(value, sort_keys=True, indent=4, ensure_ascii=False) + "\n")


def show_graph(inventory: Inventory) -> None:
    """Prints the groups, the groups in them and their hosts. A group in two others is shown in both."""
    sys.stdout.write(printable("\n".join(graph_lines(inventory, ALL))) + "\n")


def graph_lines(inventory: Inventory, group: str, depth: int = 0) -> list[str]:
    """One line for `group` and for every group and host below it."""
    branch = inventory.tree[group]
    lines = [f"{_indent(depth)}@{branch.written}:"]
    for child in branch.children:
        lines += graph_lines(inventory, child, depth + 1)
    # What `all` itself names is in `ungrouped` or in a group of its own as well.
    hosts = branch.hosts if group != ALL else ()
    return [*lines, *(f"{_indent(depth + 1)}{host}" for host in hosts)]


def _indent(depth: int) -> str:
    return "  " + "|  " * (depth - 1) + "|--" if depth else ""
