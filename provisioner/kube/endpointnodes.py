"""The gate of a cluster that others have built: all of its nodes are Ready, as who comes by the endpoint is told."""

from __future__ import annotations

import time

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

SECONDS = 60
_ROW = r'{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'


def nodes_ready(runner: Runner, endpoint: str) -> str:
    """`endpoint` is HOST:PORT. Raises ProvisionError with the nodes that are not Ready within a minute."""
    began = time.monotonic()
    script = f"""
end=$(($(date +%s) + {SECONDS}))
until {KUBECTL} --server={quote(f"https://{endpoint}")} get nodes -o jsonpath='{_ROW}' >"$W/out" &&
  [ -s "$W/out" ] && ! grep -qv '=True$' "$W/out"; do
  if [ "$(date +%s)" -ge "$end" ]; then
    grep -v '=True$' "$W/out" >&2 || :
    exit 1
  fi
  sleep 0.5
done
cat "$W/out"
"""
    result = runner.run(Script(script), deadline=SECONDS + 60)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-1000:]
        raise ProvisionError(
            f"not all nodes are Ready after {time.monotonic() - began:.0f} s, asked at {endpoint}:\n{said}",
            "look at `journalctl -u kubelet` on those nodes",
        )
    return f"{len(result.stdout.splitlines())} nodes are Ready at {endpoint}"
