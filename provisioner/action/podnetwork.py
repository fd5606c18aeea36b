"""What the pod network's mode needs and hosts have not: found before anything changes, because it would fail late.

Where the cluster is another's, or a mode only rendered, nothing of this is asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from provisioner.action.families import node_addresses
from provisioner.action.preflight import version_of
from provisioner.bundle.layout import Bundle, Image
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.network.combinations import misfits
from provisioner.network.needs import Needs, needs_of
from provisioner.network.podnetwork import PodNetwork
from provisioner.playbook.facts import Facts
from provisioner.registry.names import by_tag
from provisioner.spec.model import ClusterSpec

_OTHER = "choose another mode of the plug-in"
_PUBLISHERS = (
    "take the publisher's image (provision bundle build --source release), or the encapsulation VXLAN"
)


def check_pod_network(spec: ClusterSpec, facts: Mapping[str, Facts], images: Sequence[Image] = ()) -> None:
    """Raises ProvisionError naming every node that the mode cannot work on, and why, or an image of the bundle that
    cannot do it."""
    needs = needs_of(spec)
    nodes = {name: each for name, each in facts.items() if spec.nodes[name].node}
    kernels, apart = list(_kernels(needs, nodes)), list(_apart(spec, nodes, needs))
    unable = _without_tunnels(images) if _tunnels_by_bird(spec) else []
    if kernels or apart or unable:
        told = [*unable, *(f"{host}: {needs.what} {why}" for host, why in (*kernels, *apart))]
        hints = [
            *([_PUBLISHERS] if unable else []),
            *(
                [f"install the kernel's extra modules, or {_OTHER}" if needs.modules else _OTHER]
                if kernels
                else []
            ),
            *([needs.apart] if apart else []),
        ]
        raise ProvisionError("\n".join(told), "; ".join(hints))


def check_images(spec: ClusterSpec, bundle: Bundle | None) -> None:
    """Raises ProvisionError naming each image that the network's pods have and the bundle has not; of those that an
    operator would tell nodes to pull, also where nodes would look for it."""
    if bundle is None:
        return
    network = PodNetwork(spec, lambda name: bundle.artifact(name).path.read_text(encoding="utf-8"))
    there = {each.reference for each in bundle.images()}
    missing = [each for each in network.images if each not in there]
    if missing and network.operated:
        registry = spec.registry
        lines = [
            f"{each} ({by_tag(registry.host, registry.port, each, registry.project)})" for each in missing
        ]
        raise ProvisionError(
            f"the bundle lacks {len(missing)} of the {len(network.images)} images that Calico's operator and its nodes "
            "pull (and under which names):\n" + "\n".join(lines),
            "`provision bundle build` takes them where publishers answer; or use network.calico.install: manifest",
        )
    if missing:
        plugin = spec.network.plugin
        apart = " --with cilium, where their publisher answers," if plugin == "cilium" else ""
        raise ProvisionError(
            f"the bundle {bundle.path} lacks images of {plugin}: {', '.join(missing)}",
            f"`provision bundle build`{apart} takes them; --from takes an archive of images that you have",
        )


def check_combination(
    spec: ClusterSpec, facts: Mapping[str, Facts], images: Sequence[Image], emit: Emit
) -> None:
    """Raises ProvisionError for versions that do not go together, or of which nobody knows whether they do unless the
    spec puts up with that, which is said."""
    kernels = {name: each.kernel for name, each in facts.items() if spec.nodes[name].node}
    found = list(misfits(spec, [each.reference for each in images], kernels))
    refused = [each for each in found if not (each.untested and spec.network.allow_untested)]
    if refused:
        hints = dict.fromkeys(each.hint for each in refused)
        raise ProvisionError("\n".join(each.reason for each in refused), "; ".join(hints))
    for each in found:
        emit(Note(level="warning", message=each.reason))


def _tunnels_by_bird(spec: ClusterSpec) -> bool:
    network = spec.network
    return network.plugin == "calico" and any(
        each.startswith("IPIP") for each in network.calico.encapsulations
    )


def _without_tunnels(images: Sequence[Image]) -> list[str]:
    """Calico's own BIRD is a fork that knows IPIP tunnels; Debian's, in images that are built here, is not."""
    return [
        f"the bundle's {each.reference} cannot do IPIP: it was built with Debian's BIRD, which has no tunnels"
        for each in images
        if each.name.endswith("calico/node") and each.source == "module"
    ]


def _kernels(needs: Needs, nodes: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    for name, each in nodes.items():
        missing = [module for module in needs.modules if module not in each.modules]
        if missing:
            yield name, f"needs {', '.join(missing)}, which the kernel {each.kernel} has not"
        elif version_of(each.kernel) < needs.kernel:
            yield name, f"needs Linux {'.'.join(map(str, needs.kernel))}, this host runs {each.kernel}"
        if needs.architectures and each.architecture not in needs.architectures:
            yield name, f"is made for {' and '.join(needs.architectures)}, this host is {each.architecture}"


def _apart(spec: ClusterSpec, nodes: Mapping[str, Facts], needs: Needs) -> Iterator[tuple[str, str]]:
    """Nodes that see another one behind a router, over an IP version by which it is to be on their link: the route to
    its pods has that node for a gateway, which the kernel takes only where it is there."""
    every = {
        name: tuple(map(ipaddress.ip_address, node_addresses(spec, name, each)))
        for name, each in nodes.items()
    }
    for name, each in nodes.items():
        for place, own in enumerate(every[name]):
            network = network_of(own, each) if own.version in needs.adjacent else None
            # A single IPv6 address may be of a link whose network a router has told of.
            if network is None or (own.version == 6 and network.num_addresses == 1):
                continue
            # The first ones are compared whatever they are: a node with none of the family is not in the subnet.
            others = [
                (other, found[place])
                for other, found in every.items()
                if needs.on_link(other, own.version)
                and place < len(found)
                and not any(one in network for one in found)
            ]
            if others:
                named = ", ".join(f"{other} ({address})" for other, address in others[:3])
                more = f" and {len(others) - 3} more" if len(others) > 3 else ""
                yield name, f"needs all nodes in one subnet, and {named}{more} is not in its {network}"


def network_of(
    own: ipaddress.IPv4Address | ipaddress.IPv6Address, facts: Facts
) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The subnet of a node's address; None where no link has it (an address that is translated on the way)."""
    for written in facts.addresses.values():
        for each in map(ipaddress.ip_interface, written):
            if each.ip == own:
                return each.network
    return None
