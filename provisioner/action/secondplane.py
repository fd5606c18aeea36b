"""A further control plane of a cluster that others have built: made after the first one, with its own addresses and
certificates. What the services are to read lies at the same paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname
from typing import Any

from provisioner.action.foundcluster import SERVICES, FoundHost, Service, UnusableError
from provisioner.inventory.secrets import Secret
from provisioner.kube.kubeconfigedit import with_servers
from provisioner.kube.serviceflags import Flags
from provisioner.pki.authority import KeyPair
from provisioner.pki.reissue import names_of, signed_by, subject_of

_READ = re.compile(r"--.*(-file|-cafile|-certfile|-keyfile|-certificate|-key|-config|kubeconfig)")
"""Flags whose value is a file that the service reads."""
_WRITTEN = re.compile(r"--(.*-log-path|log-dir|log-file|cert-dir)")
_PAIRS = (
    ("apiserver", "tls-cert-file", "tls-private-key-file", ("server", "client")),
    ("apiserver-kubelet-client", "kubelet-client-certificate", "kubelet-client-key", ("client",)),
    ("apiserver-etcd-client", "etcd-certfile", "etcd-keyfile", ("client",)),
    ("apiserver-proxy-client", "proxy-client-cert-file", "proxy-client-key-file", ("client",)),
)
"""What the API server shows to others: the name of our pair, the flags, the usages."""


@dataclass(frozen=True)
class SecondPlane:
    """`first` is the host that it is made after, at `first_address`; `sans` are the names of the endpoint and its own,
    beside those that the first one's certificate has, but for that one's address."""

    first: FoundHost
    first_address: str
    host: str
    address: str
    names: Sequence[str]
    folder: str
    authorities: Mapping[str, KeyPair] = field(repr=False)

    def folders(self) -> list[str]:
        """Each after those that it lies in. Raises UnusableError as the others."""
        wanted = {f"{self.folder}/{each}" for each in ("bin", "cfg", "ssl", "logs")}
        wanted |= {dirname(str(each["path"])) for each in self.files()}
        for service in self._services():
            for name, value in service.flags.pairs:
                if _WRITTEN.fullmatch(name) and value and value.startswith("/"):
                    wanted.add(value if name == "--log-dir" or name == "--cert-dir" else dirname(value))
        wanted |= {parent for each in wanted for parent in _parents(each)}
        return sorted(wanted - set(_SYSTEM))

    def files(self) -> list[dict[str, Any]]:
        """path, content (a Secret), mode, secret of each."""
        files: dict[str, dict[str, Any]] = {}
        for service in self._services():
            head = f"# After {service.conf} of {self.first.name}, by provision."
            text = f'{head}\n{service.variable}="{self._flags(service).text()}"\n'
            files[service.conf] = _file(service.conf, text, "0644")
            unit = f"/etc/systemd/system/{service.name}.service"
            files[unit] = _file(unit, service.unit, "0644")
            for name, value in self._flags(service).pairs:
                if value and _READ.fullmatch(name) and value not in self._own_paths():
                    files[value] = self._copied(value, name)
        return list(files.values())

    def certificates(self) -> list[dict[str, Any]]:
        """Arguments of the module `certificate`."""
        return [each for each, _ in self._pairs()]

    def services(self) -> list[dict[str, Any]]:
        """name, and inputs (paths whose change asks for a restart), in the order of their start."""
        own = sorted(self._own_paths())
        listed = []
        for service in self._services():
            read = {value for name, value in self._flags(service).pairs if value and _READ.fullmatch(name)}
            inputs = [f"{self.folder}/bin/{service.name}", service.conf, *sorted(read - set(own))]
            listed.append(
                {
                    "name": service.name,
                    "inputs": inputs + [each for each in own if each in read and each.endswith(".crt")],
                }
            )
        return listed

    def _services(self) -> list[Service]:
        return [self.first.service(name) for name in SERVICES]

    def _pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Each certificate of its own, and the paths that it takes the place of. Where the authority is not known that
        signed the first one's, that is copied."""
        api = self.first.service("kube-apiserver")
        seen: set[str] = set()
        for name, cert_flag, key_flag, usages in _PAIRS:
            cert, key = api.flags.get(cert_flag), api.flags.get(key_flag)
            if not cert or not key or cert in seen:
                continue
            seen.add(cert)
            pem = self.first.text(cert)
            authority = next(
                (each for each, pair in self.authorities.items() if signed_by(pem, pair.cert)), None
            )
            if authority is None:
                continue
            common, organizations = subject_of(pem)
            dest = f"{self.folder}/ssl/{name}"
            made: dict[str, Any] = {
                "dest": dest,
                "authority": authority,
                "common_name": common,
                "organizations": list(organizations),
                "usages": list(usages),
                "sans": self._sans(pem) if "server" in usages else [],
            }
            yield made, {cert: f"{dest}.crt", key: f"{dest}.key"}

    def _sans(self, pem: str) -> list[str]:
        mine = (self.first_address, self.first.name)
        kept = [each for each in names_of(pem) if each not in mine]
        return list(dict.fromkeys([*kept, *self.names, self.host]))

    def _own_paths(self) -> set[str]:
        return {path for _, moved in self._pairs() for path in moved.values()}

    def _flags(self, service: Service) -> Flags:
        """Those of the first one, with the own addresses, and the own pairs where the first one's stand; but what signs
        and checks tokens is the cluster's, even where that is the key of a certificate."""
        moved = {old: new for _, paths in self._pairs() for old, new in paths.items()}
        pairs = []
        for name, value in service.flags.pairs:
            if value == self.first_address:
                value = self.address
            elif value in moved and not name.startswith("--service-account"):
                value = moved[value]
            elif name == "--etcd-servers" and value:
                value = re.sub(
                    r"//(127\.0\.0\.1|localhost|\[::1\]):", f"//{_host(self.first_address)}:", value
                )
            pairs.append((name, value))
        return Flags(tuple(pairs))

    def _copied(self, path: str, flag: str) -> dict[str, Any]:
        text = self.first.text(path)
        if flag == "--kubeconfig":
            old, new = _host(self.first_address), _host(self.address)
            try:
                text = with_servers(text, lambda server: server.replace(f"//{old}:", f"//{new}:"))
            except ValueError as fault:
                raise UnusableError(f"{path} on {self.first.name}: {fault}") from None
            return _file(path, text, "0600")
        public = "PRIVATE KEY" not in text and "BEGIN CERTIFICATE" in text
        return _file(path, text, "0644" if public else "0600")


_SYSTEM = (
    "/etc",
    "/opt",
    "/var",
    "/usr",
    "/root",
    "/etc/systemd",
    "/etc/systemd/system",
    "/var/log",
    "/var/lib",
)


def _file(path: str, text: str, mode: str) -> dict[str, Any]:
    return {"path": path, "content": Secret.text(text), "mode": mode, "secret": mode == "0600"}


def _parents(path: str) -> Iterator[str]:
    while (path := dirname(path)) not in {"", "/"}:
        yield path


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
