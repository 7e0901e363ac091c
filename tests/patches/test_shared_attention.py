"""cpu-shared-attention and attention-bound: sequences in one cache cost less, and nothing else."""

import os
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest

from pannier.convert.byte_vocabulary import N_FIXED, ByteVocabulary, made_up_words
from pannier.convert.random_dense import Gemma3Spec, Qwen3Spec
from pannier.convert.random_gguf import Qwen3NextSpec, write_random
from pannier.engine import source_tree
from tests.patches.conftest import HERE

pytestmark = pytest.mark.engine

N_PROMPT, N_SEQ, N_STEPS = 700, 4, 64
VOCABULARY = ByteVocabulary(tuple(made_up_words(512 - N_FIXED)))
SIZES = {"n_embd": 64, "n_head": 4, "n_head_kv": 2, "head_dim": 32}
SPECS = {
    "qwen3": Qwen3Spec(
        name="test", n_layer=2, n_ff=64, vocabulary=VOCABULARY, type="F32", **SIZES
    ),
    "gemma3": Gemma3Spec(
        name="test", n_layer=6, n_ff=64, n_swa=128, vocabulary=VOCABULARY, type="F32", **SIZES
    ),
    "qwen3next": Qwen3NextSpec(
        name="test", n_layer=4, ssm_head_dim=16, ssm_k_heads=1, ssm_v_heads=2, n_expert=4,
        n_expert_used=2, n_ff_exp=32, vocabulary=VOCABULARY, type="F32", **SIZES,
    ),
}  # fmt: skip


@dataclass
class Run:
    """Logits in the order decoded, rows of the vocabulary's size, and what was printed."""

    logits: np.ndarray
    printed: list[str]

    @property
    def bounds(self):
        """Least and greatest bound of every decode, and the cells that it spans."""
        return [tuple(map(int, line.split()[1:])) for line in self.printed if "bound" in line]

    @property
    def n_reused(self):
        """Steps whose graph was that of the step before."""
        return next(int(line.split()[1]) for line in self.printed if line.startswith("reused"))

    def of(self, place, n_seq):
        """The rows of the sequence in this place among n_seq, without the last row."""
        steps = self.logits[n_seq:-1].reshape(N_STEPS, n_seq, -1)
        return np.concatenate([self.logits[place : place + 1], steps[:, place]])


def distance(one, other):
    """Between logits, over the length of the second."""
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.fixture(scope="module", params=SPECS)
def model(request, tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("model") / "m.gguf", SPECS[request.param])


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Runs the driver, built once for each engine."""
    programs = {}

    def build(engine):
        program = tmp_path_factory.mktemp("attention") / "attention"
        library = engine.directory / "lib"
        parts = ("include", "ggml/include")
        flags = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror")
        includes = [f"-I{source_tree() / part}" for part in parts]
        link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lllama", "-lggml", "-lggml-base"]
        compiler = os.environ.get("CXX", "c++")
        command = [compiler, *flags, *includes, HERE / "attention.cpp", "-o", program, *link]
        subprocess.run(command, check=True)
        return program

    def run(engine, model, first=0, last=N_SEQ, n_threads=1, env=None):
        if engine.name not in programs:
            programs[engine.name] = build(engine)
        out = tmp_path_factory.mktemp("logits") / "logits"
        numbers = (n_threads, N_PROMPT, first, last, N_STEPS)
        done = subprocess.run(
            [programs[engine.name], model, out, *map(str, numbers)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
            env={**os.environ, **(env or {})},
        )
        logits = np.fromfile(out, np.float32).reshape(-1, len(VOCABULARY))
        return Run(logits, done.stdout.splitlines())

    return run


@pytest.mark.parametrize("n_threads", [1, 2])
def test_logits_are_those_of_an_unpatched_engine(
    cpu_engine, unpatched_engine, play, model, n_threads
):
    patched = play(cpu_engine, model, n_threads=n_threads)
    stock = play(unpatched_engine, model, n_threads=n_threads)
    np.testing.assert_array_equal(patched.logits[:-1], stock.logits[:-1])
    # threads share out the one query that ends a run differently, and ggml adds values up in F16
    limit = 0 if n_threads == 1 else 0.005
    assert distance(patched.logits[-1], stock.logits[-1]) <= limit


def test_neighbours_in_the_cache_change_nothing(cpu_engine, play, model):
    together = play(cpu_engine, model)
    for seq in range(N_SEQ):
        alone = play(cpu_engine, model, seq, seq + 1)
        assert distance(together.of(seq, N_SEQ), alone.of(0, 1)) <= 0.001


def test_graphs_are_used_again(cpu_engine, play, model):
    assert play(cpu_engine, model).n_reused >= 0.9 * N_STEPS


def test_the_bound_holds_and_is_left_out_where_it_would_not_pay(cpu_engine, play, model):
    bounds = play(cpu_engine, model).bounds
    assert len(bounds) == N_SEQ + N_STEPS + 1
    for _, most, n_kv in bounds[:2]:
        assert most == 0, f"a bound in a cache of {n_kv} cells, of which a sequence has {N_PROMPT}"
    for least, most, n_kv in bounds[N_SEQ:]:
        assert n_kv >= N_SEQ * N_PROMPT or least == 0  # a cache of windows forgets
        assert most == 1024, f"{N_PROMPT} to {N_PROMPT + N_STEPS} cells of {n_kv}"


def test_no_bound_without_the_patch(unpatched_engine, play, model):
    assert {most for _, most, _ in play(unpatched_engine, model).bounds} == {0}
