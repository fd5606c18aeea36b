"""A cluster that others have built is taken over: what is there is read, judged, and becomes wishes of ours.

Everything is said before anything is changed: what is missing, what is of a sort that is not supported, and the names
that the API server's certificate lacks.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from provisioner.action.anonymous import check_anonymous
from provisioner.action.foundcluster import SERVICES, FoundHost, UnusableError
from provisioner.action.secondplane import SecondPlane
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.inventory.secrets import Secret
from provisioner.kube.kubeconfigedit import servers
from provisioner.kube.kubeconfigserver import HostKubeconfigs
from provisioner.pki.authority import KeyPair
from provisioner.pki.cluster import STATE_FILE, ClusterState
from provisioner.pki.reissue import issuer_of, lacking, name_of, public_pem, same_key, signed_by
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.spec.model import ClusterSpec, Existing

_T = TypeVar("_T")
API_PORT = "6443"
_KUBECTL = "artifact:/opt/kubernetes/bin/kubectl"


@dataclass(frozen=True)
class Takeover:
    """`there` are the hosts whose API server others have set up, `joining` those that get one made like it;
    `authorities` and `service_account` are the cluster's own. `certificates`: path and PEM of each API server that is
    there."""

    spec: ClusterSpec
    existing: Existing
    there: tuple[str, ...]
    joining: tuple[str, ...]
    found: Mapping[str, FoundHost] = field(repr=False)
    authorities: Mapping[str, KeyPair] = field(repr=False)
    service_account: KeyPair = field(repr=False)
    certificates: Mapping[str, tuple[str, str]]
    kubeconfigs: Mapping[str, HostKubeconfigs]
    own_kubectl: Mapping[str, bool]

    def adopt(self, name: str) -> ClusterState:
        """The state of a cluster that has none yet: its own keys, and an identity of ours."""
        key = Secret.text(base64.b64encode(secrets.token_bytes(32)).decode())
        return ClusterState(str(uuid.uuid4()), name, self.authorities, self.service_account, key)

    def check(self, state: ClusterState) -> None:
        """Raises ProvisionError when the cluster has another CA by now than was adopted."""
        known = {name: pair.key.reveal().strip() for name, pair in state.authorities.items()}
        if known["kubernetes"] != self.authorities["kubernetes"].key.reveal().strip():
            raise ProvisionError(
                f"{self.there[0]} has another CA than the one that this cluster had when it was taken over",
                f"put the old one back; or, if it has changed for good, remove {STATE_FILE} on all control planes",
            )

    def of(self, host: str) -> dict[str, Any]:
        """What the playbook is told of a host."""
        switched = [name for name, each in self.kubeconfigs.items() if each.node]
        plane = self._plane(host) if host in self.joining else None
        return {
            "joins": host in self.joining,
            "own_kubectl": self.own_kubectl[host],
            "own_folders": host in self.joining or self.existing.kubernetes != "/opt/kubernetes",
            "first_node": switched[0] if switched else "",
            "is_node": host in switched,
            "folder": self.existing.kubernetes,
            "folders": plane.folders() if plane else [],
            "files": plane.files() if plane else [],
            "certificates": plane.certificates() if plane else [],
            "services": plane.services() if plane else [],
            "names": self.names_of(host),
        }

    def names_of(self, host: str) -> list[str]:
        """What the API server's certificate on `host` has to serve."""
        return list(dict.fromkeys([self.spec.endpoint.host, self.spec.nodes[host].address]))

    def _plane(self, host: str) -> SecondPlane:
        first = self.there[0]
        nodes = self.spec.nodes
        return SecondPlane(
            self.found[first], nodes[first].address, host, nodes[host].address, self.names_of(host),
            self.existing.kubernetes, self.authorities,
        )  # fmt: skip


def take_over(
    inventory: Inventory,
    spec: ClusterSpec,
    facts: Mapping[str, Facts],
    owned: Mapping[str, Mapping[str, Owned]],
) -> Takeover | None:
    """None for a cluster of our own. Raises ProvisionError with everything that is in the way, and InputError where the
    inventory says otherwise than what is there."""
    existing = spec.existing
    if existing is None:
        return None
    found = {name: FoundHost.of(name, each, existing.kubernetes) for name, each in facts.items()}
    planes = [host.name for host in inventory.group("kube_control_plane")]
    made = [name for name in planes if _is_made(found[name], owned[name])]
    unit = "file:/etc/systemd/system/kube-apiserver.service"
    if installed := [name for name in planes if unit in owned[name] and name not in made]:
        reason = f"existing: the API server on {installed[0]} was installed by provision"
        raise InputError([Problem(*inventory.origin(None, "cluster", "existing"), reason, "leave it out")])
    there = [name for name in planes if found[name].has("kube-apiserver") and name not in made]
    if not there and made:
        raise ProvisionError(
            f"{', '.join(made)}: made by provision after a control plane that others had built, and none of those is in"
            " kube_control_plane any more",
            "name one that they have built there again: what it has is what further ones are made of, and it cannot be"
            " replaced by them yet",
        )
    if not there:
        raise ProvisionError(
            f"{', '.join(planes)}: there is no kube-apiserver.service, and cluster.existing is for a cluster that runs",
            "name the host that has it in kube_control_plane; or leave cluster.existing out, to install a cluster",
        )
    reading = _Reading(inventory, spec, existing, found, there)
    takeover = reading.result(tuple(name for name in planes if name not in there), owned)
    reading.refuse()
    return takeover


def _is_made(found: FoundHost, owned: Mapping[str, Owned]) -> bool:
    """Whether its API server is a further one of ours: the options that its unit reads are on record."""
    try:
        return found.has("kube-apiserver") and f"file:{found.service('kube-apiserver').conf}" in owned
    except UnusableError:
        return False


class _Reading:
    """Collects faults while it reads."""

    def __init__(
        self,
        inventory: Inventory,
        spec: ClusterSpec,
        existing: Existing,
        found: Mapping[str, FoundHost],
        there: list[str],
    ) -> None:
        self._inventory, self._spec, self._existing = inventory, spec, existing
        self._found, self._there = found, there
        self._faults: list[str] = []
        self._hints: list[str] = []
        self._problems: list[Problem] = []

    def refuse(self) -> None:
        """Raises what was found; InputError first, because it has a place."""
        if self._problems:
            raise InputError(self._problems)
        if self._faults:
            raise ProvisionError("\n".join(self._faults), "; ".join(dict.fromkeys(self._hints)))

    def result(self, joining: tuple[str, ...], owned: Mapping[str, Mapping[str, Owned]]) -> Takeover | None:
        """None when something is in the way."""
        first = self._there[0]
        keys = self._try(first, lambda: self._keys(first))
        for host in self._there:
            self._try(host, partial(self._services, host))
        self._etcd()
        certificates = {
            host: pair
            for host in self._there
            if (pair := self._try(host, partial(self._certificate, host, keys and keys[0]["kubernetes"])))
        }
        kubeconfigs = {
            host: each for host in self._found if (each := self._try(host, partial(self._kubeconfigs, host)))
        }
        if keys is None or self._faults or self._problems:
            return None
        self._names(certificates)
        if self._faults:
            return None
        own = {host: not each.kubectl or _KUBECTL in owned[host] for host, each in self._found.items()}
        takeover = Takeover(
            self._spec, self._existing, tuple(self._there), joining, self._found, keys[0], keys[1],
            certificates, kubeconfigs, own,
        )  # fmt: skip
        for host in joining:
            self._try(host, partial(takeover.of, host))
        return takeover

    def _try(self, host: str, work: Callable[[], _T]) -> _T | None:
        try:
            return work()
        except (UnusableError, ValueError) as fault:
            self._faults.append(f"{host}: {fault}")
            if isinstance(fault, UnusableError) and fault.hint:
                self._hints.append(fault.hint)
            return None

    def _keys(self, host: str) -> tuple[dict[str, KeyPair], KeyPair]:
        """The authorities, and the key that signs tokens."""
        found = self._found[host]
        api, controllers = found.service("kube-apiserver"), found.service("kube-controller-manager")
        ca, key = api.flag("client-ca-file"), controllers.flag("cluster-signing-key-file")
        pair = KeyPair(found.text(ca), Secret.text(found.text(key)))
        if not same_key(pair.cert, pair.key.reveal()):
            raise UnusableError(f"{key} is not the key of {ca}")
        authorities = {"kubernetes": pair}
        etcd = self._etcd_authority(found, api.flag("etcd-cafile"))
        if etcd is not None:
            authorities["etcd"] = etcd
        signing = found.text(api.flag("service-account-signing-key-file"))
        return authorities, KeyPair(public_pem(signing), Secret.text(signing))

    def _etcd_authority(self, found: FoundHost, path: str) -> KeyPair | None:
        """Its key lies with etcd, if anywhere."""
        cert = found.text(path)
        hosts = [
            found,
            *(self._found[each.name] for each in self._inventory.group("etcd") if each.name in self._found),
        ]
        for host in hosts:
            for name, data in host.files.items():
                if name.startswith(f"{self._existing.etcd}/ssl/") and b"PRIVATE KEY" in data:
                    key = data.decode(errors="replace")
                    if same_key(cert, key):
                        return KeyPair(cert, Secret.text(key))
        return None

    def _services(self, host: str) -> None:
        found = self._found[host]
        api = found.service("kube-apiserver")
        port = api.flags.get("secure-port") or API_PORT
        if port != API_PORT:
            raise UnusableError(
                f"{api.conf}: --secure-port={port}: only {API_PORT} is supported by this version"
            )
        if self._inventory.group("load_balancer"):
            check_anonymous(found, api)
        for name in SERVICES[1:]:
            service = found.service(name)
            if service.flags.get("leader-elect") == "false":
                raise UnusableError(f"{service.conf}: --leader-elect=false: a second one would act beside it")
        version = f"v{self._spec.kubernetes.version}"
        if found.version != version:
            self._differs(
                ("kubernetes", "version"),
                f"{host} runs {found.version or 'no version that is known'}",
                found.version[1:],
            )
        cidrs = api.flag("service-cluster-ip-range")
        if cidrs != ",".join(self._spec.network.service_cidrs):
            self._differs(
                ("network", "service_cidrs"),
                f"{api.conf} on {host} has --service-cluster-ip-range={cidrs}",
                f"[{cidrs}]",
            )
        pods = found.service("kube-controller-manager").flags.get("cluster-cidr")
        if pods and pods != ",".join(self._spec.network.pod_cidrs):
            self._differs(
                ("network", "pod_cidrs"),
                f"kube-controller-manager on {host} has --cluster-cidr={pods}",
                f"[{pods}]",
            )

    def _differs(self, path: tuple[str, ...], has: str, right: str) -> None:
        place = self._inventory.origin(None, "cluster", *path)
        hint = f"write {right}" if right else ""
        self._problems.append(Problem(*place, f"{path[-1]}: {has}", hint))

    def _etcd(self) -> None:
        for host in self._inventory.group("etcd"):
            if (
                host.name in self._found
                and f"{self._existing.etcd}/cfg/etcd.conf" not in self._found[host.name].files
            ):
                reason = f"{host.name}: is in the group etcd, and has no {self._existing.etcd}/cfg/etcd.conf"
                self._faults.append(reason)
                self._hints.append(
                    "members cannot be added yet to an etcd that others have built: name those that it has"
                )

    def _certificate(self, host: str, authority: KeyPair | None) -> tuple[str, str]:
        """Path and text of what the API server shows, which that authority must have signed: clients of ours trust no
        other, and a certificate that is signed anew would be of another than those trust that are there."""
        found = self._found[host]
        api = found.service("kube-apiserver")
        path = api.flag("tls-cert-file")
        pem = found.text(path)
        if authority is not None and not signed_by(pem, authority.cert):
            ca = f"{api.flag('client-ca-file')} of --client-ca-file ({name_of(authority.cert)})"
            raise UnusableError(
                f"the API server's certificate {path} is signed by {issuer_of(pem)}, and not with the key of {ca}",
                f"have {path} signed by the CA in {api.flag('client-ca-file')}, and let every kubeconfig trust that CA",
            )
        return path, pem

    def _names(self, certificates: Mapping[str, tuple[str, str]]) -> None:
        if self._existing.reissue_api_certificate:
            return
        for host, (path, pem) in certificates.items():
            names = list(dict.fromkeys([self._spec.endpoint.host, self._spec.nodes[host].address]))
            if missing := lacking(pem, names):
                self._faults.append(
                    f"{host}: the API server's certificate {path} lacks {', '.join(missing)}: clients would refuse it"
                )
                self._hints.append(
                    "cluster.existing: {preset: "
                    + self._existing.preset
                    + ", reissue_api_certificate: true} has it signed anew by its own CA, with all names that it has"
                )

    def _kubeconfigs(self, host: str) -> HostKubeconfigs | None:
        found = self._found[host]
        texts = dict(self._candidates(found))
        nodes = self._spec.nodes
        ours = {nodes[each].address for each in self._there} | set(self._there)
        endpoint = f"https://{self._spec.endpoint}"
        instead = {
            server: endpoint
            for text in texts.values()
            for server in servers(text)
            if urlsplit(server).hostname in ours and urlsplit(server).port == int(API_PORT)
        }
        wanted = {*instead, endpoint}
        texts = {path: text for path, text in texts.items() if wanted & set(servers(text))}
        if not found.has("kubelet"):
            return HostKubeconfigs(texts, instead) if texts else None
        flags = found.service("kubelet").flags
        kubelet = flags.get("kubeconfig") or ""
        if kubelet not in texts:
            said = ", ".join(servers(found.text(kubelet)))
            raise UnusableError(
                f"{kubelet} leads to {said}, which is neither a control plane here nor the endpoint"
            )
        name = flags.get("hostname-override") or host
        proxy = _of_proxy(found)
        if proxy and proxy not in texts:
            found.text(proxy)
            raise UnusableError(f"{proxy} leads neither to a control plane here nor to the endpoint")
        return HostKubeconfigs(texts, instead, name, kubelet, proxy)

    def _candidates(self, found: FoundHost) -> Iterator[tuple[str, str]]:
        """Nodes' and people's. Controllers stay with the API server beside them."""
        own = {f"{self._existing.kubernetes}/cfg/{name}.kubeconfig" for name in SERVICES}
        for path in found.files:
            is_one = path.endswith(".kubeconfig") and path.startswith(f"{self._existing.kubernetes}/cfg/")
            if path == self._existing.admin_kubeconfig or (is_one and path not in own):
                yield path, found.text(path)


def _of_proxy(found: FoundHost) -> str:
    """The kubeconfig of kube-proxy, by its flags or its configuration; "" where there is no kube-proxy."""
    if not found.has("kube-proxy"):
        return ""
    service = found.service("kube-proxy")
    path = service.flags.get("kubeconfig")
    if path:
        return path
    config = service.flag("config")
    try:
        read = yaml.safe_load(found.text(config))
    except yaml.YAMLError:
        read = None
    connection = read.get("clientConnection") if isinstance(read, dict) else None
    path = connection.get("kubeconfig") if isinstance(connection, dict) else None
    if not isinstance(path, str):
        raise UnusableError(f"{config} names no clientConnection.kubeconfig")
    return path
