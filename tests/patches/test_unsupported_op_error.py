"""unsupported-op-error: a cache that its device cannot work with is an error, not the end."""

import pytest

from pannier.convert.random_gguf import write_header
from pannier.synth.models import spec_of
from tests.conftest import run_python

CODE = """
import sys
import pannier

with pannier.Model(sys.argv[1], no_alloc=True) as model:
    before = model.plan(n_ctx=1024)
    try:
        model.plan(n_ctx=1 << 23)
    except pannier.ContextError as error:
        print(error)
    assert model.plan(n_ctx=1024) == before
"""


@pytest.mark.vulkan
def test_a_cache_beyond_the_device_s_buffers(vulkan_engine, tmp_path):
    path = write_header(tmp_path / "model.gguf", spec_of("nemotron-3-nano"))
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    assert "cannot run the operation" in run_python(vulkan_engine, CODE, str(path), env=env)
