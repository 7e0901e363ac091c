"""expert-read-ahead: of a model larger than memory, what a token uses is read, and ahead of it."""

import json
import os
import sys

import pytest

from pannier.convert.byte_vocabulary import vocabulary_of
from pannier.convert.random_gguf import Qwen3NextSpec, write_random
from tests.conftest import run_python

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform != "linux", reason="the page cache is asked Linux's way"),
]

N_LAYERS, N_EXPERTS, N_USED = 4, 32, 4

# Fractions of each expert matrix that the page cache has, by expert, when the model is loaded and
# after a token; how often the token waited for a page that nobody had asked for.
CODE = """
import ctypes, json, mmap, re, resource, sys

import numpy as np
import pannier
from pannier import load_paging
from pannier.modelfile import open_model_file

path, room, n_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if room:
    load_paging.available_memory = lambda: room
page = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)


def resident():
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        n_pages = -(-len(view) // page)
        array = (ctypes.c_ubyte * n_pages)()
        bytes_of = np.frombuffer(view, np.uint8)
        address = ctypes.c_void_p(bytes_of.ctypes.data)
        assert libc.mincore(address, ctypes.c_size_t(len(view)), array) == 0
        pages = np.frombuffer(array, np.uint8) & 1
        rows = {}
        for tensor in open_model_file(path).tensors:
            # what follows the header, the kernel may have read with it
            if re.match(r"blk[.][23][.].*_exps", tensor.name):
                size = tensor.n_bytes // tensor.shape[-1]
                starts = tensor.offset + size * np.arange(tensor.shape[-1])
                inside = [pages[-(-start // page) : (start + size) // page] for start in starts]
                rows[tensor.name] = [float(one.mean()) for one in inside]
        del bytes_of
    return rows


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


with pannier.Model(path, repack=bool(room)) as model:
    found = {"paging": str(model.paging), "loaded": resident()}
    with model.context(n_ctx=256, n_parallel=1, n_threads=2) as context:
        batch = pannier.Batch()
        batch.add(0, list(range(300, 300 + n_tokens)))
        batch.add(0, [400], logits=True)
        before = faults()
        context.step(batch)
        found["faults"] = faults() - before
        found["used"] = resident()
        found["logits"] = context.logits(n_tokens).tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """52 MB of experts: 68 KiB for one of a matrix."""
    spec = Qwen3NextSpec(
        name="pages",
        n_embd=256,
        n_layer=N_LAYERS,
        n_head=2,
        n_head_kv=1,
        head_dim=64,
        ssm_head_dim=32,
        ssm_k_heads=2,
        ssm_v_heads=4,
        n_expert=N_EXPERTS,
        n_expert_used=N_USED,
        n_ff_exp=512,
        vocabulary=vocabulary_of(1024),
        tied=True,
        type="Q8_0",
    )
    return write_random(tmp_path_factory.mktemp("pages") / "model.gguf", spec)


def run(engine, model, room, n_tokens=0):
    """With the file on the disk only."""
    with model.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return json.loads(run_python(engine, CODE, str(model), str(room), str(n_tokens)))


@pytest.fixture(scope="module")
def room(model):
    """Less than the model takes."""
    return model.stat().st_size // 2


def mean(rows):
    values = [value for row in rows.values() for value in row]
    return sum(values) / len(values)


def n_whole(row):
    return sum(value == 1 for value in row)


def test_a_model_that_fits_is_read_when_it_is_loaded(cpu_engine, model):
    found = run(cpu_engine, model, 0)
    assert found["paging"] == "None"
    assert mean(found["loaded"]) == 1


def test_a_model_that_does_not_fit_is_not(cpu_engine, model, room):
    found = run(cpu_engine, model, room)
    assert "more than there is room for" in found["paging"]
    assert mean(found["loaded"]) < 0.1


def test_a_token_reads_its_experts_whole_and_no_others(cpu_engine, model, room):
    found = run(cpu_engine, model, room)
    for name, row in found["used"].items():
        assert n_whole(row) == N_USED, name
        assert sum(row) < N_USED + 1, name


def test_nothing_waits_for_pages_that_nobody_asked_for(cpu_engine, model, room):
    found = run(cpu_engine, model, room)
    n_pages = 3 * N_USED * (512 * 256 * 34 // 32) // 4096
    assert found["faults"] < n_pages // 8


def test_logits_are_those_of_the_model_in_memory(cpu_engine, model, room):
    ahead, plain = (run(cpu_engine, model, one, n_tokens=40)["logits"] for one in (room, 0))
    assert ahead == pytest.approx(plain, abs=1e-3)
