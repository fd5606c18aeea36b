"""The module `api_certificate`: the certificate of an API server that somebody else has set up serves the names that
clients will use. Signed by the cluster's own CA with the same key, because others may be signed or verified with that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from provisioner.kube.kubectl import KUBECTL
from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

READY_SECONDS = 90
"""For an API server that was running a moment ago; etcd is there."""

_CHANGE = f"""
f=%(path)s
[ "$(sha256sum <"$f")" = '%(digest)s  -' ] || {{
  echo "$f is another one than was read: run again" >&2
  exit 1
}}
mode=$(stat -Lc %%a -- "$f") owner=$(stat -Lc %%U -- "$f") group=$(stat -Lc %%G -- "$f")
cat -- "$f" >"$P/old"
ready() {{
  systemctl restart kube-apiserver || return 1
  end=$(($(date +%%s) + {READY_SECONDS}))
  until {KUBECTL} get --raw /readyz >/dev/null 2>"$P/said"; do
    [ "$(date +%%s)" -lt "$end" ] || return 1
    sleep 0.3
  done
}}
displace "$f"
put "$P/crt" "$f" "$mode" "$owner" "$group"
if ! ready; then
  [ ! -e "$P/said" ] || cat "$P/said" >&2
  journalctl --no-pager --quiet -n 8 -o cat -u kube-apiserver >&2 || :
  put "$P/old" "$f" "$mode" "$owner" "$group"
  # systemd gives up what dies several times in ten seconds.
  systemctl reset-failed kube-apiserver || :
  systemctl restart kube-apiserver || :
  echo "the API server was not ready with its new certificate; it has the old one again" >&2
  exit 1
fi
"""


Lacking = Callable[[str, Sequence[str]], tuple[str, ...]]
"""Those of the names for which a certificate (PEM) does not serve. Raises ValueError when it is none."""
Reissued = Callable[[str, Sequence[str]], str]
"""The certificate, signed anew with the names beside those that it has."""


class ApiCertificateKind:
    """Attribute `lacks`: the wanted names for which the certificate does not serve."""

    name = "api_certificate"

    def __init__(self, lacking: Lacking, reissued: Reissued, found: Mapping[str, tuple[str, str]]) -> None:
        """`found`: path and PEM of each API server's certificate, by host."""
        self._lacking = lacking
        self._reissued = reissued
        self._found = found

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"sans": list}, {})
        path, pem = self._found[task.host]
        spec = {"sans": tuple(str(each) for each in task.args["sans"]), "pem": pem}
        return [Resource("api_certificate", path, Present({"lacks": ()}), spec, writes=(path,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        lines = (
            f'[ ! -f {quote(each.name)} ] || cat -- {quote(each.name)}; echo; echo "="' for each in resources
        )
        return Script("\n".join(lines) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = {}
        # A certificate in base64 may end in "=": the separator alone in a line is none of it.
        texts = output.decode(errors="replace").split("\n=\n")
        for each, text in zip(resources, texts, strict=False):
            found[each.id] = self._state(text, each.spec["sans"])
        return found

    def change(self, change: Change) -> Script:
        pem: str = change.resource.spec["pem"]
        new = self._reissued(pem, change.resource.spec["sans"])
        digest = hashlib.sha256(pem.encode()).hexdigest()
        script = _CHANGE % {"path": quote(change.resource.name), "digest": digest}
        return Script(script, {"crt": Blob.of(new.encode())})

    def _state(self, text: str, wanted: Sequence[str]) -> State:
        try:
            return Present({"lacks": self._lacking(text, wanted)})
        except ValueError:
            return Absent()
