"""`provision advise`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_YES_NO = ("yes", "no", "unknown")


def _choice(name: str, words: tuple[str, ...], text: str) -> Callable[..., Any]:
    """Any word is taken here: what is wrong with answers is told of all of them at once."""
    return click.option(name, metavar=f"[{'|'.join(words)}]", help=text)


@click.command()
@click.argument("inventory", required=False, type=click.Path(path_type=Path))
@_choice("--environment", ("metal", "vm", "cloud", "unknown"), "What the nodes are.")
@click.option("--nodes", metavar="NUMBER", help="How many nodes there will be.")
@_choice("--subnets", ("one", "several", "unknown"), "Whether routers stand between nodes.")
@_choice("--latency", _YES_NO, "Whether latency between pods matters.")
@_choice("--policy", _YES_NO, "Whether NetworkPolicies are to be enforced.")
@_choice("--l7", _YES_NO, "Whether there are to be policies by HTTP method or path.")
@_choice("--encryption", _YES_NO, "Whether traffic between nodes is to be encrypted.")
@_choice("--bgp", _YES_NO, "Whether the site's routers can have BGP sessions with nodes.")
@click.option("--kernel", metavar="VERSION", help="That of the oldest node, such as 6.1.")
@click.option(
    "--modules", metavar="LIST", help="Those of vxlan,wireguard,ipip,tun that all kernels have, or none."
)
@_choice("--team", ("new", "seasoned", "unknown"), "Whether the team is new to networks of clusters.")
@click.option("--rest-unknown", is_flag=True, help="Ask nothing: what is missing is not known.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def command(inventory: Path | None, rest_unknown: bool, as_json: bool, **given: str | None) -> None:
    """Advise on the plug-in of the pod network and its mode, with reasons, and the section to paste.

    What is not given is read from the hosts of INVENTORY (which must be named here; nothing is changed on them), else
    asked on a terminal; anywhere else it is an error that names the options. Every option takes "unknown".

    Exit codes: 0 advised, 3 an answer is wrong or missing, or answers contradict each other or the hosts, 4 hosts
    unreachable.
    """
    from provisioner.action.advise import advise, fault_of
    from provisioner.cli.options import inventory_path
    from provisioner.report.advice import show_advice
    from provisioner.report.questions import asker

    path = inventory_path(str(inventory)) if inventory is not None else None
    show_advice(advise(given, path, asker(fault_of), rest_unknown=rest_unknown), as_json=as_json)
