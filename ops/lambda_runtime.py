"""What a function finds on Lambda beside its own package, as far as compiled code and wheels depend on it."""

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag

MACHINES = MappingProxyType({"x86_64": "x86_64", "arm64": "aarch64"})  # Lambda's word: that of wheels and ELF
ARCHITECTURES = tuple(MACHINES)

Version = tuple[int, ...]
# The newest symbol versions of the C libraries. Up to Python 3.11 the runtime is Amazon Linux 2 (glibc 2.26,
# GCC 7.3, zlib 1.2.7), from 3.12 on Amazon Linux 2023 (glibc 2.34, GCC 11, zlib 1.2.11):
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
# https://docs.aws.amazon.com/linux/al2023/ug/glibc-gcc-and-binutils.html
# What these compilers' libstdc++ has: https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html
AMAZON_LINUX_2 = MappingProxyType(
    {"GLIBC": (2, 26), "GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11), "GCC": (7, 3), "ZLIB": (1, 2, 7)}
)
AMAZON_LINUX_2023 = MappingProxyType(
    {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11,), "ZLIB": (1, 2, 11)}
)
# Symbol versions with a word for a number; both systems' libstdc++ has them.
WORDS = frozenset({"CXXABI_TM_1", "CXXABI_FLOAT128"})

# The C library's own files, the compiler's, and zlib: Lambda has it, but in the system's version
# (https://github.com/python-pillow/Pillow/issues/7648). Wheels may also expect X11, Expat and more of the
# system (PEP 600); nothing says that Lambda has those, so a package has to bring them.
LIBRARIES = frozenset(
    {
        "libanl.so.1",
        "libc.so.6",
        "libdl.so.2",
        "libgcc_s.so.1",
        "libm.so.6",
        "libpthread.so.0",
        "libresolv.so.2",
        "librt.so.1",
        "libstdc++.so.6",
        "libutil.so.1",
        "libz.so.1",
    }
)
LIBRARIES_OF = MappingProxyType(
    {
        "x86_64": LIBRARIES | {"ld-linux-x86-64.so.2", "libmvec.so.1"},
        "aarch64": LIBRARIES | {"ld-linux-aarch64.so.1"},  # libmvec came to it with glibc 2.38
    }
)
TASK_ROOT = "/var/task"
# LD_LIBRARY_PATH has both: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
LIBRARY_PATH = (TASK_ROOT, f"{TASK_ROOT}/lib")


@dataclass(frozen=True)
class Runtime:
    architecture: str
    python: tuple[int, int] = sys.version_info[:2]  # Chalice deploys to the Python that runs it

    @property
    def name(self) -> str:
        """As Lambda writes it."""
        return "python{}.{}".format(*self.python)

    @property
    def machine(self) -> str:
        return MACHINES[self.architecture]

    @property
    def is_here(self) -> bool:
        """Whether this machine can run what is made for Lambda."""
        here = (sys.platform, platform.machine(), sys.version_info[:2])
        return here == ("linux", self.machine, self.python)

    @property
    def newest(self) -> Mapping[str, Version]:
        """The newest version of each family of symbols."""
        return AMAZON_LINUX_2023 if self.python >= (3, 12) else AMAZON_LINUX_2

    @property
    def libraries(self) -> frozenset[str]:
        return LIBRARIES_OF[self.machine]

    @property
    def _abi(self) -> str:
        return "cp{}{}".format(*self.python)

    @property
    def extension(self) -> str:
        """How the name of an extension module ends that is for this Python alone."""
        return ".cpython-{}{}-{}-linux-gnu.so".format(*self.python, self.machine)

    @property
    def markers(self) -> dict[str, str]:
        """What a requirement's marker is about."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_version": "{}.{}".format(*self.python),
            "sys_platform": "linux",
        }

    @cached_property
    def _tags(self) -> frozenset[Tag]:
        _, minor = self.newest["GLIBC"]
        levels = (f"manylinux_2_{level}" for level in range(5, minor + 1))
        platforms = [
            f"{level}_{self.machine}" for level in (*levels, "manylinux1", "manylinux2010", "manylinux2014")
        ]
        return frozenset(
            (
                *cpython_tags(self.python, [self._abi], platforms),
                *compatible_tags(self.python, self._abi, platforms),
            )
        )

    def takes(self, tags: Iterable[str]) -> bool:
        """Whether a wheel of these tags is for this runtime."""
        return any(not self._tags.isdisjoint(parse_tag(tag)) for tag in tags)

    def __str__(self) -> str:
        glibc = ".".join(map(str, self.newest["GLIBC"]))
        return "Python {}.{} on {} (glibc {})".format(*self.python, self.architecture, glibc)


def default_architecture(python: tuple[int, int] = sys.version_info[:2]) -> str:
    """The cheaper arm64 where its wheels are to be had: many start at glibc 2.28, which Python 3.11 lacks."""
    return "arm64" if python >= (3, 12) else "x86_64"
