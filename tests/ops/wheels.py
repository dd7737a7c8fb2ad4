"""Wheels, made without building anything."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZipFile


def wheel_files(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    tags: Sequence[str] = ("py3-none-any",),
    files: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """What is in a wheel, by path."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in extras]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    wheel = ["Wheel-Version: 1.0", "Root-Is-Purelib: true", *(f"Tag: {tag}" for tag in tags)]
    contents = {
        **(files or {}),
        f"{info}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{info}/WHEEL": ("\n".join(wheel) + "\n").encode(),
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in contents.items()]
    return {**contents, f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,"]).encode()}


def wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    tags: Sequence[str] = ("py3-none-any",),
    files: Mapping[str, bytes] | None = None,
) -> None:
    with ZipFile(folder / f"{name}-{version}-{tags[0]}.whl", "w") as packed:
        for path, text in wheel_files(name, version, requires=requires, tags=tags, files=files).items():
            packed.writestr(path, text)


def _digest(text: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
