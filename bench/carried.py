"""A bundle as one file: built from a warm cache, and verified."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Run, run


@dataclass(frozen=True)
class Carried:
    """`builds` of a file of `size` bytes, and as many times `verifies` of it."""

    size: int
    builds: tuple[Run, ...]
    verifies: tuple[Run, ...]

    def lines(self) -> list[str]:
        """For people: medians, and the peaks in MiB."""
        build, verify = (
            statistics.median(each.seconds for each in runs) for runs in (self.builds, self.verifies)
        )
        peaks = [max(each.peak_mb for each in runs) for runs in (self.builds, self.verifies)]
        return [
            f"build from the cache, a file of {self.size / 1e6:.0f} MB: {build:.2f} s, peak {peaks[0]:.0f} MiB",
            f"verify: {verify:.2f} s, {self.size / verify / 1e9:.2f} GB/s, peak {peaks[1]:.0f} MiB",
        ]


def carried(inventory: Path, os_name: str, work: Path, rounds: int) -> Carried:
    """Raises BenchError. The first build, which fills the cache, does not count."""
    program, file = str(Path(sys.executable).with_name("provision")), work / "site.tar"
    build = [program, "bundle", "build", "--for", str(inventory), "--os", os_name, "-o", str(file)]
    run(build, work, {})
    builds = tuple(run(build, work, {}) for _ in range(rounds))
    verifies = tuple(run([program, "bundle", "verify", str(file)], work, {}) for _ in range(rounds))
    size = file.stat().st_size
    file.unlink()
    return Carried(size, builds, verifies)
