"""The inventory's variables as playbooks and templates see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.inventory.model import Host, Inventory


def common_variables(inventory: Inventory) -> dict[str, Any]:
    """What Ansible shows of the other hosts, alike for all."""
    return {
        "groups": {name: list(members) for name, members in inventory.groups.items()},
        "hostvars": {name: each.vars for name, each in inventory.hosts.items()},
    }


def host_variables(host: Host, common: Mapping[str, Any]) -> dict[str, Any]:
    """The host's own variables and Ansible's magic names."""
    return {
        **host.vars,
        "inventory_hostname": host.name,
        "inventory_hostname_short": host.name.split(".")[0],
        "group_names": list(host.groups),
        **common,
    }
