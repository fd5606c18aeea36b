"""`python -m bench.push`: a bundle from the cache into one file, verified; and images into a registry by provision, by
skopeo, and as bare HTTP, side by side.

Needs skopeo and Debian's docker-registry (it is downloaded, not installed); no root.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import platformdirs

from bench.carried import carried
from bench.measure import BenchError, Run, run
from provisioner.bundle import oci
from provisioner.bundle.layout import Bundle, Image, default_bundle_path
from provisioner.bundle.oci import Descriptor

_GOALS = {"push of raw": 1.2, "second push in seconds": 0.5, "peak in MiB": 200.0}
_LAYER = 40_000_000


@dataclass(frozen=True)
class Server:
    port: int
    certificate: Path


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.push", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=default_bundle_path())
    parser.add_argument("--size", type=int, default=580, help="MB in all; images of seeded bytes make it up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--for", type=Path, dest="inventory", default=Path(_here(), "inventories/ha.yaml"))
    parser.add_argument("--os", default="debian-12", help="of the hosts of that inventory")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
        work = Path(folder)
        file = carried(given.inventory, given.os, work, given.rounds)
        sys.stdout.write("\n".join(file.lines()) + "\n")
        bundle = filled(given.bundle, work / "bundle", given.size * 1_000_000)
        figures = compare(bundle, work, given.rounds)
    sys.stdout.write(table(figures, _bytes(bundle), len(bundle.images())))
    if given.json:
        every = {"build": file.builds, "verify": file.verifies, **figures}
        plain = {name: [asdict(each) | {"output": ""} for each in runs] for name, runs in every.items()}
        given.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def filled(source: Path, path: Path, size: int) -> Bundle:
    """The images of a bundle, and as many images of bytes that nothing compresses as make `size` bytes of blobs."""
    entries = []
    for image in Bundle.open(source).images():
        entries.append(_copy(image, path))
    total = sum(file.stat().st_size for file in (path / "blobs" / "sha256").iterdir())
    number = 0
    while total < size:
        entry, length = _random_image(path, number, min(_LAYER, size - total))
        entries.append(entry)
        total, number = total + length, number + 1
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [each.document() for each in entries]}
    (path / "index.json").write_bytes(oci.encode(index))
    (path / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    return Bundle.open(path)


def compare(bundle: Bundle, work: Path, rounds: int) -> dict[str, list[Run]]:
    """Runs by name; each round has a registry of its own for each, in turn. Raises BenchError."""
    figures: dict[str, list[Run]] = {name: [] for name in ("raw", "provision", "second push", "skopeo")}
    for number in range(rounds):
        with registry(work / f"raw{number}") as server:
            figures["raw"].append(_raw(bundle, server, work))
        with registry(work / f"own{number}") as server:
            argv = _push(bundle, server)
            figures["provision"].append(run(argv, work, {}))
            figures["second push"].append(run(argv, work, {}))
            if "0 blobs sent" not in figures["second push"][-1].output:
                raise BenchError("the second push sent something")
        with registry(work / f"skopeo{number}") as server:
            figures["skopeo"].append(run(["sh", "-e", str(_skopeo(bundle, server, work))], work, {}))
        told = ", ".join(f"{name} {runs[-1].seconds:.2f} s" for name, runs in figures.items())
        sys.stderr.write(f"round {number + 1}: {told}\n")
    return figures


def table(figures: dict[str, list[Run]], size: int, images: int) -> str:
    """Medians, and what the goals say of them."""
    seconds = {name: statistics.median(each.seconds for each in runs) for name, runs in figures.items()}
    peaks = {name: max(each.peak_mb for each in runs) for name, runs in figures.items()}
    lines = [f"{images} images, {size / 1e6:.0f} MB of blobs, median of {len(figures['raw'])} rounds"]
    for name, took in seconds.items():
        lines.append(
            f"{name:<12} {took:7.2f} s  {took / seconds['raw']:5.2f} x raw  peak {peaks[name]:5.0f} MiB"
        )
    reached = {
        "push of raw": seconds["provision"] / seconds["raw"],
        "second push in seconds": seconds["second push"],
        "peak in MiB": max(peaks["provision"], peaks["second push"]),
    }
    for name, value in reached.items():
        verdict = "reached" if value <= _GOALS[name] else "MISSED"
        lines.append(f"goal: {name} {value:.2f}, at most {_GOALS[name]:g}: {verdict}")
    lines.append(f"provision of skopeo: {seconds['provision'] / seconds['skopeo']:.2f}")
    noisy = sum(not each.quiet for runs in figures.values() for each in runs)
    lines.append(f"{noisy} of {sum(map(len, figures.values()))} runs had no quiet machine")
    return "\n".join(lines) + "\n"


@contextmanager
def registry(folder: Path) -> Iterator[Server]:
    """An empty one over TLS; gone afterwards."""
    program = (
        platformdirs.user_cache_path("provision") / "tests" / "docker-registry" / "usr/bin/docker-registry"
    )
    if not program.exists():
        raise BenchError(
            f"{program} is missing: the tests of hosts download it (tests/hosts/test_registry_push.py)"
        )
    folder.mkdir()
    key, certificate = folder / "key.pem", folder / "crt.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(json.dumps(_settings(folder, port)), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            _wait(port)
            yield Server(port, certificate)
        finally:
            process.terminate()
            process.wait(10)
            shutil.rmtree(folder)


def _settings(folder: Path, port: int) -> dict[str, object]:
    tls = {"certificate": str(folder / "crt.pem"), "key": str(folder / "key.pem")}
    return {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": tls},
    }


def _raw(bundle: Bundle, server: Server, work: Path) -> Run:
    """The same bytes in a process of their own: one connection, POST and PUT for each blob, no questions."""
    files = work / "blobs.json"
    blobs = {blob.digest: str(blob.path) for image in bundle.images() for blob in image.blobs}
    files.write_text(json.dumps({"port": server.port, "ca": str(server.certificate), "blobs": blobs}))
    return run([sys.executable, "-m", "bench.push", "raw", str(files)], work, {"PYTHONPATH": _here()})


def send_raw(described: Path) -> None:
    """What `_raw` measures."""
    given = json.loads(described.read_text(encoding="utf-8"))
    context = ssl.create_default_context(cafile=given["ca"])
    connection = HTTPSConnection("localhost", given["port"], context=context, blocksize=256 << 10)
    for digest, path in given["blobs"].items():
        connection.request("POST", "/v2/raw/blobs/uploads/")
        answer = connection.getresponse()
        answer.read()
        where = urlsplit(urljoin("https://localhost/", str(answer.headers["Location"])))
        with Path(path).open("rb") as stream:
            length = {"Content-Length": str(os.fstat(stream.fileno()).st_size)}
            connection.request("PUT", f"{where.path}?{where.query}&digest={digest}", stream, length)
            answer = connection.getresponse()
            answer.read()
        if answer.status != 201:
            raise BenchError(f"{digest}: HTTP {answer.status}")


def _push(bundle: Bundle, server: Server) -> list[str]:
    program = str(Path(sys.executable).with_name("provision"))
    to = f"localhost:{server.port}/bench"
    trust = ["--ca", str(server.certificate), "--address", "127.0.0.1"]
    return [program, "bundle", "push", str(bundle.path), "--to", to, *trust]


def _skopeo(bundle: Bundle, server: Server, work: Path) -> Path:
    """A script with one `skopeo copy` an image, which is all that it can."""
    trust = work / "trust"
    trust.mkdir(exist_ok=True)
    shutil.copy(server.certificate, trust / "ca.crt")
    script = work / "skopeo.sh"
    copy = f"skopeo copy --quiet --insecure-policy --preserve-digests --dest-cert-dir {trust}"
    lines = []
    for image in bundle.images():
        name = image.name.partition("/")[2]
        to = f"docker://localhost:{server.port}/bench/{name}:{image.tag}"
        lines.append(f"{copy} 'oci:{bundle.path}:{image.reference}' '{to}'\n")
    script.write_text("".join(lines), encoding="utf-8")
    return script


def _copy(image: Image, path: Path) -> Descriptor:
    for blob in image.blobs:
        _link(path, blob.digest, partial(shutil.copyfile, blob.path))
    _link(path, image.digest, partial(_write, image.manifest))
    notes = {oci.REF_NAME: image.reference}
    return Descriptor(image.media_type, image.digest, len(image.manifest), notes, image.platform)


def _random_image(path: Path, number: int, length: int) -> tuple[Descriptor, int]:
    # Bytes of a layer that no registry looks into.
    layer = random.Random(number).randbytes(length)  # noqa: S311  # not for secrets
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = oci.image_config("linux/amd64", [digest], {})
    parts = [
        Descriptor(kind, oci.digest_of(data), len(data))
        for kind, data in ((oci.CONFIG, config), (oci.LAYER, layer))
    ]
    manifest = oci.manifest(parts[0], parts[1:], {})
    for data in (layer, config, manifest):
        _link(path, oci.digest_of(data), partial(_write, data))
    notes = {oci.REF_NAME: f"example.org/bench/filler{number}:1"}
    return Descriptor(oci.MANIFEST, oci.digest_of(manifest), len(manifest), notes, "linux/amd64"), length


def _link(path: Path, digest: str, write: Callable[[Path], object]) -> None:
    file = path / "blobs" / "sha256" / digest.partition(":")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        write(file)


def _write(data: bytes, file: Path) -> None:
    file.write_bytes(data)


def _bytes(bundle: Bundle) -> int:
    return sum({blob.digest: blob.size for image in bundle.images() for blob in image.blobs}.values())


def _here() -> str:
    return str(Path(__file__).parents[1])


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError("the registry does not listen")


if __name__ == "__main__":
    if sys.argv[1:2] == ["raw"]:
        send_raw(Path(sys.argv[2]))
    elif shutil.which("skopeo") is None:
        sys.exit("needs skopeo")
    else:
        main()
