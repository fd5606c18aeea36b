"""The bootstrap token of a run: minted in memory when a node joins, living minutes, deleted when all have joined."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from provisioner.inventory.secrets import Secret
from provisioner.kube.kubeconfig import kubeconfig_text
from provisioner.kube.kubectl import KUBECTL, PROBING
from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

MINUTES = 15
GROUP = "system:bootstrappers:provision"
LABEL = "provision.dev/bootstrap-token"
DELETE_TOKENS = f"{KUBECTL} -n kube-system delete secret -l {LABEL} --ignore-not-found >/dev/null"
"""This run's token, and those that killed runs left."""
_ALPHABET = string.ascii_lowercase + string.digits


class BootstrapToken:
    """`identifier` is public, the whole token is not. Nothing is made before it is asked for."""

    @cached_property
    def identifier(self) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(6))

    @cached_property
    def secret(self) -> Secret:
        return Secret.text("".join(secrets.choice(_ALPHABET) for _ in range(16)))

    @property
    def user(self) -> str:
        """The user name that the API server gives to who shows the token."""
        return f"system:bootstrap:{self.identifier}"

    def as_object(self) -> dict[str, object]:
        """The Secret from which the API server knows the token (type bootstrap.kubernetes.io/token)."""
        end = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=MINUTES)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {
                "name": f"bootstrap-token-{self.identifier}",
                "namespace": "kube-system",
                "labels": {LABEL: "yes"},
            },
            "stringData": {
                "token-id": self.identifier,
                "token-secret": self.secret.reveal(),
                "expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "usage-bootstrap-authentication": "true",
                "auth-extra-groups": GROUP,
            },
        }


class BootstrapTokenKind:
    """The token's Secret in the cluster. Wanted only while some node has no valid identity.

    With `state: absent` no token of any run is wanted: this one's has done its work, a killed run's might do harm.
    """

    name = "bootstrap_token"

    def __init__(self, token: BootstrapToken) -> None:
        self._token = token

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({}, {"state": str})
        state = task.args.get("state") or "present"
        if state not in {"present", "absent"}:
            raise task.error(f"unknown state '{state}'", "use 'present' or 'absent'", "state")
        if state == "absent":
            return [Resource("bootstrap_token", "any", Absent(), secret=True)]
        return [Resource("bootstrap_token", "kube-system", Present(), secret=True)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"{PROBING}probing -n kube-system get secret -l {LABEL} -o name 2>/dev/null || :\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        ours, some = self._name.encode() in output, bool(output.strip())
        wanted = {each.id: isinstance(each.desired, Present) for each in resources}
        return {name: Present() if (ours if mine else some) else Absent() for name, mine in wanted.items()}

    def settle(self, resource: Resource, actual: State, planned: Collection[Change]) -> State:
        """What the plan mints has to go again."""
        minted = any(change.resource.kind == "bootstrap_token" for change in planned)
        return Present() if minted and isinstance(resource.desired, Absent) else actual

    def change(self, change: Change) -> Script:
        if change.action == "delete":
            return Script(f"{DELETE_TOKENS}\n")
        blob = Blob.of(json.dumps(self._token.as_object()).encode(), secret=True)
        create = f'{KUBECTL} apply -f "$P/token.json" >/dev/null\n'
        return Script(f"{DELETE_TOKENS}\n{create}", {"token.json": blob})

    @property
    def _name(self) -> str:
        return f"bootstrap-token-{self._token.identifier}"


_KEY = "/var/lib/kubelet/pki/kubelet-client.key.tmp"
"""The key for which a kubelet without a certificate asks (kubernetes, cmd/kubelet: bootstrap.go)."""


class BootstrapKubeconfigKind:
    """The kubeconfig with which a kubelet asks for its first certificate. Wanted only until it has one.

    A key for which it has asked with another token goes: a request is named after its key (client-go,
    util/certificate/csr: DigestedName), and that one, which nobody grants, would be waited for.
    """

    name = "bootstrap_kubeconfig"

    def __init__(self, token: BootstrapToken) -> None:
        self._token = token

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"dest": str, "server": str, "authority": str}, {})
        path = task.path("dest")
        spec = {"server": str(task.args["server"]), "authority": str(task.args["authority"])}
        return [Resource("bootstrap_kubeconfig", path, Present(), spec, secret=True, writes=(path,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        lines = [
            f"grep -q -F {quote(f'token: {self._token.identifier}.')} {quote(each.name)} 2>/dev/null && echo {index}"
            for index, each in enumerate(resources)
        ]
        return Script("\n".join([*lines, ":"]) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there = set(output.decode().split())
        return {each.id: Present() if str(i) in there else Absent() for i, each in enumerate(resources)}

    def change(self, change: Change) -> Script:
        resource = change.resource
        credentials = {"token": f"{self._token.identifier}.{self._token.secret.reveal()}"}
        text = kubeconfig_text(
            resource.spec["server"],
            resource.spec["authority"],
            "kubelet-bootstrap",
            credentials,
            "kubernetes",
        )
        script = f'mkdir -p -- "$(dirname -- {quote(resource.name)})"\n'
        content = Blob.of(text.encode(), secret=True)
        # With a stamp, so that whoever removes it knows whose it is (resources.absent).
        script += (
            f'put "$P/content" {quote(resource.name)} 600 root root\n'
            f"stamp {quote(resource.name)} {content.sha256}\n"
            f"rm -f {_KEY}\n"
        )
        return Script(script, {"content": content})
