"""vulkan-layer-settings: the backend compiles with old headers and still finds its device."""

import re
from pathlib import Path

import pytest

from pannier.engine import source_tree
from pannier.engine.series import apply_patch, read_series
from tests.conftest import run_python

FILE = "ggml/src/ggml-vulkan/ggml-vulkan.cpp"
NEWER = re.compile(r"vk::LayerSetting\w*EXT")
MODEL = Path(__file__).parents[1] / "data" / "qwen35moe-rollback.gguf"

CODE = """
import sys
import numpy as np
import pannier

batch = pannier.Batch()
batch.add(0, list(range(39)))
batch.add(0, [39], logits=True)
rows = []
for n_gpu_layers in (0, 99):
    with pannier.Model(sys.argv[1], n_gpu_layers=n_gpu_layers, load_mode="none") as model:
        with model.context(n_ctx=256) as context:
            context.step(batch)
            rows.append(context.logits(39))
            devices = {row.device for row in context.memory().rows if row.kind == "weights"}
print(sorted(devices))
print(np.linalg.norm(rows[1] - rows[0]) / np.linalg.norm(rows[0]))
"""


def unguarded(code: str) -> list[str]:
    """Lines that name the extension's types outside `#ifdef VK_EXT_layer_settings`."""
    found, open_guards = [], []
    for line in code.splitlines():
        if re.match(r"#\s*if", line):
            open_guards.append(line.split()[-1])
        elif re.match(r"#\s*else", line):
            open_guards[-1] = "else of " + open_guards[-1]
        elif re.match(r"#\s*endif", line):
            open_guards.pop()
        elif NEWER.search(line) and "VK_EXT_layer_settings" not in open_guards:
            found.append(line.strip())
    return found


@pytest.mark.engine
def test_the_extension_is_named_inside_a_guard_only(tmp_path):
    stock = source_tree() / FILE
    assert unguarded(stock.read_text()), "llama.cpp guards it now: the patch can go"
    patch = next(patch for patch in read_series() if patch.slug == "vulkan-layer-settings")
    assert patch.touched == (FILE,)
    copy = tmp_path / FILE
    copy.parent.mkdir(parents=True)
    copy.write_text(stock.read_text())
    apply_patch(tmp_path, patch)
    assert not unguarded(copy.read_text())
    assert NEWER.search(copy.read_text()), "newer headers must still get the setting"


@pytest.mark.vulkan
def test_a_device_computes(vulkan_engine):
    environment = {"GGML_VK_VISIBLE_DEVICES": "0"}
    devices, error = run_python(vulkan_engine, CODE, str(MODEL), env=environment).splitlines()
    assert "Vulkan0" in devices
    assert float(error) < 1e-3
