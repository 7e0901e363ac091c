"""LoRA adapters: a model with one computes what a model with its weights merged does."""

import numpy as np
import pytest

from pannier.modelfile.adapter import open_adapter_file

from ..edited_gguf import Lora
from .conftest import DATA

PROMPT = list(range(40, 60))
EXACT = {"type_k": "f32", "type_v": "f32", "flash_attn": "off", "n_ctx": 256, "n_threads": 1}


def path_of(name):
    return DATA / name / "model-f32.gguf"


def logits(context, seq=0):
    import pannier

    batch = pannier.Batch()
    batch.add(seq, PROMPT[:-1])
    batch.add(seq, PROMPT[-1:], logits=True)
    context.sequence(seq).clear()
    context.step(batch)
    return context.logits(len(PROMPT) - 1)


def logits_of(pannier, path):
    with pannier.Model(path) as model, model.context(**EXACT) as context:
        return logits(context)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("llama", ("attn_q.", "attn_v.", "attn_output", "ffn_down")),
        ("gemma3", ("attn_k.", "ffn_up", "ffn_gate")),
        ("qwen3moe", ("attn_q.", "exps", "ffn_gate_inp", "output.weight")),
        ("qwen3moe", ("token_embd",)),
        ("qwen3next", ("attn_qkv", "ssm_out", "exps", "shexp")),
    ],
)
@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_logits_are_those_of_merged_weights(pannier, tmp_path, name, parts, scale):
    lora = Lora(path_of(name), *parts)
    file = lora.write(tmp_path / "lora.gguf")
    plain = logits_of(pannier, path_of(name))
    merged = logits_of(pannier, lora.merge(tmp_path / "merged.gguf", scale))
    with pannier.Model(path_of(name)) as model, model.context(**EXACT) as context:
        adapter = model.add_adapter(file)
        assert (adapter.id, adapter.file.rank) == (0, 2)
        assert np.array_equal(logits(context), plain)
        context.set_adapters({adapter.id: scale})
        assert np.abs(logits(context) - merged).max() < 1e-3
        context.set_adapters({adapter.id: 0.0})
        assert np.abs(logits(context) - plain).max() < 1e-5
    assert np.abs(merged - plain).max() > 0.05


def test_several(pannier, tmp_path):
    first = Lora(path_of("llama"), "attn_q.", seed=1)
    second = Lora(path_of("llama"), "ffn_up", rank=3, seed=2)
    files = [first.write(tmp_path / "1.gguf"), second.write(tmp_path / "2.gguf")]
    alone = [logits_of(pannier, one.merge(tmp_path / "m.gguf")) for one in (first, second)]
    second.model = first.merge(tmp_path / "first.gguf")
    both = logits_of(pannier, second.merge(tmp_path / "both.gguf"))
    with pannier.Model(path_of("llama")) as model, model.context(**EXACT) as context:
        ids = [model.add_adapter(file).id for file in files]
        for scales, expected in (({0: 1}, alone[0]), ({1: 1}, alone[1]), ({0: 1, 1: 1}, both)):
            context.set_adapters(scales)
            assert np.abs(logits(context) - expected).max() < 1e-3
    assert ids == [0, 1]


def test_embeddings(pannier, tmp_path):
    lora = Lora(path_of("llama"), "attn_v.")
    file = lora.write(tmp_path / "lora.gguf")
    options = {**EXACT, "embeddings": True, "pooling": "mean"}
    with (
        pannier.Model(lora.merge(tmp_path / "merged.gguf")) as model,
        model.context(**options) as context,
    ):
        merged = context.embed([PROMPT])
    with pannier.Model(path_of("llama")) as model, model.context(**options) as context:
        plain = context.embed([PROMPT])
        context.set_adapters({model.add_adapter(file).id: 1.0})
        rows = context.embed([PROMPT])
    assert np.abs(rows - merged).max() < 1e-3
    assert np.abs(rows - plain).max() > 0.01


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({1: 1.0}, "there is no adapter 1: this model has 1"),
        ({-1: 1.0}, "there is no adapter -1"),
        ({0: float("nan")}, "the scale of adapter 0 is nan"),
        ({0: float("inf")}, "the scale of adapter 0 is inf"),
        ({2**40: 1.0}, "32-bit"),
    ],
)
def test_wrong_scales(pannier, tmp_path, scales, message):
    file = Lora(path_of("llama"), "attn_q.").write(tmp_path / "lora.gguf")
    with pannier.Model(path_of("llama")) as model, model.context(**EXACT) as context:
        model.add_adapter(file)
        with pytest.raises(pannier.ArgumentError, match=message):
            context.set_adapters(scales)


def test_a_model_without_weights_takes_none(pannier, tmp_path):
    file = Lora(path_of("llama"), "attn_q.").write(tmp_path / "lora.gguf")
    with (
        pannier.Model(path_of("llama"), vocab_only=True) as model,
        pytest.raises(pannier.ModelError, match="without its weights"),
    ):
        model.add_adapter(file)


def test_closed(pannier, tmp_path):
    file = Lora(path_of("llama"), "attn_q.").write(tmp_path / "lora.gguf")
    model = pannier.Model(path_of("llama"))
    context = model.context(**EXACT)
    adapter = model.add_adapter(file)
    context.set_adapters({adapter.id: 1.0})
    model.close()
    with pytest.raises(pannier.ClosedError):
        context.set_adapters({})
    with pytest.raises(pannier.ClosedError):
        model.add_adapter(file)


def test_what_is_accepted_can_be_loaded(pannier, tmp_path):
    """Types and keys at the border of what the validator lets through."""
    from pannier.modelfile import open_model_file

    lora = Lora(path_of("llama"), "ffn_down", rank=32)
    for dtype in (np.float32, np.float16):
        lora.a = {name: data.astype(dtype) for name, data in lora.a.items()}
        for keys in ({"adapter.lora.alpha": None}, {"adapter.lora.task_name": "sums"}):
            file = lora.write(tmp_path / "lora.gguf", keys)
            open_adapter_file(file, open_model_file(lora.model))
            with pannier.Model(lora.model) as model, model.context(**EXACT) as context:
                context.set_adapters({model.add_adapter(file).id: 1.0})
                assert np.isfinite(logits(context)).all()
