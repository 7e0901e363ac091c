"""The GPU engine, or a word on what is missing for one."""

import json
import os
from pathlib import Path

import pytest

from pannier.engine import BuildOptions, ensure_engine
from pannier.engine.devices import nvidia_card

from ..conftest import engine_or_skip, run_python

DATA = Path(__file__).parents[1] / "data"
PROBES = (Path(__file__).parent / "probes.py").read_text()
DEVICE = {"GGML_VK_VISIBLE_DEVICES": "0"}  # a software driver, when Vulkan stands in


@pytest.fixture(scope="session")
def backend():
    """cuda, unless PANNIER_GPU_BACKEND names a stand-in for a machine without a card."""
    name = os.environ.get("PANNIER_GPU_BACKEND", "cuda")
    if name == "cuda" and nvidia_card() is None:
        pytest.skip("no NVIDIA card in this machine")
    return name


@pytest.fixture(scope="session")
def gpu_engine(backend):
    """The engine that PANNIER_ENGINE names, else the plain one of the backend."""
    if "PANNIER_ENGINE" in os.environ:
        engine = ensure_engine()
        assert engine.backends[0] == backend
        return engine
    return engine_or_skip(BuildOptions(backend=backend))


@pytest.fixture
def flash_attention(backend):
    """Skips where flash attention beside experts takes the process down: in the driver."""
    if backend == "vulkan":
        pytest.skip("Mesa's software Vulkan driver crashes in flash attention beside experts")


@pytest.fixture
def probe(gpu_engine, request):
    """Run a function of probes.py in the engine; its figures go into the test report."""

    def run(name, env=None, needs_gpu=False, **arguments):
        out = run_python(
            gpu_engine, PROBES, name, json.dumps(arguments), env={**DEVICE, **(env or {})}
        )
        result = json.loads(out.splitlines()[-1])
        # What record_property does, without its warning for reports that have no room for it.
        figures = (f"{name} {json.dumps(arguments)}", json.dumps(result))
        request.node.user_properties.append(figures)
        if not result["gpus"] and (needs_gpu or gpu_engine.backends[0] != "cpu"):
            assert gpu_engine.backends[0] != "cuda", "the CUDA engine sees no device"
            pytest.skip(f"the engine {gpu_engine.name} has no GPU")
        return result

    return run
