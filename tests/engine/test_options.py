"""The choices about an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pannier.engine import BuildOptions


def test_a_manifest_keeps_all_but_the_number_of_jobs() -> None:
    options = BuildOptions(
        backend="cuda",
        rpc=True,
        unpatched=True,
        bench_patches=("slower",),
        sanitize=("address",),
        tools=True,
        cuda_architectures=("90-real",),
        source=Path("/src"),
        definitions=(("GGML_LTO", "ON"),),
    )
    assert BuildOptions.from_dict(options.as_dict()) == options


@pytest.mark.parametrize(
    "wrong", [{"backend": "opencl"}, {"sanitize": ("thread",)}, {"backend": ""}]
)
def test_a_name_that_does_not_exist_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="choose from"):
        BuildOptions(**wrong)
