"""Types and bytes are those of llama-quantize, and nothing that is wrong reaches an assertion."""

import random
import re
import subprocess

import gguf
import numpy as np
import pytest

from pannier.errors import ArgumentError

from .conftest import DATA

N_LAYER = 10
RECIPES = [
    ftype
    for ftype in gguf.LlamaFileType
    if ftype.name not in ("GUESSED", "MOSTLY_NVFP4")  # llama.cpp has no recipes of these names
]
Q4_K_M = gguf.LlamaFileType.MOSTLY_Q4_K_M
# architecture, experts, KV heads: recipes look at each
MODELS = {
    "llama": ("llama", 0, 4),
    "grouped": ("llama", 0, 1),
    "8 experts": ("qwen3moe", 8, 2),
    "6 experts": ("qwen3moe", 6, 1),
    "falcon": ("falcon", 0, 1),
}
NEED_IMATRIX = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")


@pytest.fixture(scope="module")
def quant(pannier):
    from pannier import quantize

    return quantize


def shapes(n_expert, *, odd_rows=True):
    """Tensors of every kind that recipes tell apart, in ggml's order of dimensions."""
    experts = (n_expert,) if n_expert else ()
    suffix = "_exps.weight" if n_expert else ".weight"
    result = {"token_embd.weight": (256, 8), "output_norm.weight": (256,)}
    for layer in range(N_LAYER):
        # rows for which recipes fall back to blocks of 32, and to none at all
        n_down = {3: 96, 4: 48}.get(layer, 256) if odd_rows else 256
        block = {
            "attn_norm.weight": (256,),
            "attn_q.weight": (256, 4),
            "attn_k.weight": (256, 2),
            "attn_v.weight": (256, 2),
            "attn_qkv.weight": (256, 4),
            "attn_output.weight": (512, 2),
            "ffn_gate_inp.weight": (256, 8),
            f"ffn_gate{suffix}": (256, 3, *experts),
            f"ffn_up{suffix}": (256, 2, *experts),
            f"ffn_down{suffix}": (n_down, 2, *experts),
        }
        result |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return result | {"output.weight": (256, 8)}


def write_model(path, architecture, n_expert, n_head_kv, tensors, n_layer=N_LAYER):
    """A file that llama-quantize takes: it reads metadata and tensors, and runs nothing."""
    sizes = {
        "context_length": 512,
        "embedding_length": 256,
        "block_count": n_layer,
        "feed_forward_length": 256,
        "attention.head_count": 4,
        "attention.head_count_kv": n_head_kv,
        "expert_count": n_expert,
        "expert_used_count": min(n_expert, 2),
    }
    values = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in sizes.items():
        writer.add_uint32(f"{architecture}.{key}", value)
    for key in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        writer.add_float32(f"{architecture}.attention.{key}", 1e-6)
    for name, shape in tensors.items():
        writer.add_tensor(name, values.standard_normal(shape[::-1], dtype=np.float32))
    return finish(writer, path)


def write_imatrix(path, tensors):
    """A file as of llama-imatrix; the importance of each column, as llama-quantize reads it."""
    values = np.random.default_rng(2)
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["none"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    imatrix = {}
    for name, shape in tensors.items():
        if len(shape) == 1 or name in ("token_embd.weight", "output.weight"):
            continue  # llama-imatrix has none of these
        n_expert = shape[2] if len(shape) == 3 else 1
        sums = np.abs(values.standard_normal((n_expert, shape[0]), dtype=np.float32))
        counts = np.arange(1, n_expert + 1, dtype=np.float32)[:, None]
        imatrix[name] = sums / counts
        writer.add_tensor(f"{name}.in_sum2", sums)
        writer.add_tensor(f"{name}.counts", counts)
    finish(writer, path)
    return imatrix


def finish(writer, path):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quant_model(quant, architecture, n_expert, n_head_kv, n_layer=N_LAYER):
    return quant.QuantModel(
        architecture=architecture,
        n_layer=n_layer,
        n_embd=256,
        n_ff=256,
        n_head=4,
        n_head_kv=n_head_kv,
        n_expert=n_expert,
        n_embd_head_k=64,
        n_embd_head_v=64,
    )


def described(quant, tensors):
    """The tensors in an order that is not llama-quantize's."""
    rows = [quant.QuantTensor(name, tuple(map(int, shape))) for name, shape in tensors.items()]
    random.Random(0).shuffle(rows)
    return rows


def choose(quant, model, tensors, ftype, **options):
    """The choices by name."""
    rows = described(quant, tensors)
    choices = quant.choose_types(model, rows, ftype, **options)
    return {row.name: choice for row, choice in zip(rows, choices, strict=True)}


def run_tool(engine, *arguments):
    """llama-quantize on one thread: its status and what it said."""
    result = subprocess.run(
        [engine.tools / "llama-quantize", *map(str, arguments), "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode in (0, 1), result.stderr  # a signal would be an assertion of theirs
    return result.returncode, result.stdout + result.stderr


def planned(text, tensors):
    """The types that a dry run names. A tensor that it leaves alone has no arrow."""
    types = dict.fromkeys(tensors, "F32")
    types |= re.findall(r"\] +(\S+) +- .* -> +[\d.]+ MiB \((\w+)\)", text)
    return {name: type.upper() for name, type in types.items()}


@pytest.mark.engine
@pytest.mark.parametrize("with_imatrix", [False, True], ids=["", "imatrix"])
@pytest.mark.parametrize("kind", MODELS)
def test_types_of_every_recipe(quant, tools_engine, tmp_path, kind, with_imatrix):
    architecture, n_expert, n_head_kv = MODELS[kind]
    tensors = shapes(n_expert)
    path = write_model(tmp_path / "model.gguf", architecture, n_expert, n_head_kv, tensors)
    model = quant_model(quant, architecture, n_expert, n_head_kv)
    write_imatrix(tmp_path / "imatrix.gguf", tensors)
    options = ["--imatrix", tmp_path / "imatrix.gguf"] if with_imatrix else []
    for ftype in RECIPES:
        status, text = run_tool(tools_engine, "--dry-run", *options, path, int(ftype))
        if status:
            assert "no tensor type fallback" in text
            with pytest.raises(ArgumentError, match="no tensor type fallback"):
                choose(quant, model, tensors, ftype, has_imatrix=with_imatrix)
            continue
        choices = choose(quant, model, tensors, ftype, has_imatrix=with_imatrix)
        assert {n: c.type for n, c in choices.items()} == planned(text, tensors), ftype.name
        if not with_imatrix:
            needed = "will require an imatrix" in text
            assert any(c.needs_imatrix for c in choices.values()) == needed, ftype.name


@pytest.mark.engine
@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"pure": True}, ["--pure"]),
        ({"output_type": "Q5_0"}, ["--output-tensor-type", "Q5_0"]),
        ({"token_embedding_type": "IQ4_NL"}, ["--token-embedding-type", "IQ4_NL"]),
        (
            {"overrides": [(r"blk\.[01]\.ffn_down", "BF16"), ("ffn_down", "q3_K")]},
            ["--tensor-type", r"blk\.[01]\.ffn_down=BF16", "--tensor-type", "ffn_down=q3_K"],
        ),
    ],
    ids=["pure", "output", "embeddings", "overrides"],
)
def test_options(quant, tools_engine, tmp_path, options, flags):
    tensors = shapes(8)
    path = write_model(tmp_path / "model.gguf", "qwen3moe", 8, 2, tensors)
    status, text = run_tool(tools_engine, "--dry-run", *flags, path, int(Q4_K_M))
    assert status == 0
    model = quant_model(quant, "qwen3moe", 8, 2)
    types = {n: c.type for n, c in choose(quant, model, tensors, Q4_K_M, **options).items()}
    assert types == planned(text, tensors)
    assert types != {n: c.type for n, c in choose(quant, model, tensors, Q4_K_M).items()}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("architecture", "n_layer"), [("llama", 80), ("qwen2", 80), ("qwen2", 64), ("jais2", 68)]
)
def test_models_that_llama_cpp_knows_by_their_layers(
    quant, tools_engine, tmp_path, architecture, n_layer
):
    ftype = gguf.LlamaFileType.MOSTLY_Q4_K_S  # not the first four layers' type, but for 70B
    tensors = {f"blk.{layer}.attn_v.weight": (256, 2) for layer in range(n_layer)}
    path = write_model(tmp_path / "model.gguf", architecture, 0, 1, tensors, n_layer)
    status, text = run_tool(tools_engine, "--dry-run", path, int(ftype))
    assert status == 0, text
    choices = choose(quant, quant_model(quant, architecture, 0, 1, n_layer), tensors, ftype)
    types = {name: choice.type for name, choice in choices.items()}
    assert types == planned(text, tensors)
    assert set(types.values()) == ({"Q5_K", "Q4_K"} if n_layer == 64 else {"Q5_K"})


def quantized(quant, tensor, type, imatrix):
    """The bytes of a tensor, expert by expert."""
    values = tensor.data.reshape(-1, *tensor.data.shape[-2:])
    slices = [None] * len(values) if imatrix is None else imatrix
    parts = [
        quant.quantize(matrix, type, imatrix=slice, n_threads=2)
        for matrix, slice in zip(values, slices, strict=True)
    ]
    assert not any(n_bad for _, n_bad in parts)
    return b"".join(part.tobytes() for part, _ in parts)


def compare_bytes(quant, source, target, imatrix):
    """Every tensor of `target` has the bytes that we make of `source`'s; its types."""
    sources = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    types = {}
    for tensor in gguf.GGUFReader(target).tensors:
        type = types[tensor.name] = tensor.tensor_type.name
        if type != "F32":
            data = quantized(quant, sources[tensor.name], type, imatrix.get(tensor.name))
            assert data == tensor.data.tobytes(), (tensor.name, type)
    return types


@pytest.mark.engine
@pytest.mark.parametrize("with_imatrix", [False, True], ids=["", "imatrix"])
def test_bytes_of_every_type(quant, tools_engine, tmp_path, with_imatrix):
    tensors = shapes(8, odd_rows=False)
    source = write_model(tmp_path / "model.gguf", "qwen3moe", 8, 2, tensors)
    imatrix = write_imatrix(tmp_path / "imatrix.gguf", tensors) if with_imatrix else {}
    wanted = set(quant.QUANT_TYPES) - {"F32", "Q2_0"}  # gguf cannot read Q2_0 yet
    wanted -= set() if with_imatrix else set(NEED_IMATRIX)
    flags = ["--imatrix", tmp_path / "imatrix.gguf"] if with_imatrix else []
    places = ("ffn_up_exps", "ffn_down_exps", "attn_q", "attn_output")
    for i, type in enumerate(sorted(wanted)):
        layer, place = divmod(i, len(places))
        flags += ["--tensor-type", rf"blk\.{layer}\.{places[place]}={type}"]
    target = tmp_path / "out.gguf"
    status, text = run_tool(tools_engine, *flags, source, target, int(Q4_K_M))
    assert status == 0, text
    assert wanted <= set(compare_bytes(quant, source, target, imatrix).values())


@pytest.mark.engine
@pytest.mark.parametrize("ftype", ["Q8_0", "Q3_K_M", "Q4_K_M", "IQ4_XS", "Q4_0", "BF16"])
def test_a_whole_model(quant, tools_engine, tmp_path, ftype):
    source = DATA / "qwen3next" / "model-f32.gguf"
    target = tmp_path / "out.gguf"
    status, text = run_tool(tools_engine, source, target, ftype)
    assert status == 0, text
    tensors = {tensor.name: tensor.shape for tensor in gguf.GGUFReader(source).tensors}
    model = quant.QuantModel("qwen3next", 4, 32, 32, 4, 2, 8, 16, 16)
    types = {
        name: choice.type
        for name, choice in choose(
            quant, model, tensors, gguf.LlamaFileType[f"MOSTLY_{ftype}"]
        ).items()
    }
    assert compare_bytes(quant, source, target, {}) == types


def random_matrix(n_rows, n_per_row, seed=0):
    return np.random.default_rng(seed).standard_normal((n_rows, n_per_row), dtype=np.float32)


@pytest.mark.engine
@pytest.mark.parametrize("type", ["F16", "Q4_0", "Q4_K", "IQ4_XS", "MXFP4"])
def test_threads_do_not_change_bytes(quant, type):
    values = random_matrix(331, 256)  # chunks of 64 rows, and a rest
    one, _ = quant.quantize(values, type, n_threads=1)
    many, _ = quant.quantize(values, type, n_threads=7)
    assert one.shape == (331, quant.row_bytes(type, 256))
    assert np.array_equal(one, many)
    back = quant.dequantize(one, type, 256, n_threads=1)
    assert np.array_equal(back, quant.dequantize(many, type, 256, n_threads=7))


@pytest.mark.engine
def test_dequantize_agrees_with_gguf(quant):
    values = random_matrix(3, 512)
    imatrix = np.abs(random_matrix(1, 512, seed=1))[0]
    for type in quant.QUANT_TYPES:
        data, n_bad = quant.quantize(values, type, imatrix=imatrix)
        assert n_bad == 0
        back = quant.dequantize(data, type, 512)
        assert np.corrcoef(back.ravel(), values.ravel())[0, 1] > 0.6  # ternary ones lose most
        if type not in ("Q1_0", "Q2_0"):  # gguf cannot
            reference = gguf.dequantize(data, gguf.GGMLQuantizationType[type])
            assert np.array_equal(back, reference), type


@pytest.mark.engine
def test_bytes_can_go_into_a_given_buffer(quant):
    values = random_matrix(4, 64)
    expected, _ = quant.quantize(values, "Q8_0")
    target = bytearray(4 * 68)
    quant.quantize(values, "Q8_0", out=memoryview(target))
    assert bytes(target) == expected.tobytes()
    array = np.zeros(4 * 68, dtype=np.uint8)
    quant.quantize(values, "Q8_0", out=array)
    assert np.array_equal(array, expected.ravel())


@pytest.mark.engine
def test_values_that_are_not_finite_are_counted(quant):
    values = random_matrix(200, 256)
    values[3, 7] = np.nan
    values[150, 0] = -np.inf
    values[199, 255] = np.inf
    for type in quant.QUANT_TYPES:
        if type not in NEED_IMATRIX:
            assert quant.quantize(values, type, n_threads=2)[1] == 3, type


@pytest.mark.engine
@pytest.mark.parametrize("type", ["F16", "BF16", "Q8_0", "Q4_K", "IQ1_S", "IQ3_S", "NVFP4"])
def test_values_that_are_too_large(quant, type):
    values = random_matrix(1, 256)
    values[0, 9] = np.finfo(np.float32).max
    with pytest.raises(ArgumentError, match="too large"):
        quant.quantize(values, type, imatrix=np.ones(256, dtype=np.float32))


@pytest.mark.engine
@pytest.mark.parametrize("type", ["Q4_K", "IQ2_S", "IQ3_S"])
def test_an_importance_that_overflows(quant, type):
    huge = np.full(256, np.finfo(np.float32).max)
    with pytest.raises(ArgumentError, match="too large"):
        quant.quantize(random_matrix(1, 256), type, imatrix=huge)


@pytest.mark.engine
@pytest.mark.parametrize("value", [0, 1e-45, 1e-20, 1e-10, 1e4])
def test_values_at_the_edges_end_in_no_assertion(quant, value):
    values = random_matrix(2, 256) * np.float32(value)
    for type in quant.QUANT_TYPES:
        for weight in (0, 1e-45, 1e-20, 1e8):
            imatrix = np.full(256, weight, dtype=np.float32)
            assert quant.quantize(values, type, imatrix=imatrix)[1] == 0


BAD_MATRICES = {
    "a type that has no quantiser": (((2, 256), "Q8_K", None), "cannot quantise to Q8_K"),
    "no type": (((2, 256), "Q9", None), "'Q9' is no tensor type"),
    "a row of half a block": (((2, 48), "Q4_0", None), "a row of 48 values in q4_0"),
    "no values": (((0, 256), "Q4_0", None), "nothing to convert"),
    "one dimension": (((256,), "Q4_0", None), r"n_rows, n_per_row"),
    "no importance": (((2, 256), "IQ2_XXS", None), "needs an importance matrix"),
    "importance of another length": (((2, 256), "Q4_K", np.ones(255)), r"\(256,\)"),
    "importance of another type": (((2, 256), "Q4_K", np.ones(256)), "float64"),
    "negative importance": (((2, 256), "Q4_K", -np.ones(256, dtype=np.float32)), "-1 at 0"),
    "infinite importance": (((2, 256), "Q4_K", np.float32([np.inf] * 256)), "inf at 0"),
}


@pytest.mark.engine
@pytest.mark.parametrize("case", BAD_MATRICES)
def test_wrong_matrices(quant, case):
    (shape, type, imatrix), message = BAD_MATRICES[case]
    with pytest.raises(ArgumentError, match=message):
        quant.quantize(np.ones(shape, dtype=np.float32), type, imatrix=imatrix)


@pytest.mark.engine
def test_every_type_is_listed_or_refused(quant):
    for type in gguf.GGMLQuantizationType:
        if type.name not in quant.QUANT_TYPES:
            with pytest.raises(ArgumentError, match="cannot quantise"):
                quant.quantize(np.ones((1, 256), dtype=np.float32), type.name)


@pytest.mark.engine
def test_wrong_arguments(quant):
    values = random_matrix(2, 256)
    with pytest.raises(ArgumentError, match="contiguous"):
        quant.quantize(values.T, "F16")
    with pytest.raises(ArgumentError, match="float64"):
        quant.quantize(values.astype(np.float64), "F16")
    with pytest.raises(ArgumentError, match="out has 100 bytes"):
        quant.quantize(values, "F16", out=np.zeros(100, dtype=np.uint8))
    with pytest.raises(ArgumentError, match="writable"):
        quant.quantize(values, "F16", out=memoryview(bytes(1024)))
    with pytest.raises(ArgumentError, match="n_threads is -1"):
        quant.quantize(values, "F16", n_threads=-1)
    with pytest.raises(ArgumentError, match="no whole rows"):
        quant.dequantize(np.zeros(35, dtype=np.uint8), "Q8_0", 32)
    with pytest.raises(ArgumentError, match="cannot convert Q8_1"):
        quant.dequantize(np.zeros(36, dtype=np.uint8), "Q8_1", 32)
    with pytest.raises(ArgumentError, match="must have 1 to"):
        quant.row_bytes("F16", 2**70)


BAD_CHOICES = {
    "architecture": ({"architecture": "gpt17"}, {}, "no architecture 'gpt17'"),
    "placeholder": ({"architecture": "(unknown)"}, {}, "no architecture"),
    "no layers": ({"n_layer": 0}, {}, "n_layer is 0"),
    "layers": ({"n_layer": 513}, {}, "n_layer is 513"),
    "heads": ({"n_head": -1}, {}, "n_head is -1"),
    "layer of a tensor": ({"n_layer": 9}, {}, "Bad layer 9"),
    "file type": ({}, {"ftype": 999}, "file type 999"),
    "file type out of range": ({}, {"ftype": 2**40}, "out of range"),
    "output type": ({}, {"output_type": "Q8_K"}, "cannot quantise to Q8_K"),
    "embedding type": ({}, {"token_embedding_type": "Q"}, "'Q' is no tensor type"),
    "pattern": ({}, {"overrides": [("(", "Q8_0")]}, "no regular expression"),
    "long pattern": ({}, {"overrides": [("(" * 5000, "Q8_0")]}, "5000 bytes"),
    "override": ({}, {"overrides": [("ffn", "I8")]}, "cannot quantise to I8"),
}


@pytest.mark.engine
@pytest.mark.parametrize("case", BAD_CHOICES)
def test_wrong_recipes(quant, case):
    fields, options, message = BAD_CHOICES[case]
    model = quant.QuantModel(**(vars(quant_model(quant, "qwen3moe", 8, 2)) | fields))
    with pytest.raises(ArgumentError, match=message):
        quant.choose_types(model, described(quant, shapes(8)), **({"ftype": int(Q4_K_M)} | options))


@pytest.mark.engine
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "nothing to choose"),
        ([("x" * 64 + ".weight", (256, 2))], "has 71 bytes"),
        ([("", (256, 2))], "has 0 bytes"),
        ([("blk.0.attn_q.weight", (256, 2))] * 2, "two tensors"),
        ([("blk.0.attn_q.weight", (256, 0))], "0 as dimension 1"),
        ([("blk.0.attn_q.weight", ())], "1 to 4 dimensions"),
        ([("blk.0.attn_q.weight", (1, 2, 3, 4, 5))], "1 to 4 dimensions"),
        ([("blk.0.ffn_up.weight", (256, 2)), ("x.ffn_up.weight", (256, 2))], "determine layer"),
        ([("blk.-1.ffn_up.weight", (256, 2))], "Bad layer -1"),
    ],
)
def test_wrong_tensors(quant, tensors, message):
    rows = [quant.QuantTensor(name, shape) for name, shape in tensors]
    with pytest.raises(ArgumentError, match=message):
        quant.choose_types(quant_model(quant, "qwen3moe", 8, 2), rows, Q4_K_M)


@pytest.mark.engine
def test_a_type_that_does_not_divide_the_rows_is_named(quant):
    rows = [quant.QuantTensor("token_embd.weight", (96, 4))]
    with pytest.raises(ArgumentError, match=r"q6_K for 'token_embd\.weight', whose rows have 96"):
        quant.choose_types(
            quant_model(quant, "llama", 0, 4), rows, Q4_K_M, token_embedding_type="Q6_K"
        )
