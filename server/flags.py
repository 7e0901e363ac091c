"""The flags of `pannier serve`, with llama-server's names, and what they say to the engine.

Those of the model, the context and the placement are `pannier chat`'s too.

Source of names and meanings: llama.cpp's `common/arg.cpp`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from ..placement import ExpertsOn
from ..planner.wish import Prefer
from .config import EngineConfig
from .flag_values import (
    at_least,
    comma_list,
    gpu_layers,
    key_file,
    not_negative,
    overrides,
    parallel,
    port,
    shares,
    sizes,
)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9931
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
LOAD_MODES = ("auto", "mmap", "mlock", "mmap+mlock", "none")
SPEC_TYPES = ("none", "ngram-simple")
BACKENDS = ("auto", "cpu", "vulkan", "cuda", "metal", "hip")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """All of them, in groups."""
    model = parser.add_argument_group("model")
    add_model(model, "serve")
    _add_alias(model)
    add_loading(model)
    context = parser.add_argument_group("context")
    add_context(context)
    _add_slots(context)
    _add_waiting(context)
    _add_hang_timeout(context)
    _add_prefixes(parser.add_argument_group("prefixes of prompts"))
    _add_speculation(parser.add_argument_group("speculation"))
    add_placement(parser.add_argument_group("placement"))
    _add_planning(parser.add_argument_group("planning"))
    _add_http(parser.add_argument_group("HTTP"))


def add_plannable(parser: argparse.ArgumentParser, verb: str) -> None:
    """Those that decide what memory a server takes."""
    model = parser.add_argument_group("model")
    add_model(model, verb)
    add_loading(model)
    context = parser.add_argument_group("context")
    add_context(context)
    _add_slots(context)
    _add_prefix_sequences(context)
    _add_speculation(parser.add_argument_group("speculation"))
    add_placement(parser.add_argument_group("placement"))
    _add_planning(parser.add_argument_group("planning"))


PLANNABLE = {
    "ctx_size": "n_ctx",
    "batch_size": "n_batch",
    "ubatch_size": "n_ubatch",
    "cache_type_k": "cache_type_k",
    "cache_type_v": "cache_type_v",
    "gpu_layers": "n_gpu_layers",
    "tensor_split": "tensor_split",
    "override_tensor": "tensor_overrides",
    "experts": "experts",
    "n_cpu_moe": "n_cpu_moe",
    "moe_cache_mib": "moe_cache_mib",
    "parallel": "n_parallel",
}
"""Arguments that a plan chooses if they are not given, and their fields of `EngineConfig`."""


def fixed_fields(args: argparse.Namespace) -> frozenset[str]:
    """The fields that a plan has to leave as they are."""
    given = {name: getattr(args, name) for name in PLANNABLE}
    if args.parallel == -1:
        del given["parallel"]
    return frozenset(
        PLANNABLE[name] for name, value in given.items() if value not in (None, [], ())
    )


def read_common(args: argparse.Namespace, model: str, engine: str) -> EngineConfig:
    """Model, context and placement: what `pannier chat` has flags for too."""
    return EngineConfig(
        model=model,
        engine=engine,
        n_ctx=_given(args.ctx_size, EngineConfig.n_ctx),
        n_batch=_given(args.batch_size, EngineConfig.n_batch),
        n_ubatch=_given(args.ubatch_size, EngineConfig.n_ubatch),
        n_threads=args.threads,
        n_threads_batch=args.threads_batch,
        n_gpu_layers=_given(args.gpu_layers, EngineConfig.n_gpu_layers),
        devices=args.device,
        tensor_split=args.tensor_split,
        tensor_overrides=tuple(row for rows in args.override_tensor for row in rows),
        experts=args.experts,
        n_cpu_moe=_given(args.n_cpu_moe, EngineConfig.n_cpu_moe),
        moe_cache_mib=_given(args.moe_cache_mib, EngineConfig.moe_cache_mib),
        cache_type_k=args.cache_type_k or EngineConfig.cache_type_k,
        cache_type_v=args.cache_type_v or EngineConfig.cache_type_v,
        flash_attn=args.flash_attn,
        swa_full=args.swa_full,
        load_mode=args.load_mode,
    )


def read_plannable(args: argparse.Namespace, model: str, engine: str) -> EngineConfig:
    """What `add_plannable` has flags for."""
    return replace(
        read_common(args, model, engine),
        n_parallel=EngineConfig.n_parallel if args.parallel == -1 else args.parallel,
        kv_unified=args.kv != "split",
        n_prefixes=args.prefix_sequences,
        spec_type=args.spec_type,
        spec_size_n=args.spec_ngram_simple_size_n,
        spec_size_m=args.spec_ngram_simple_size_m,
    )


def read_config(args: argparse.Namespace, model: str, engine: str) -> EngineConfig:
    """The engine's part of the arguments of `pannier serve`."""
    return replace(
        read_plannable(args, model, engine),
        cache_ram_mib=args.cache_ram,
        prefix_cache_dir=args.prefix_cache_dir,
        prefix_cache_mib=args.prefix_cache_mib,
        max_queue=args.max_queue,
        queue_timeout_s=args.queue_timeout,
        max_per_key=args.max_per_key,
        max_itl_ms=args.max_itl_ms,
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


Group = Any  # argparse names its type of a group privately


def add_model(group: Group, verb: str) -> None:
    """Which model to `verb`; `named_model.find_model` reads them."""
    add = group.add_argument
    add("model", nargs="?", metavar="MODEL", help=f"the GGUF file to {verb}")
    add("-m", "--model", dest="model_flag", metavar="FILE", help="the same")
    add("--demo", action="store_true", help=f"{verb} the tiny model that comes along")


def _add_alias(group: Group) -> None:
    group.add_argument(
        "-a",
        "--alias",
        type=comma_list,
        default=(),
        metavar="NAME",
        help="names of the model for clients, between commas (default: the file's name)",
    )


def add_loading(group: Group) -> None:
    """The engine, and how weights get into memory."""
    add = group.add_argument
    add(
        "--backend",
        choices=BACKENDS,
        help="engine to run on; it is built if it is not there (default: PANNIER_ENGINE, "
        "else the best one for this machine)",
    )
    add(
        "-lm",
        "--load-mode",
        choices=LOAD_MODES,
        default="auto",
        help="how weights get into memory: mapped, locked, both, or read (default: auto: "
        "mapped where the device can)",
    )
    add(
        "--mlock",
        dest="load_mode",
        action="store_const",
        const="mlock",
        help="keep the model in RAM, never swapped: --load-mode mlock",
    )
    add(
        "--no-mmap",
        dest="load_mode",
        action="store_const",
        const="none",
        help="read the file instead of mapping it: --load-mode none",
    )


def add_context(group: Group) -> None:
    """Sizes and types of a context."""
    add = group.add_argument
    number = partial(_open_number, add)
    number("-c", "--ctx-size", 0, "tokens in the KV cache; 0: what the model was trained with")
    number("-b", "--batch-size", EngineConfig.n_batch, "most tokens in one step", low=1)
    number("-ub", "--ubatch-size", EngineConfig.n_ubatch, "most tokens in one pass of the graph; "
           "sets the size of the compute buffers", low=1)  # fmt: skip
    _number(add, "-t", "--threads", 0, "CPU threads for single tokens; 0: one per physical core")
    _number(add, "-tb", "--threads-batch", 0, "CPU threads for prompts; 0: the same as -t")
    for letter in "kv":
        add(
            f"-ct{letter}",
            f"--cache-type-{letter}",
            choices=CACHE_TYPES,
            metavar="TYPE",
            help=f"type of the KV cache's {letter.upper()} rows: {', '.join(CACHE_TYPES)} "
            "(default: f16)",
        )
    add(
        "-fa",
        "--flash-attn",
        choices=("on", "off", "auto"),
        default="auto",
        help="flash attention (default: auto: on where the device can)",
    )
    add(
        "--swa-full",
        action="store_true",
        help="keep the whole context in sliding-window layers, not only their window",
    )


def _add_slots(group: Group) -> None:
    add = group.add_argument
    add(
        "-np",
        "--parallel",
        type=parallel,
        default=-1,
        metavar="N",
        help="slots: requests that run at once; -c is for all of them together; "
        f"-1: {EngineConfig.n_parallel} (default: -1)",
    )
    add(
        "--kv",
        choices=("unified", "split", "auto"),
        default="auto",
        help="one KV cache that all slots share, or one for each slot, all of one size; auto: "
        "unified, because only there prefixes are shared (default: auto)",
    )
    for name, short, kind in (
        ("--kv-unified", "-kvu", "unified"),
        ("--no-kv-unified", "-no-kvu", "split"),
    ):
        add(short, name, dest="kv", action="store_const", const=kind, help=f"--kv {kind}")


def _add_waiting(group: Group) -> None:
    add = group.add_argument
    add(
        "--context-shift",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="when a request's context is full, forget the older half of it and go on, instead of "
        "ending the answer (default: end it)",
    )
    _number(add, "", "--max-queue", 0, "requests that may wait for a slot; one more gets status "
            "503; 0: any number")  # fmt: skip
    _seconds(add, "--queue-timeout", "longest wait for a slot, then status 503; 0: any")
    _number(add, "", "--max-per-key", 0, "requests of one API key that run at once; 0: any number")
    _seconds(add, "--max-itl-ms", "milliseconds between two tokens of a request to aim at while "
             "prompts of others are computed; 0: prompts go in chunks of -ub")  # fmt: skip


def _add_hang_timeout(group: Group) -> None:
    group.add_argument(
        "--hang-timeout",
        type=not_negative,
        default=600.0,
        metavar="N",
        help="seconds without a word from an engine that has work, after which it is killed and "
        "another one takes over; 0: never (default: 600)",
    )


def _add_prefix_sequences(group: Group) -> None:
    group.add_argument(
        "--prefix-sequences",
        type=at_least(-1),
        default=-1,
        metavar="N",
        help="states of prefixes kept on the device beside those of the slots; -1: as many as "
        "take no more memory than the KV cache (default: -1)",
    )


def _add_prefixes(group: Group) -> None:
    _add_prefix_sequences(group)
    add = group.add_argument
    add(
        "-cram",
        "--cache-ram",
        type=at_least(0),
        default=EngineConfig.cache_ram_mib,
        metavar="N",
        help="MiB of host memory for states that the device has no room for "
        f"(default: {EngineConfig.cache_ram_mib})",
    )
    add(
        "--prefix-cache-dir",
        default="",
        metavar="DIR",
        help="folder for such states that outlives the server (default: none)",
    )
    _number(add, "", "--prefix-cache-mib", EngineConfig.prefix_cache_mib, "MiB that it may take")


def _add_speculation(group: Group) -> None:
    add = group.add_argument
    add(
        "--spec-type",
        choices=SPEC_TYPES,
        default="none",
        help="guess a request's next tokens and compute them in one step with the last one; "
        "ngram-simple: what followed the same tokens earlier in the request. Answers are the same "
        "(default: none)",
    )
    _number(add, "", "--spec-ngram-simple-size-n", EngineConfig.spec_size_n, "tokens compared to "
            "find the place; two at least must be equal", low=2)  # fmt: skip
    _number(add, "", "--spec-ngram-simple-size-m", EngineConfig.spec_size_m, "most tokens guessed "
            "at once; for models with a recurrent state, each costs one more state per sequence",
            low=1)  # fmt: skip


def add_placement(group: Group) -> None:
    """Which weights go where."""
    add = group.add_argument
    add(
        "-ngl",
        "--gpu-layers",
        "--n-gpu-layers",
        type=gpu_layers,
        metavar="N",
        help="layers whose weights go to the devices: a number, all or auto (default: all)",
    )
    add(
        "-dev",
        "--device",
        type=comma_list,
        default=(),
        metavar="NAMES",
        help="devices to use, between commas; none: the CPU only (default: all GPUs)",
    )
    add(
        "-ts",
        "--tensor-split",
        type=shares,
        default=(),
        metavar="SHARES",
        help="the devices' shares of the layers, between commas, in any unit (default: by their "
        "free memory)",
    )
    add(
        "-ot",
        "--override-tensor",
        type=overrides,
        action="append",
        default=[],
        metavar="PATTERN=BUFFER,...",
        help="put tensors whose name matches a regex into a buffer type, as in "
        "'blk.1.*_exps=CPU'; may be given several times, the first match wins",
    )
    add(
        "--experts",
        choices=get_args(ExpertsOn),
        help="where the routed experts go; auto: on the GPU if the model fits there with room to "
        "spare (default: as the file says)",
    )
    add(
        "-cmoe",
        "--cpu-moe",
        action="store_const",
        const="cpu",
        dest="experts",
        help="the same as --experts cpu",
    )
    _open_number(
        add, "-ncmoe", "--n-cpu-moe", 0, "keep the experts of the first N layers in CPU memory"
    )
    _open_number(add, "", "--moe-cache-mib", 0, "MiB on the devices that cache experts kept in CPU "
            "memory; 0: none")  # fmt: skip


def _add_planning(group: Group) -> None:
    add = group.add_argument
    add(
        "--vram",
        type=sizes,
        default=(),
        metavar="SIZE[,SIZE]",
        help="most memory to take of each device, as in 8G or 8G,6G, in their order; others are "
        "not used. What is not given by other flags is chosen for it",
    )
    add(
        "--prefer",
        choices=get_args(Prefer),
        default="speed",
        help="what to choose for: the weights on the devices, the largest context, or the most "
        "clients (default: speed)",
    )


def _add_http(group: Group) -> None:
    add = group.add_argument
    add(
        "--host",
        default=DEFAULT_HOST,
        help=f"address to listen on; 0.0.0.0: all (default: {DEFAULT_HOST})",
    )
    add(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        metavar="PORT",
        help=f"port to listen on; 0: a free one (default: {DEFAULT_PORT}, as llama-server)",
    )
    add(
        "--api-key",
        type=comma_list,
        default=(),
        metavar="KEY",
        help="keys that clients must show, between commas (default: none is asked for)",
    )
    add(
        "--api-key-file",
        type=key_file,
        default=(),
        metavar="FILE",
        help="file of such keys, one per line",
    )


def _number(
    add: Callable[..., Any], short: str, name: str, default: int, text: str, *, low: int = 0
) -> None:
    names = [short, name] if short else [name]
    add(
        *names,
        type=at_least(low),
        default=default,
        metavar="N",
        help=f"{text} (default: {default})",
    )


def _open_number(
    add: Callable[..., Any], short: str, name: str, default: int, text: str, *, low: int = 0
) -> None:
    """A number that a plan may choose, if it is not given."""
    names = [short, name] if short else [name]
    add(*names, type=at_least(low), metavar="N", help=f"{text} (default: {default})")


def _seconds(add: Callable[..., Any], name: str, text: str) -> None:
    add(name, type=not_negative, default=0.0, metavar="N", help=f"{text} (default: 0)")
