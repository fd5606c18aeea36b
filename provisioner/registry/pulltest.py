"""Every node pulls one image from the registry; whoever cannot is told with the cause.

An image that is there already is asked for all the same: the resolver of containerd's client reads its manifest from
the registry before it looks at what it has (core/remotes/docker/resolver.go, remotes/docker in 1.x).
"""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry.pulled import pulling
from provisioner.remote.pullcauses import essence, pull_cause
from provisioner.resources.model import Answer
from provisioner.shell.script import Script

_LIMIT_SECONDS = 45
"""containerd gives up a connection that nobody answers after 30 s, says so, and begins anew: four times in all."""
SECONDS = 90.0


def pull_test(image: str) -> Script:
    """Pulls `image`, a reference by digest, as the node's containerd is told to."""
    return Script(pulling(image, _LIMIT_SECONDS))


def judge(image: str, answers: Mapping[str, Answer | Exception]) -> str:
    """What to say of the answers by host. Raises ProvisionError with all that failed, UnreachableError when a host was
    lost."""
    faults = []
    for host, answer in answers.items():
        if isinstance(answer, UnreachableError):
            raise answer
        if isinstance(answer, Exception):
            faults.append((f"{host}: {answer}", getattr(answer, "hint", "")))
        elif answer.status:
            faults.append(told(host, answer.stderr.decode(errors="replace")))
    if not faults:
        return f"{len(answers)} nodes pull {image.partition('@')[0]}"
    count = f"{len(faults)} of {len(answers)} nodes"
    reason = f"{count} cannot pull {image}:\n" + "\n".join(f"  {reason}" for reason, _ in faults)
    raise ProvisionError(reason, "\n".join(dict.fromkeys(hint for _, hint in faults if hint)))


def told(host: str, stderr: str) -> tuple[str, str]:
    """The cause and what mends it, of what ctr said on `host`."""
    cause, hint = pull_cause(stderr, host)
    said = essence(stderr)[-500:]
    if not cause:
        return f"{host}: {said}", f"see `journalctl -u containerd` on {host}"
    return f"{host}: {cause} ({said})", hint
