"""Our own kernels make the bytes of ggml's, whatever the values."""

import ctypes
from pathlib import Path

import gguf
import numpy as np
import pytest

from ..conftest import run_python

TYPES = ("Q4_K", "Q5_K", "Q6_K")
SUB = 16
"""Values that share a scale in Q6_K; in Q4_K and Q5_K two such runs do."""


def tiny_to_huge(low, high):
    """Runs of normal values, each of a magnitude of its own."""

    def make(rng, n):
        magnitudes = 10.0 ** rng.uniform(low, high, n // SUB)
        return rng.standard_normal(n) * magnitudes.repeat(SUB)

    return make


def some_runs(value):
    """Normal values; every second run is `value` of a random sign throughout."""

    def make(rng, n):
        values = rng.standard_normal((n // SUB, SUB))
        chosen = rng.random(len(values)) < 0.5
        values[chosen] = value * rng.choice([-1, 1], (chosen.sum(), 1))
        return values.ravel()

    return make


def outlier(rng, n):
    values = rng.standard_normal(n)
    values[77::256] = -1e4
    return values


def any_bits(rng, n):
    values = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    return np.where(np.abs(values) < 3e6, values, -0.0)  # others are refused


VALUES = {
    "normal": lambda rng, n: rng.standard_normal(n) * 0.02,
    "heavy tails": lambda rng, n: rng.standard_cauchy(n).clip(-1e6, 1e6),
    "zeros": lambda rng, n: np.zeros(n),
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0, 1.0], n),
    "runs of zeros": some_runs(0.0),
    "runs of a constant": some_runs(0.7),
    "denormal": lambda rng, n: rng.standard_normal(n) * 1e-41,
    "taken for zeros": lambda rng, n: rng.standard_normal(n) * 1e-15,
    "negative": lambda rng, n: -np.abs(rng.standard_normal(n)),
    "far below zero": lambda rng, n: rng.standard_normal(n) - 100,
    "far above zero": lambda rng, n: rng.standard_normal(n) + 100,
    "many magnitudes": tiny_to_huge(-30, 6),
    "small magnitudes": tiny_to_huge(-45, -15),
    "large": lambda rng, n: rng.uniform(-3e6, 3e6, n),
    "an outlier": outlier,
    "integers": lambda rng, n: rng.integers(-32, 32, n),
    "two values": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "any bits": any_bits,
}
SHAPES = [(1, 256), (3, 256), (7, 512), (2, 2304), (65, 768)]


@pytest.fixture(scope="module")
def ggml(pannier):
    """ggml itself, which the engine of this process has loaded."""
    from pannier import _ffi

    base = _ffi.library().path.with_name("libggml-base.so")
    if not base.exists():
        pytest.skip(f"no {base.name} beside the engine's library")
    library = ctypes.CDLL(str(base))
    pointer, int64 = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, *[int64] * 3, pointer]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def reference(ggml, values, type, row_bytes, imatrix=None):
    """ggml's bytes of a matrix."""
    target = np.zeros((len(values), row_bytes), dtype=np.uint8)
    size = ggml.ggml_quantize_chunk(
        gguf.GGMLQuantizationType[type],
        values.ctypes.data,
        target.ctypes.data,
        0,
        *values.shape,
        None if imatrix is None else imatrix.ctypes.data,
    )
    assert size == target.size
    return target


def matrix(kind, shape, seed=0):
    rng = np.random.default_rng(seed)
    values = VALUES[kind](rng, shape[0] * shape[1])
    return np.asarray(values, dtype=np.float32).reshape(shape)


@pytest.mark.engine
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("kind", VALUES)
def test_bytes_are_ggmls(pannier, ggml, kind, type):
    from pannier import quantize

    for shape in SHAPES:
        values = matrix(kind, shape)
        expected = reference(ggml, values, type, quantize.row_bytes(type, shape[1]))
        for n_threads in (1, 2):
            data, n_bad = quantize.quantize(values, type, n_threads=n_threads)
            assert n_bad == 0
            assert np.array_equal(data, expected), (shape, n_threads)


@pytest.mark.engine
@pytest.mark.parametrize("type", TYPES)
def test_an_importance_matrix_counts(pannier, ggml, type):
    from pannier import quantize

    values = matrix("normal", (9, 512))
    imatrix = np.abs(matrix("heavy tails", (1, 512)))[0]
    data, _ = quantize.quantize(values, type, imatrix=imatrix)
    expected = reference(ggml, values, type, quantize.row_bytes(type, 512), imatrix)
    assert np.array_equal(data, expected)
    assert not np.array_equal(data, quantize.quantize(values, type)[0])


QUANTIZE = """
import sys
import numpy as np
from pannier import quantize
for path in sys.argv[1:]:
    with np.load(path) as matrices:
        data = {
            f"{type} {kind}": quantize.quantize(values, type)[0]
            for kind, values in matrices.items() for type in ("Q4_K", "Q5_K", "Q6_K")
        }
    np.savez(path, **data)
"""


def processor_features():
    path = Path("/proc/cpuinfo")
    return set(path.read_text().split()) if path.exists() else set()


@pytest.mark.engine
@pytest.mark.parametrize(("kernels", "feature"), [("avx2", "avx2"), ("avx512", "avx512f")])
def test_each_kernel(cpu_engine, tmp_path, kernels, feature):
    """Kernels that are named and do not run, or not as ggml's, are an error."""
    if feature not in processor_features():
        pytest.skip(f"no {feature} on this processor")
    results = {}
    for name in (kernels, "ggml"):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{kind: matrix(kind, (5, 1280)) for kind in VALUES})
        run_python(cpu_engine, QUANTIZE, str(path), env={"PANNIER_QUANT_KERNELS": name})
        with np.load(path) as data:
            results[name] = dict(data)
    assert len(results["ggml"]) == len(TYPES) * len(VALUES)
    for key, expected in results["ggml"].items():
        assert np.array_equal(results[kernels][key], expected), key


@pytest.mark.engine
def test_kernels_that_are_not_there(cpu_engine):
    code = """
import numpy as np
from pannier import errors, quantize
try:
    quantize.quantize(np.ones((1, 256), dtype=np.float32), "Q4_K")
except errors.ArgumentError as error:
    print(error)
"""
    said = run_python(cpu_engine, code, env={"PANNIER_QUANT_KERNELS": "sse9"})
    assert "PANNIER_QUANT_KERNELS is 'sse9'" in said
