"""Flags of the model: which one, how its weights get into memory, and where they go."""

from __future__ import annotations

from ...expert_words import FORMS
from .flag import Flag, switch, value
from .values import (
    at_least,
    comma_list,
    experts,
    gpu_layers,
    host_memory,
    kv_overrides,
    n_cpu_ffn,
    one_of,
    overrides,
    size,
    tensor_split,
)

BACKENDS = ("auto", "cpu", "vulkan", "cuda", "metal", "hip")
LOAD_MODES = ("auto", "mmap", "mlock", "mmap+mlock", "dio", "none")

MODEL: tuple[Flag, ...] = (
    value("-m --model", "start.model_flag", "FILE", str, "the GGUF file, as MODEL",
          env="LLAMA_ARG_MODEL", usual=True),
    switch("--demo", "start.demo", "the tiny model that comes along", usual=True),
    value("--backend", "start.backend", "NAME", one_of(*BACKENDS),
          f"engine to run on: {', '.join(BACKENDS)}; it is built if it is not there (default: "
          "PANNIER_ENGINE, else the best one for this machine)", usual=True),
    switch("--offline", "", "download nothing, which pannier never does", env="LLAMA_ARG_OFFLINE"),
    switch("--list-devices", "start.list_devices", "print the engine's devices and end"),
)  # fmt: skip

LOADING: tuple[Flag, ...] = (
    value("-lm --load-mode", "engine.load_mode", "MODE", one_of(*LOAD_MODES),
          "how weights get into memory: mapped, locked, both, read past the page cache (dio), or "
          "read: auto, mmap, mlock, mmap+mlock, dio, none (default: auto: mapped where the device "
          "can)", env="LLAMA_ARG_LOAD_MODE", usual=True),
    switch("--mlock", "engine.load_mode", "keep the model in RAM, never swapped: --load-mode mlock",
           on_value="mlock"),
    switch("--no-mmap", "engine.load_mode", "read the file instead of mapping it: --load-mode none",
           on_value="none"),
    value("-lzm --lazy-mode", "engine.lazy_mode", "MODE", one_of("on", "auto", "off"),
          "read rows of per-layer embeddings from the file when they are needed; auto: of tensors "
          "above 4 GiB", env="LLAMA_ARG_LAZY_MODE"),
    switch("--check-tensors", "engine.check_tensors", "look for NaN and other invalid values in "
           "the weights while loading"),
    switch("--repack", "engine.repack", "rearrange weights on the CPU for its kernels",
           off="-nr --no-repack", env="LLAMA_ARG_REPACK"),
    switch("--no-host", "engine.no_host", "no pinned host memory, so that weights that stay on "
           "the CPU can be rearranged", env="LLAMA_ARG_NO_HOST"),
    value("--host-memory", "engine.host_memory", "WHERE", host_memory,
          "what weights in system memory lie in: mmap (pages of the file), lock (the same, never "
          "dropped), pinned (read by a device by itself), copy (ordinary memory); by role as "
          "experts=pinned,embedding=mmap; they are not rearranged for the CPU then (default: by "
          "--load-mode)", usual=True),
    value("--pin-budget", "engine.pin_budget", "SIZE", size,
          "most memory that --host-memory pinned pins, as 8G, layer by layer; the rest is mapped "
          "(default: all that there is)", usual=True),
    value("--override-kv", "engine.kv_overrides", "KEY=TYPE:VALUE,...", kv_overrides,
          "read the model as if its metadata said so; types: int, float, bool, str", many=True),
)  # fmt: skip

PLACEMENT: tuple[Flag, ...] = (
    value("-ngl --gpu-layers --n-gpu-layers", "engine.n_gpu_layers", "N", gpu_layers,
          "layers whose weights go to the devices: a number, all or auto (default: all)",
          env="LLAMA_ARG_N_GPU_LAYERS", usual=True),
    value("-dev --device", "engine.devices", "NAMES", comma_list,
          "devices to use, between commas; none: the CPU only (default: all GPUs)",
          env="LLAMA_ARG_DEVICE", usual=True),
    value("-sm --split-mode", "engine.split_mode", "MODE", one_of("none", "layer", "row", "tensor"),
          "how several devices share a model: none: one device only, layer: by layers, row or "
          "tensor: each matrix", env="LLAMA_ARG_SPLIT_MODE"),
    value("-ts --tensor-split", "engine.tensor_split", "N,N,...", tensor_split,
          "shares of the devices, as 3,1 (default: layers by their bytes and free memory)",
          env="LLAMA_ARG_TENSOR_SPLIT"),
    value("-mg --main-gpu", "engine.main_gpu", "N", at_least(0),
          "the device of --split-mode none, by its number", env="LLAMA_ARG_MAIN_GPU"),
    value("-ot --override-tensor", "engine.tensor_overrides", "PATTERN=BUFFER,...", overrides,
          "put tensors whose name matches a regex into a buffer type, as in 'blk.1.*_exps=CPU'; "
          "may be given several times, the first match wins", many=True,
          env="LLAMA_ARG_OVERRIDE_TENSOR", usual=True),
    value("--experts", "engine.experts", "WHERE", experts,
          f"where the routed experts go: {FORMS}; layers that no row names go to the other of the "
          "two; auto: on the GPU if the model fits there with room to spare (default: as the file "
          "says)", usual=True),
    switch("-cmoe --cpu-moe", "engine.experts", "the same as --experts cpu", on_value="cpu",
           env="LLAMA_ARG_CPU_MOE", usual=True),
    value("-ncmoe --n-cpu-moe", "engine.n_cpu_moe", "N", at_least(0),
          "keep the experts of the first N layers in CPU memory", env="LLAMA_ARG_N_CPU_MOE",
          usual=True),
    value("-ncffn --n-cpu-ffn", "engine.tensor_overrides", "N", n_cpu_ffn,
          "keep the dense feed-forward weights of the first N layers in CPU memory", many=True,
          env="LLAMA_ARG_N_CPU_FFN"),
    value("--moe-cache-mib", "engine.moe_cache_mib", "N", at_least(0),
          "MiB on the devices that cache experts kept in CPU memory; 0: none",
          env="LLAMA_ARG_MOE_CACHE_MIB", usual=True),
    switch("-kvo --kv-offload", "engine.offload_kqv", "keep the KV cache on the devices",
           off="-nkvo --no-kv-offload", env="LLAMA_ARG_KV_OFFLOAD"),
    switch("--op-offload", "engine.op_offload", "compute long batches on a device even where the "
           "weights are in CPU memory", off="--no-op-offload"),
    switch("--strict", "engine.strict", "do not start if an op would run elsewhere than where its "
           "layer was placed, an override match no tensor or a KV type be changed; otherwise that "
           "is a warning (default: on with --vram)", off="--no-strict", usual=True),
    value("--numa", "engine.numa", "TYPE", one_of("distribute", "isolate", "numactl"),
          "where threads go on a machine of several NUMA nodes: on all, on the one that started "
          "it, or as numactl said (default: nothing is done)", env="LLAMA_ARG_NUMA"),
)  # fmt: skip
