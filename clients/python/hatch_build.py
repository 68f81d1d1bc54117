"""Makes `anytime_client.v1` of the proto files while the wheel is built.

The messages are not checked in: proto/ is the one place where they are written, so they cannot lag behind, and nobody
reviews generated code. They are made in a temporary directory and go from there into the wheel, so that a build leaves
nothing in the sources. A source distribution carries the proto files with it.

protoc writes `from anytime.v1 import …`. That would make a package `anytime` beside `anytime_client`; the imports are
rewritten to `anytime_client.v1`.
"""

from __future__ import annotations

import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "anytime_client.v1"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before and after a build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the generated package, or the proto files to a source distribution."""
        protos = self._protos()
        if self.target_name == "sdist":
            build_data["force_include"][str(protos / "anytime")] = "proto/anytime"
            return
        self._scratch = tempfile.TemporaryDirectory()
        package = generate(protos, Path(self._scratch.name))
        build_data["force_include"][str(package)] = PACKAGE.replace(".", "/")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was generated."""
        if self.target_name != "sdist":
            self._scratch.cleanup()

    def _protos(self) -> Path:
        root = Path(self.root)
        for directory in (root / "proto", root.parent.parent / "proto"):
            if (directory / "anytime" / "v1").is_dir():
                return directory
        raise FileNotFoundError(f"there is no proto/anytime/v1 in {root} or above it")


def generate(protos: Path, scratch: Path) -> Path:
    """Runs protoc on all proto files, and returns the directory of the package that it made."""
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    files = sorted(path.relative_to(protos).as_posix() for path in (protos / "anytime" / "v1").glob("*.proto"))
    known = resources.files("grpc_tools") / "_proto"
    descriptors = scratch / "descriptors.bin"
    arguments = [
        f"-I{protos}",
        f"-I{known}",
        f"--python_out={scratch}",
        f"--pyi_out={scratch}",
        f"--descriptor_set_out={descriptors}",
        *files,
    ]
    if protoc.main(["protoc", *arguments]) != 0:
        raise RuntimeError("protoc refused the proto files")
    package = scratch / "anytime" / "v1"
    for path in sorted(package.iterdir()):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"^from anytime\.v1 import", f"from {PACKAGE} import", text, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")
    described = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    lines = ['"""All messages and enumerations of `anytime.v1`; proto/ documents them."""', ""]
    for file in described.file:
        module = Path(file.name).stem
        names = [message.name for message in file.message_type]
        for kind in file.enum_type:
            names += [kind.name, *(value.name for value in kind.value)]
        lines += [f"from {PACKAGE}.{module}_pb2 import {name} as {name}" for name in names]
    (package / "__init__.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return package
