"""Decompresses gzip, zstd and xz as a stream: never more than asked for in memory, and no end that is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from provisioner.bundle.ingest.limits import refusal
from provisioner.bundle.store import CHUNK

# The dictionary of `xz -9` is 64 MiB; more would not fit into what a build may use.
_XZ_MEMORY = 100 << 20
_ZSTD_WINDOW_LOG = 27
"""128 MiB, the most that `zstd` itself takes unasked."""


class Readable(Protocol):
    """What is read from front to back; b"" is its end."""

    def read(self, size: int, /) -> bytes: ...


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def compression_of(head: bytes) -> str:
    """gzip, zstd, xz or bzip2 by a file's first bytes (6 are enough), "" for none of them."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    # A skippable frame may come first (RFC 8878, 3.1.2).
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    return "bzip2" if head[:3] == b"BZh" else ""


def plain_chunks(source: Readable, form: str, name: str, limit: int) -> Iterator[bytes]:
    """What `source` has, decompressed as `form` says. Raises ProvisionError, with `name`, when it is damaged, cut off,
    or more than `limit` bytes."""
    done = 0
    for chunk in _decompressed(source, form, name) if form else iter(lambda: source.read(CHUNK), b""):
        done += len(chunk)
        if done > limit:
            raise refusal(name, f"has more than {limit} bytes" + (f" within its {form}" if form else ""))
        yield chunk


def _decompressed(source: Readable, form: str, name: str) -> Iterator[bytes]:
    decoder, data = _decoder(form, name), source.read(CHUNK)
    while True:
        try:
            plain = decoder.decompress(data, CHUNK)
        except Exception as error:
            # Each library has exceptions of its own; all of them mean the same here.
            raise refusal(name, f"is damaged: no {form} ({error})") from error
        if plain:
            yield plain
        if decoder.eof:
            # Members or frames one after the other are one file; zeros after the last one are padding.
            data = (decoder.unused_data or source.read(CHUNK)).lstrip(b"\0")
            while not data:
                block = source.read(CHUNK)
                if not block:
                    return
                data = block.lstrip(b"\0")
            decoder = _decoder(form, name)
        elif decoder.needs_input:
            data = source.read(CHUNK)
            if not data:
                raise refusal(name, f"is cut off: its {form} has no end")
        else:
            data = b""


def _decoder(form: str, name: str) -> _Decoder:
    decoder: _Decoder
    if form == "gzip":
        from isal import igzip_lib

        decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    elif form == "zstd":
        from provisioner.bundle.ingest.zstd import library as zstd

        decoder = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        )
    elif form == "xz":
        import lzma

        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    else:
        raise refusal(name, f"is compressed by {form}", "unpack it, or compress it by gzip, zstd or xz")
    return decoder
