"""vulkan-process-memory: what a process holds on a device, beside malloc's own books."""

import json

import pytest

from pannier.convert.byte_vocabulary import ByteVocabulary
from pannier.convert.random_dense import Qwen3Spec
from pannier.convert.random_gguf import write_header
from tests.conftest import run_python

CODE = """
import ctypes, json, sys
import pannier

class Books(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

def look():
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    books = None
    if mallinfo is not None:
        mallinfo.restype = Books
        books = mallinfo()
    device = pannier.devices()[0]
    return {
        "device": device.description,
        "process": device.process_bytes,
        "allocated": device.allocated_bytes,
        "malloc": books.uordblks + books.hblkhd if books else None,
    }

small, large = sys.argv[1:]
with pannier.Model(small, load_mode="none") as model, model.context(n_ctx=256, n_threads=1):
    before = look()
    with pannier.Model(large, load_mode="none") as other:
        during = look()
        during["weights"] = sum(tensor.bytes for tensor in other.tensors)
        during["on_device"] = sum(row.bytes for row in other.tensors if row.device != "CPU")
    after = look()
with pannier.Model(large, load_mode="none") as model:
    with model.context(n_ctx=4096, n_threads=1, n_ubatch=32) as context:
        batch = pannier.Batch()
        batch.add(0, [1, 2, 3])
        context.step(batch)
        ledger = context.memory().devices[0]
        after["owned"], after["process_bytes"] = ledger.owned_bytes, ledger.process_bytes
        after["pools"] = ledger.pool_bytes
print(json.dumps([before, during, after]))
"""


def header(path, n_ff):
    """A model of zeros."""
    sizes = {"n_embd": 1024, "n_layer": 2, "n_head": 4, "n_head_kv": 2, "head_dim": 256}
    vocabulary = ByteVocabulary((" a", " b", "cd"))
    return write_header(path, Qwen3Spec(name="m", n_ff=n_ff, vocabulary=vocabulary, **sizes))


@pytest.mark.vulkan
def test_the_count_is_what_malloc_gave(vulkan_engine, tmp_path):
    """A software driver has no memory of its own: it takes what it is asked for from malloc, as
    ggml does for the rest."""
    small, large = header(tmp_path / "s.gguf", 256), header(tmp_path / "l.gguf", 20000)
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    before, during, after = json.loads(
        run_python(vulkan_engine, CODE, str(small), str(large), env=env)
    )
    if "llvmpipe" not in before["device"] or before["malloc"] is None:
        pytest.skip("needs Mesa's software driver, and glibc's malloc to look into")
    assert before["process"] is None, "a software driver counts the whole machine"
    grown = during["allocated"] - before["allocated"]
    on_host = during["weights"] - during["on_device"]
    assert grown > 200 << 20
    assert grown == pytest.approx(during["on_device"], rel=0.001)
    assert during["malloc"] - before["malloc"] == pytest.approx(grown + on_host, rel=0.01)
    assert after["allocated"] == before["allocated"], "a closed model leaves bytes behind"
    assert after["owned"] == after["process_bytes"] > grown
    assert 0 < after["pools"] < 0.01 * after["owned"]
