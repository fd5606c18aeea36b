"""Calico by its operator: what it is told (Installation), and which images it pulls by itself.

Facts: tigera/operator 1.30 to 1.42, api/v1 and pkg/components; Calico 3.26 to 3.32, manifests/tigera-operator.yaml;
docs, operations/image-options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.network.calicoresources import bgp_objects, felix_objects
from provisioner.network.combinations import operator_images
from provisioner.network.crd import check_objects, schema_of
from provisioner.network.images import image_edits
from provisioner.network.patches import Edit, images_of, patch
from provisioner.spec.calico import FEATURES, Calico, IPPool
from provisioner.spec.model import ClusterSpec

ARTIFACT = "tigera-operator"
DEFINITIONS = "tigera-operator-crds"
"""Where the operator's manifest has none (Calico 3.32)."""
RELEASE = "calico-typha"
"""The manifest of the same release that names most images, and their version."""
DAEMONS = "DaemonSet calico-system/calico-node"
NAMESPACE = "calico-system"
"""Of what the operator makes."""
_OPERATOR = "operator.tigera.io/v1"
_NODE = "calico/node"
_METHODS = {"can-reach": "canReach", "interface": "interface", "skip-interface": "skipInterface"}
Object = dict[str, Any]


def pulled(calico: Calico, upstream: Sequence[Object], release: Sequence[Object]) -> list[str]:
    """The images of an installation, upstream's references: the operator's own and those that it names to the nodes,
    which stand in no manifest. `release` is another manifest of the same release. Raises ProvisionError for an operator
    of which nobody knows them."""
    own = list(images_of(upstream))
    wanted = operator_images(own, calico.operator.features)
    folder, version = _release(release)
    return [*own, *(f"{folder}/{name}:{version}" for name in wanted)]


def objects(
    spec: ClusterSpec,
    upstream: Sequence[Object],
    release: Sequence[Object],
    image: Callable[[str], str],
) -> list[Object]:
    """The objects to apply. `image` gives the private registry's reference of an upstream one; where it does so by
    digest the operator is told the digests, too. Raises ProvisionError where the release cannot do what is asked."""
    calico = spec.network.calico
    _check_pools(calico, upstream)
    private = [image(each) for each in pulled(calico, upstream, release) if each not in images_of(upstream)]
    asked = [
        _installation(spec, private, upstream),
        *([_object("APIServer", "default", {})] if calico.operator.api_server else []),
        *_image_set(calico, release, private),
    ]
    check_objects(asked, upstream, ARTIFACT, "network.calico.operator.installation")
    own = [*felix_objects(calico, upstream, ARTIFACT), *bgp_objects(calico), *asked]
    patched = patch(upstream, edits(upstream, image), ARTIFACT)
    # The operator's program last: when it begins it finds what is wanted.
    late = [each for each in patched if each["kind"] == "Deployment"]
    return [*(each for each in patched if each["kind"] != "Deployment"), *own, *late]


def edits(upstream: Sequence[Object], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in the operator's own manifest, and why."""
    return list(image_edits(upstream, image))


def _object(kind: str, name: str, said: Mapping[str, Any]) -> Object:
    return {"apiVersion": _OPERATOR, "kind": kind, "metadata": {"name": name}, "spec": dict(said)}


def _installation(spec: ClusterSpec, private: Sequence[str], upstream: Sequence[Object]) -> Object:
    calico = spec.network.calico
    network: Object = {
        "bgp": "Enabled" if calico.backend == "bird" else "Disabled",
        "ipPools": [_pool(each, _pool_fields(upstream)) for each in calico.pools],
        **({"mtu": calico.mtu} if calico.mtu else {}),
    }
    for version in sorted({6 if ":" in cidr else 4 for cidr in spec.network.pod_cidrs}):
        network[f"nodeAddressAutodetectionV{version}"] = autodetection(calico.method(version))
    operator = calico.operator
    said: Object = {
        "variant": "Calico",
        **_registry(private),
        "calicoNetwork": network,
        **({} if operator.flex_volume else {"flexVolumePath": "None"}),
        **({} if operator.csi else {"kubeletVolumePluginPath": "None"}),
    }
    return _object("Installation", "default", _merged(said, operator.installation))


def autodetection(method: str) -> Object:
    """A node's way to its address, in the operator's words (NodeAddressAutodetection)."""
    name, _, value = method.partition("=")
    if name == "kubernetes-internal-ip":
        return {"kubernetes": "NodeInternalIP"}
    if name == "first-found":
        return {"firstFound": True}
    return {"cidrs": value.split(",")} if name == "cidr" else {_METHODS[name]: value}


def _pool(pool: IPPool, known: Mapping[str, Any]) -> Object:
    """With all that the operator would fill in: who leaves it to him finds a difference with each run."""
    said: Object = {
        "name": pool.name,
        "cidr": pool.cidr,
        "encapsulation": pool.encapsulation,
        "blockSize": pool.block_size,
        "natOutgoing": "Enabled" if pool.nat_outgoing else "Disabled",
        "nodeSelector": pool.node_selector,
        "disableBGPExport": pool.disable_bgp_export,
        "allowedUses": ["Workload", "Tunnel"],
    }
    asked = ("disableBGPExport",) if pool.disable_bgp_export else ()
    return {name: value for name, value in said.items() if name in known or name in asked}


def _pool_fields(upstream: Sequence[Object]) -> Mapping[str, Any]:
    schema = schema_of(upstream, "Installation", ARTIFACT)["properties"]["spec"]
    fields: Mapping[str, Any] = schema["properties"]["calicoNetwork"]["properties"]["ipPools"]["items"][
        "properties"
    ]
    return fields


def _check_pools(calico: Calico, upstream: Sequence[Object]) -> None:
    """An operator whose pools have no names makes one of each family (before 1.34)."""
    if "name" in _pool_fields(upstream):
        return
    for ipv6 in (False, True):
        named = [each.name for each in calico.pools if (":" in each.cidr) is ipv6]
        if len(named) > 1:
            family = "IPv6" if ipv6 else "IPv4"
            raise ProvisionError(
                f"network.calico.pools: the operator of this release makes one {family} pool, not {', '.join(named)}",
                "use install: manifest, or a newer release",
            )


def _registry(private: Sequence[str]) -> Object:
    """registry and imagePath: <registry><imagePath>/<name>:<tag> is where nodes look for each image."""
    folders = {each.partition("@")[0].rpartition("/")[0] for each in private}
    if len(folders) != 1:
        raise ProvisionError(
            f"the operator looks for Calico's images in one folder, not in {', '.join(sorted(folders))}",
            "use install: manifest",
        )
    host, _, path = folders.pop().partition("/")
    return {"registry": f"{host}/", **({"imagePath": path} if path else {})}


def _image_set(calico: Calico, release: Sequence[Object], private: Sequence[str]) -> Iterator[Object]:
    """Only when the digests of all that this operator can pull are known: it asks for each that an ImageSet lacks, even
    for those it will not pull, and gives up (pkg/components, GetReference)."""
    if calico.operator.features != FEATURES or not all("@" in each for each in private):
        return
    images = []
    for each in sorted(private):
        name, _, digest = each.partition("@")
        images.append({"image": f"calico/{name.rpartition('/')[2].partition(':')[0]}", "digest": digest})
    yield _object("ImageSet", f"calico-{_release(release)[1]}", {"images": images})


def _release(release: Sequence[Object]) -> tuple[str, str]:
    """Folder and version of the images of a release ("docker.io/calico", "v3.28.5")."""
    for reference in images_of(release):
        name, _, version = reference.rpartition(":")
        if name.endswith(_NODE):
            return name.rpartition("/")[0], version
    raise ProvisionError(f"{RELEASE} has no image {_NODE}, which says what the operator pulls")


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Object:
    found = dict(one)
    for name, value in other.items():
        own = found.get(name)
        found[name] = _merged(own, value) if isinstance(own, dict) and isinstance(value, Mapping) else value
    return found
