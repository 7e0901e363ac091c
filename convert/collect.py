"""Run llama.cpp's own `conversion` on a checkpoint up to the point where it would write.

What comes out is metadata and a list of tensors with GGUF's names and shapes, none computed.
Only the child process imports this module: it needs the pinned tree in front of the module path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conversion
import conversion.base
import conversion.qwen
import gguf
import gguf.utility
import numpy as np
import torch
import transformers

from ..errors import ConvertError
from .lazy import Deferred, Single, defer
from .nvfp4 import reorder_lazily, repack_lazily
from .options import Options
from .pretokenizer import match_pretokenizer
from .source import Source


@dataclass
class Collected:
    """A checkpoint in GGUF's terms."""

    architecture: str
    """The checkpoint's class; GGUF's name is in the metadata."""
    metadata: dict[str, Any]
    """Key to gguf.GGUFValue."""
    sources: list[Source]

    def value(self, key: str, default: Any = None) -> Any:
        """A metadata value; "{arch}" in the key is GGUF's name of the architecture."""
        arch = self.metadata["general.architecture"].value
        found = self.metadata.get(key.replace("{arch}", arch))
        return default if found is None else found.value


def collect(folder: Path, options: Options, out: Path) -> Collected:
    """Map a checkpoint's metadata and tensors with upstream's classes."""
    hparams = conversion.ModelBase.load_hparams(folder, False)
    architecture = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    rename_layer_types(hparams, architecture)
    model_class = conversion.get_model_class(architecture)
    accept_unknown_tokenizers(conversion.TextModel, options.pre)
    choose_mtp(model_class, options.mtp, architecture)
    repack_lazily(conversion.base, conversion.ModelBase)
    reorder_lazily(conversion.qwen._LinearAttentionVReorderBase)
    accept_fp8_per_tensor(conversion.ModelBase)
    gguf.quants.quantize = defer(gguf.quants.quantize)
    gguf.utility.LocalTensor.mmap_bytes = read_bytes
    # F32 in upstream's eyes: it casts nothing, and leaves the types to us
    model = model_class(
        folder, gguf.LlamaFileType.ALL_F32, out, model_name=options.name, hparams=hparams
    )
    with torch.inference_mode():
        model.prepare_tensors()
        model.prepare_metadata(vocab_only=False)
    writer = model.gguf_writer
    tensors = {name: info for shard in writer.tensors for name, info in shard.items()}
    return Collected(architecture, dict(writer.kv_data[0]), sources_of(tensors))


def read_bytes(tensor: Any) -> Any:
    """A checkpoint's tensor, read rather than mapped: memory that is used again and again costs
    less than new pages for each tensor, and none of the file counts as ours."""
    where = tensor.data_range
    return np.fromfile(where.filename, np.uint8, where.size, offset=where.offset)


def sources_of(tensors: dict[str, Any]) -> list[Source]:
    """Upstream's tensors in its order, NVFP4's factors attached to their matrices."""
    sources = {
        name: Source(
            name, tuple(int(n) for n in reversed(info.shape)), info.dtype.name, int(info.nbytes),
            info.tensor if isinstance(info.tensor, Deferred) else Single(info.tensor),
        )
        for name, info in tensors.items()
    }  # fmt: skip
    for source in sources.values():
        if source.type == "NVFP4":
            source.scale = sources.get(source.name.removesuffix(".weight") + ".scale")
    return list(sources.values())


def rename_layer_types(hparams: dict[str, Any], architecture: str) -> None:
    """Granite's layers by the names that its first configurations had, which upstream knows.

    transformers 5 saves "linear_attention" and "full_attention"; upstream takes what is not
    "attention" for recurrent, and the file does not load.
    """
    names = {"linear_attention": "mamba", "full_attention": "attention"}
    if architecture == "GraniteMoeHybridForCausalLM" and "layer_types" in hparams:
        hparams["layer_types"] = [names.get(name, name) for name in hparams["layer_types"]]


def forbid_remote_code(allowed: bool) -> None:
    """Let transformers run code that a checkpoint brings along only where the user says so.

    Upstream asks for it whenever it loads a tokenizer.
    """
    for loader in (transformers.AutoTokenizer, transformers.AutoConfig):
        load = loader.from_pretrained

        def from_pretrained(*args: Any, _load: Any = load, **kwargs: Any) -> Any:
            return _load(*args, **kwargs | {"trust_remote_code": allowed})

        loader.from_pretrained = from_pretrained


def accept_unknown_tokenizers(text_model: Any, pre: str | None) -> None:
    """Where upstream's hash does not know a tokenizer, decide by what its pre-tokenizer does."""
    by_hash = text_model.get_vocab_base_pre

    def get_vocab_base_pre(model: Any, tokenizer: Any) -> str:
        if pre is not None:
            return pre
        try:
            return str(by_hash(model, tokenizer))
        except NotImplementedError:
            matched = match_pretokenizer(model.dir_model)
            state_bos(model.gguf_writer, tokenizer)
            return matched

    text_model.get_vocab_base_pre = get_vocab_base_pre


def state_bos(writer: Any, tokenizer: Any) -> None:
    """Say whether texts start with BOS. llama.cpp otherwise goes by the pre-tokenizer's name
    (yes for llama-bpe), and takes a token of its own choice where the tokenizer has no BOS."""
    bos = tokenizer.bos_token_id
    writer.add_add_bos_token(bos is not None and tokenizer.encode("a")[0] == bos)


def accept_fp8_per_tensor(model_class: Any) -> None:
    """Read FP8 with `weight_scale` and `input_scale` whatever tool stored it.

    Upstream knows these names for ModelOpt only. For quant_method "fp8" it looks for
    `weight_scale_inv`; of compressed-tensors it asserts a scale for each row or block.
    """
    dequant = model_class.dequant_model

    def dequant_model(model: Any) -> None:
        config = model.hparams.get("quantization_config") or {}
        if is_fp8_per_tensor(config, model.model_tensors):
            config["quant_method"] = "modelopt"
        dequant(model)

    model_class.dequant_model = dequant_model


def is_fp8_per_tensor(config: dict[str, Any], names: Iterable[str]) -> bool:
    """Whether a `quantization_config` means float8 weights, each times its `weight_scale`."""
    method, groups = config.get("quant_method"), config.get("config_groups") or {}
    if method == "compressed-tensors" and groups:
        weights = [group.get("weights") or {} for group in groups.values()]
        return all(
            (scheme.get("type"), scheme.get("num_bits")) == ("float", 8)
            and scheme.get("strategy") in ("tensor", "channel")
            for scheme in weights
        )
    return method == "fp8" and any(name.endswith(".weight_scale") for name in names)


def choose_mtp(model_class: Any, mtp: str, architecture: str) -> None:
    """Keep, drop or take alone the blocks for multi-token prediction."""
    if mtp != "keep" and not model_class.supports_mtp_export:
        raise ConvertError(
            f"--mtp {mtp}: llama.cpp's conversion of {architecture} has no blocks for multi-token "
            "prediction to part with; leave --mtp out"
        )
    model_class.no_mtp = model_class.no_mtp or mtp == "drop"
    model_class.mtp_only = mtp == "only"
    drop_absent_mtp(model_class)


def drop_absent_mtp(model_class: Any) -> None:
    """A Qwen3Next-like checkpoint without multi-token-prediction tensors converts without them.

    Upstream counts those tensors while it indexes the checkpoint and asserts on zero afterwards
    (conversion/qwen.py, `_QwenMtpMixin.__init__`) unless `no_mtp` is set.
    """
    index = model_class.index_tensors

    def index_tensors(model: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = index(model, *args, **kwargs)
        if getattr(model_class, "opt_num_mtp_layers", None) == 0:
            if model_class.mtp_only:
                raise ConvertError("the checkpoint has no blocks for multi-token prediction")
            model_class.no_mtp = True
        return tensors

    model_class.index_tensors = index_tensors
