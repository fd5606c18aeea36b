"""The files that the benchmark's work needs, made from a seed, so that no large file lies in the repository."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import tarfile
from pathlib import Path

TEMPLATES = 20
MEMBERS = 60
MEMBER_BYTES = 325_000
"""60 members that do not compress: an archive of 19.5 MB."""
_SEED = 20_250_101

_TEMPLATE = """\
# Configuration {number} of {{{{ ansible_host }}}}, site {{{{ site }}}}.
log_level = {{{{ log_level | upper }}}}
{{% for upstream in upstreams %}}
[upstream {{{{ upstream.name }}}}]
port = {{{{ upstream.port }}}}
weight = {{{{ upstream.weight * {factor} }}}}
{{% for member in upstream.members %}}
member = {{{{ member }}}}:{{{{ upstream.port }}}}{{% if loop.last %}}  # last{{% endif %}}

{{% endfor %}}
{{% endfor %}}
[limits]
{{% for name, value in limits.items() %}}
{{{{ name }}}} = {{{{ value }}}}
{{% endfor %}}
[options]
{options}
"""


def stage(sources: Path, work: Path) -> Path:
    """Copies the files of `sources` into the fresh folder `work` and makes files and templates there."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for source in sources.iterdir():
        if source.is_file():
            shutil.copy(source, work / source.name)
    chance = random.Random(_SEED)  # noqa: S311 - the same bytes each time are the point
    (work / "templates").mkdir()
    for number in range(TEMPLATES):
        (work / "templates" / f"{number:02}.conf.j2").write_text(_template(chance, number), encoding="utf-8")
    files = work / "files"
    files.mkdir()
    (files / "ca.crt").write_text(_lines(chance, 30), encoding="utf-8")
    (files / "node.env").write_text(_lines(chance, 12), encoding="utf-8")
    (files / "payload.tgz").write_bytes(payload(chance))
    return work


def payload(chance: random.Random) -> bytes:
    """The archive. The same bytes for the same seed: no times, no names of this machine."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for number in range(MEMBERS):
            member = tarfile.TarInfo(f"bin{number:03}")
            member.size, member.mode = MEMBER_BYTES, 0o755
            archive.addfile(member, io.BytesIO(chance.randbytes(MEMBER_BYTES)))
    return out.getvalue()


def _template(chance: random.Random, number: int) -> str:
    return _TEMPLATE.format(number=number, factor=number + 1, options=_lines(chance, 25))


def _lines(chance: random.Random, count: int) -> str:
    return "".join(f"option_{index} = {chance.randbytes(24).hex()}\n" for index in range(count))
