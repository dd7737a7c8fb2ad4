import pytest
from packaging.markers import Marker

from ops.lambda_runtime import Runtime, default_architecture

X86_64 = Runtime("x86_64", (3, 11))
ARM64 = Runtime("arm64", (3, 11))
NEWER_ARM64 = Runtime("arm64", (3, 13))
ALL = [X86_64, ARM64, NEWER_ARM64]


def test_a_runtime_says_what_it_is() -> None:
    assert [str(runtime) for runtime in (X86_64, NEWER_ARM64)] == [
        "Python 3.11 on x86_64 (glibc 2.26)",
        "Python 3.13 on arm64 (glibc 2.34)",
    ]
    assert [runtime.name for runtime in (X86_64, NEWER_ARM64)] == ["python3.11", "python3.13"]


@pytest.mark.parametrize(
    ("tag", "runtimes"),
    [
        ("py3-none-any", ALL),
        ("py2.py3-none-any", ALL),
        ("py2-none-any", []),
        ("cp311-none-any", [X86_64, ARM64]),
        ("cp311-cp311-manylinux_2_17_x86_64", [X86_64]),
        ("cp311-cp311-manylinux2014_aarch64", [ARM64]),
        ("cp311-cp311-manylinux_2_26_x86_64", [X86_64]),
        ("cp311-cp311-manylinux_2_27_x86_64", []),
        ("cp313-cp313-manylinux_2_34_aarch64", [NEWER_ARM64]),
        ("cp313-cp313-manylinux_2_35_aarch64", []),
        ("cp39-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64", [ARM64, NEWER_ARM64]),
        ("cp313-cp313t-manylinux_2_17_aarch64", []),
        ("cp311-cp311-linux_x86_64", []),
        ("cp311-cp311-musllinux_1_2_x86_64", []),
        ("cp311-cp311-macosx_11_0_arm64", []),
    ],
)
def test_a_wheel_is_taken_by_the_runtimes_that_can_run_it(tag: str, runtimes: list[Runtime]) -> None:
    assert [runtime for runtime in ALL if runtime.takes([tag])] == runtimes


def test_of_several_tags_one_that_fits_is_enough() -> None:
    assert X86_64.takes(["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_17_x86_64"])
    assert not X86_64.takes([])


@pytest.mark.parametrize(
    ("marker", "runtimes"),
    [
        ("python_version < '3.12'", [X86_64, ARM64]),
        ("platform_machine == 'aarch64'", [ARM64, NEWER_ARM64]),
        ("sys_platform == 'linux' and platform_system == 'Linux' and os_name == 'posix'", ALL),
        ("implementation_name == 'cpython' and platform_python_implementation == 'CPython'", ALL),
        ("sys_platform == 'win32' or platform_machine == 'AMD64'", []),
    ],
)
def test_a_marker_is_about_lambda_and_not_this_machine(marker: str, runtimes: list[Runtime]) -> None:
    assert [runtime for runtime in ALL if Marker(marker).evaluate(runtime.markers)] == runtimes


def test_arm64_is_for_the_pythons_that_have_its_wheels() -> None:
    assert [default_architecture(python) for python in ((3, 11), (3, 12), (3, 14))] == [
        "x86_64",
        "arm64",
        "arm64",
    ]
