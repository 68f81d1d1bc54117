"""Puts the program `anytime-verifier` into the wheel, and names the platforms that it runs on.

The program is given by ANYTIME_VERIFIER_PROGRAM; `make wheel-verifier` builds it. Its C library is that of the machine on
which it was built, so the tag of the wheel has the newest version of glibc that the program asks for.
"""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "ANYTIME_VERIFIER_PROGRAM"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before a build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the program and the tag."""
        program = Path(os.environ.get(VARIABLE, ""))
        if not program.is_file():
            raise FileNotFoundError(f"{VARIABLE} is `{program}`, which is no program; `make wheel-verifier` sets it")
        build_data["force_include"][str(program.resolve())] = "anytime_verifier/bin/anytime-verifier"
        licence = Path(self.root).parent.parent / "LICENSE"
        build_data["force_include"][str(licence)] = "anytime_verifier/LICENSE"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_of(program)}"


def platform_of(program: Path) -> str:
    """The platform tag of a program that was built on this machine."""
    platform = re.sub(r"[^a-z0-9]", "_", sysconfig.get_platform().lower())
    versions = [int(found) for found in re.findall(rb"GLIBC_2\.(\d+)", program.read_bytes())]
    if not platform.startswith("linux_") or not versions:
        return platform
    return f"manylinux_2_{max(versions)}_{platform.removeprefix('linux_')}"
