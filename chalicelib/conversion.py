"""Adapter: pictures that Rekognition cannot read become JPEGs that it can, each in a process of its own.

Decoders are C code that strangers feed. What takes too much memory or time, or crashes, costs that process
only, and its memory comes back; and no function waits for Pillow's import but for a conversion.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chalicelib.errors import PictureRefused

DECODER = (sys.executable, "-m", "chalicelib.decoding")
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Converter:
    max_pixels: int
    max_memory: int  # bytes; what one conversion may take
    max_seconds: float

    def to_jpeg(self, file: BinaryIO) -> bytes:
        """The picture in an open file as a viewer shows it: a JPEG of at most 5 MB and 4,096 pixels a side.

        Raises PictureRefused: unsupported_format, too_small, too_large (for memory and time as well) or
        unreadable, which is also what some decoders say when their memory runs out.
        """
        limits = (str(self.max_pixels), str(self.max_memory))
        file.flush()
        try:
            done = subprocess.run(  # noqa: S603 - nothing in the command comes from outside
                [*DECODER, *limits],
                stdin=file,
                capture_output=True,
                timeout=self.max_seconds,
                cwd=ROOT,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise PictureRefused("too_large") from expired
        if done.returncode < 0:  # a signal ended it
            raise PictureRefused("unreadable")
        if done.returncode > 0:
            raise RuntimeError(f"the decoder failed: {done.stderr.decode(errors='replace')[-1000:]}")
        if not done.stdout.startswith(b"\xff\xd8"):
            raise PictureRefused(done.stdout.decode())
        return done.stdout
