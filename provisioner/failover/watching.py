"""What is asked of load balancers: whether they are ready to take over, and all the time who has the address."""

from __future__ import annotations

import ipaddress
import re
import time

from provisioner.errors import ProvisionError
from provisioner.failover.faults import END, FOLDER
from provisioner.failover.samples import Sample
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

SAMPLING = 120
"""Seconds after which sampling ends by itself."""
READY_SECONDS = 45
"""How long a load balancer may take until it could take over. nginx tries servers again that it could not reach after
3 s (templates/load-balancer/api-servers.j2), and keepalived wants its script to say so twice."""
_LINE = re.compile(r"(\d+\.\d+)(?: ([01]))?")
_SAMPLER = "provision-failover-sampler.service"


def _holds(vip: str) -> str:
    family = ipaddress.ip_address(vip).version
    return f'[ -n "$(ip -{family} -o addr show to {vip})" ]'


def ready(vip: str, link: str) -> Script:
    """Undoes what an earlier run may have left, waits until the link is up, both services run, this load balancer
    leads to a ready API server and keepalived knows it, then prints `holder` or `backup`. What keepalived says in its
    journal counts; where that says nothing any more, it has been well for long."""
    return Script(f"""\
{END.main}\
id=$(systemctl show --property=InvocationID --value -- keepalived.service)
state() {{
  journalctl --quiet --no-pager --output=cat "_SYSTEMD_INVOCATION_ID=$id" |
    sed -n 's/.*Entering \\([A-Z]*\\) STATE.*/\\1/p' | tail -n 1
}}
end=$(($(date +%s) + {READY_SECONDS}))
while :; do
  state=$(state)
  case $state in
    FAULT) why="keepalived is in state FAULT" ;;
    *)
      if [ -z "$(ip -o link show dev {quote(link)} up)" ]; then
        why="the link is down: "{quote(link)}
      elif ! systemctl is-active --quiet keepalived.service; then
        why="keepalived does not run"
      elif ! systemctl is-active --quiet api-load-balancer.service; then
        why="api-load-balancer does not run"
      elif ! /opt/kubernetes/bin/api-health 2>/dev/null; then
        why="it leads to no ready API server"
      else
        break
      fi
      ;;
  esac
  [ "$(date +%s)" -lt "$end" ] || {{ echo "$why" >&2; exit 1; }}
  sleep 0.1
done
if {_holds(vip)}; then echo holder; else echo backup; fi
""")


def await_address(vip: str, seconds: int) -> Script:
    """Waits until the host has the address; status 1 when it does not get it."""
    return Script(f"""\
end=$(($(date +%s) + {seconds}))
until {_holds(vip)}; do
  [ "$(date +%s)" -lt "$end" ] || exit 1
  sleep 0.05
done
""")


def sampling(vip: str) -> Script:
    """Begins to write down, each 0.1 s and until it is stopped or SAMPLING seconds are over, whether the host has
    the address."""
    return Script(f"""\
set -e
systemctl stop {_SAMPLER} 2>/dev/null || :
mkdir -p {FOLDER}
cat >{FOLDER}/sampler <<'END'
while :; do
  if {_holds(vip)}; then holds=1; else holds=0; fi
  echo "$(date +%s.%N) $holds"
  sleep 0.1
done
END
systemd-run --quiet --collect --unit={_SAMPLER} --property=RuntimeMaxSec={SAMPLING} \\
  /bin/sh -c 'exec /bin/sh {FOLDER}/sampler >{FOLDER}/samples'
""")


_COLLECT = Script(f"""\
date +%s.%N
systemctl stop {_SAMPLER} 2>/dev/null || :
cat {FOLDER}/samples 2>/dev/null || :
""")


def collected(runner: Runner) -> list[Sample]:
    """Ends the sampling; what it found, in terms of our monotonic clock. The host's clock is compared with ours by the
    same exchange: the error is less than its round trip. Raises ProvisionError."""
    before = time.monotonic()
    lines = runner.run(_COLLECT, deadline=30).stdout.decode(errors="replace").splitlines()
    # Its own time was printed first, the samples after some more work: nearer to `before` than to the end.
    times = [each for each in map(_LINE.fullmatch, lines) if each]
    if not times:
        raise ProvisionError(f"{runner.host}: it does not tell its time", "is there a `date` that knows %N?")
    offset = float(times[0][1]) - before
    return [Sample(float(each[1]) - offset, each[2] == "1") for each in times[1:] if each[2]]
