"""What measures a network, and what it says: iperf3 (throughput) and sockperf (latency), as Debian 12 has them.

Both end with 0 when they reach nobody (iperf3 3.12 with --json, sockperf 3.7): what they print decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.bench_objects import LATENCY_PORT, THROUGHPUT_PORT

WARM_UP = 1
"""Seconds of iperf3 that do not count: TCP's window opens in them."""
SPEND = 8
"""Seconds that a tool may need beside those in which it measures."""
FAILED = '"error"|ERROR:'
"""An extended regular expression that is found in what either prints when it could not measure."""

_PERCENTILE = re.compile(r"---> percentile (\d+\.\d+) =\s*(\d+\.\d+)")
_COUNT = re.compile(r"Total (\d+) observations")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Throughput:
    """What has arrived, in bits a second, and how many segments were sent again for that."""

    bits_per_second: float
    retransmits: int


@dataclass(frozen=True)
class Latency:
    """Percentiles of round trips of 14 bytes over one TCP connection, in microseconds; `count` of them."""

    p50: float
    p90: float
    p99: float
    count: int


def throughput_command(address: str, seconds: int) -> str:
    """One stream of TCP to `address`, as a line of sh."""
    return (
        f"iperf3 --client {address} --port {THROUGHPUT_PORT} --time {seconds} --omit {WARM_UP} --interval 0 --json "
        "--connect-timeout 3000"
    )


def latency_command(address: str, seconds: int) -> str:
    """One question after the other, each as soon as the last one is answered, as a line of sh."""
    return f"sockperf ping-pong --tcp -i {address} -p {LATENCY_PORT} --time {seconds} --full-rtt"


def parse_throughput(text: str) -> Throughput:
    """Of iperf3's --json. Raises ProvisionError with its own words."""
    try:
        said = json.loads(text)
        if not said.get("error"):
            ends = said["end"]
            received, sent = ends["sum_received"], ends["sum_sent"]
            return Throughput(float(received["bits_per_second"]), int(sent["retransmits"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProvisionError(f"iperf3 did not say what it measured: {_shown(text)}") from None
    raise ProvisionError(f"iperf3: {said['error']}")


def parse_latency(text: str) -> Latency:
    """Of what sockperf prints. Raises ProvisionError with its last words."""
    plain = _COLOUR.sub("", text)
    found: Mapping[float, float] = {float(name): float(value) for name, value in _PERCENTILE.findall(plain)}
    count = _COUNT.search(plain)
    if count is None or not {50.0, 90.0, 99.0} <= set(found):
        raise ProvisionError(f"sockperf did not say what it measured: {_shown(plain)}")
    return Latency(found[50.0], found[90.0], found[99.0], int(count[1]))


def _shown(text: str) -> str:
    return " ".join(text.split())[-300:] or "nothing was printed"
