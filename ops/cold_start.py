"""How long the app takes to be imported where there is nothing but its package, as on Lambda."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# /var/task is read-only on Lambda: what is compiled there is not kept, nor is it here (-B).
_CLEAN = ("-I", "-S", "-B")
_PYTHON: str = getattr(sys, "_base_executable", sys.executable)  # beneath the virtual environment
_IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
start, worked = time.perf_counter(), time.process_time()
for module in sys.argv[2:]:
    __import__(module)
print(time.perf_counter() - start, time.process_time() - worked)
"""
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +([^\s.]+)")
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class ImportFailed(Exception):
    """The package alone is not enough to import it; the message is Python's."""


@dataclass(frozen=True)
class ColdStart:
    """New processes of the Python beneath the virtual environment, which see the folder and no more."""

    folder: Path
    environment: Mapping[str, str]

    def seconds(self, *modules: str, bytecode: bool = True) -> tuple[float, float]:
        """Of one import: by the clock, and of the processor's work, which a busy machine changes less."""
        # Elsewhere than beside its source, Python looks for bytecode in vain.
        options = () if bytecode else ("-X", f"pycache_prefix={self.folder / 'nowhere'}")
        by_clock, of_work = map(float, self._run(options, modules).stdout.split()[-2:])
        return by_clock, of_work

    def slowest(self, *modules: str) -> Counter[str]:
        """Microseconds by what is imported at the top: boto3 with all that is in it, but not botocore."""
        trace = self._run(("-X", "importtime"), modules).stderr
        spent: Counter[str] = Counter()
        for microseconds, name in _LINE.findall(trace):
            spent["the standard library" if name in sys.stdlib_module_names else name] += int(microseconds)
        return spent

    def _run(self, options: Iterable[str], modules: Iterable[str]) -> subprocess.CompletedProcess[str]:
        command = [_PYTHON, *_CLEAN, *options, "-c", _IMPORT, str(self.folder), *modules]
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        process = subprocess.run(  # noqa: S603
            command,
            env={**passed_on, **self.environment},
            cwd=self.folder,
            text=True,
            capture_output=True,
            check=False,
        )
        if process.returncode:
            raise ImportFailed((process.stderr.strip().splitlines() or [f"exit {process.returncode}"])[-1])
        return process
