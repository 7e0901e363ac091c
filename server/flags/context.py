"""Flags of the context: sizes, threads, slots, what is kept of prompts, and guesses."""

from __future__ import annotations

from .flag import Flag, switch, value
from .values import (
    at_least,
    cache_mib,
    cpu_mask,
    cpu_range,
    not_negative,
    number,
    on_off_auto,
    one_of,
    parallel,
    rope_scale,
    spec_type,
    threads,
    unified,
    whole,
)

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

CONTEXT: tuple[Flag, ...] = (
    value("-c --ctx-size", "engine.n_ctx", "N", at_least(0),
          "tokens in the KV cache; 0: what the model was trained with",
          env="LLAMA_ARG_CTX_SIZE", usual=True),
    value("-b --batch-size", "engine.n_batch", "N", at_least(1), "most tokens in one step",
          env="LLAMA_ARG_BATCH", usual=True),
    value("-ub --ubatch-size", "engine.n_ubatch", "N", at_least(1),
          "most tokens in one pass of the graph; sets the size of the compute buffers",
          env="LLAMA_ARG_UBATCH", usual=True),
    *(value(f"-ct{letter} --cache-type-{letter}", f"engine.cache_type_{letter}", "TYPE",
            one_of(*CACHE_TYPES),
            f"type of the KV cache's {letter.upper()} rows: {', '.join(CACHE_TYPES)}",
            env=f"LLAMA_ARG_CACHE_TYPE_{letter.upper()}", usual=True)
      for letter in "kv"),
    value("--state-type", "engine.state_type", "TYPE", one_of("f32", "f16", "bf16"),
          "type of recurrent states: f32, f16, bf16; the halves for models of the gated delta net "
          "only (pannier's own)"),
    value("-fa --flash-attn", "engine.flash_attn", "MODE", on_off_auto,
          "flash attention: on, off or auto: on where the device can",
          env="LLAMA_ARG_FLASH_ATTN", usual=True),
    switch("--swa-full", "engine.swa_full", "keep the whole context in sliding-window layers, not "
           "only their window", env="LLAMA_ARG_SWA_FULL", usual=True),
    value("--rope-scaling", "engine.rope_scaling", "TYPE", one_of("none", "linear", "yarn"),
          "how positions beyond the trained context are scaled: none, linear or yarn (default: as "
          "the model says)", env="LLAMA_ARG_ROPE_SCALING_TYPE"),
    value("--rope-scale", "engine.rope_freq_scale", "N", rope_scale,
          "makes the context N times as long: --rope-freq-scale 1/N", env="LLAMA_ARG_ROPE_SCALE"),
    value("--rope-freq-base", "engine.rope_freq_base", "N", number(0),
          "base frequency of RoPE; 0: the model's", env="LLAMA_ARG_ROPE_FREQ_BASE"),
    value("--rope-freq-scale", "engine.rope_freq_scale", "N", number(0),
          "factor on the positions; 0: the model's", env="LLAMA_ARG_ROPE_FREQ_SCALE"),
    value("--yarn-orig-ctx", "engine.yarn_orig_ctx", "N", whole(0, 2**31 - 1),
          "context that the model was trained with before YaRN; 0: the model's",
          env="LLAMA_ARG_YARN_ORIG_CTX"),
    *(value(f"--yarn-{name}", f"engine.yarn_{name.replace('-', '_')}", "N", number(),
            f"YaRN's {text}; negative: the model's",
            env=f"LLAMA_ARG_YARN_{name.replace('-', '_').upper()}")
      for name, text in (("ext-factor", "mix of interpolation (0) and extrapolation (1)"),
                         ("attn-factor", "factor on the size of attention"),
                         ("beta-slow", "lower bound of rotations that are mixed"),
                         ("beta-fast", "upper bound of rotations that are mixed"))),
    switch("--warmup", "engine.warmup", "compute one token before the first request, so that it "
           "need not wait for weights to be read and kernels to be prepared", off="--no-warmup"),
)  # fmt: skip


def _threads(batch: bool) -> tuple[Flag, ...]:
    """Rows for single tokens or for prompts."""
    b, name, field = ("b", "-batch", "_batch") if batch else ("", "", "")
    same = "; without it as for single tokens" if batch else ""
    work = "prompts" if batch else "single tokens"
    return (
        value(f"-C{b} --cpu-mask{name}", f"engine.cpus{field}", "M", cpu_mask,
              f"CPUs for {work}, by the bits of a hexadecimal number{same}", many=True),
        value(f"-Cr{b} --cpu-range{name}", f"engine.cpus{field}", "LO-HI", cpu_range,
              f"CPUs for {work}, from one to another; adds to --cpu-mask{name}", many=True),
        value(f"--cpu-strict{name}", f"engine.cpu_strict{field}", "0|1", whole(0, 1),
              f"1: each thread for {work} stays on one CPU{same}"),
        value(f"--prio{name}", f"engine.prio{field}", "N", whole(0 if batch else -1, 3),
              f"priority of the threads for {work}: {'' if batch else '-1 low, '}0 normal, "
              "1 medium, 2 high, 3 realtime; above 0 needs the right to it"),
        value(f"--poll{name}", f"engine.poll{field}", "N", whole(0, 1 if batch else 100),
              f"how long threads for {work} look for work before they sleep: 0 not at all, "
              f"{'1: long' if batch else '100: longest'}{same}"),
    )  # fmt: skip


THREADS: tuple[Flag, ...] = (
    value("-t --threads", "engine.n_threads", "N", threads,
          "CPU threads for single tokens; 0 or -1: one per physical core",
          env="LLAMA_ARG_THREADS", usual=True),
    value("-tb --threads-batch", "engine.n_threads_batch", "N", threads,
          "CPU threads for prompts; 0 or -1: the same as -t", usual=True),
    *_threads(batch=False),
    *_threads(batch=True),
)  # fmt: skip

SLOTS: tuple[Flag, ...] = (
    value("-np --parallel", "engine.n_parallel", "N", parallel,
          "slots: requests that run at once; -c is for all of them together; -1: 4",
          env="LLAMA_ARG_N_PARALLEL", usual=True),
    value("--kv", "engine.kv_unified", "KIND", unified,
          "one KV cache that all slots share (unified), or one for each slot, all of one size "
          "(split); auto: unified, because only there prefixes are shared (default: auto)",
          usual=True),
    switch("-kvu --kv-unified", "engine.kv_unified", "--kv unified", off="-no-kvu --no-kv-unified",
           env="LLAMA_ARG_KV_UNIFIED"),
    value("--kv-unified-per-slot", "engine.n_ctx_slot", "N", at_least(1),
          "most tokens of one request; without -c the cache has as many for each slot (default: "
          "as many as there are)", env="LLAMA_ARG_KV_UNIFIED_PER_SLOT"),
    switch("--context-shift", "server.overflow", "when a request's context is full, forget the "
           "older half of it and go on, instead of ending the answer (default: end it)",
           off="--no-context-shift", on_value="shift", off_value="stop",
           env="LLAMA_ARG_CONTEXT_SHIFT", usual=True),
    value("-sps --slot-prompt-similarity", "engine.slot_similarity", "SHARE", not_negative,
          "a request gets the idle slot whose last tokens are more than this share of its prompt, "
          "the most alike first, or else the one that has been idle for longest; 0: always that "
          "one. Any slot starts from any prefix: this is about numbers"),
    value("--max-queue", "engine.max_queue", "N", at_least(0),
          "requests that may wait for a slot; one more gets status 503; 0: any number", usual=True),
    value("--queue-timeout", "engine.queue_timeout_s", "N", not_negative,
          "longest wait for a slot in seconds, then status 503; 0: any", usual=True),
    value("--max-per-key", "engine.max_per_key", "N", at_least(0),
          "requests of one API key that run at once; 0: any number", usual=True),
    value("--max-itl-ms", "engine.max_itl_ms", "N", not_negative,
          "milliseconds between two tokens of a request to aim at while prompts of others are "
          "computed; 0: prompts go in chunks of -ub", usual=True),
    value("--stream-interval-ms", "engine.stream_interval_ms", "N", not_negative,
          "tokens of a stream that come faster than this are sent together, each as an event of "
          "its own; the first and the last one go at once; 0: each token goes by itself"),
    value("--hang-timeout", "server.hang_timeout_s", "N", not_negative,
          "seconds without a word from an engine that has work, after which it is killed and "
          "another one takes over; 0: never", usual=True),
)  # fmt: skip

PREFIXES: tuple[Flag, ...] = (
    switch("--cache-prompt", "server.cache_prompt", "start requests that do not say otherwise from "
           "a prefix that is there", off="--no-cache-prompt", env="LLAMA_ARG_CACHE_PROMPT"),
    value("--prefix-sequences", "engine.n_prefixes", "N", at_least(-1),
          "states of prefixes kept on the device beside those of the slots; -1: as many as take no "
          "more memory than the KV cache", usual=True),
    value("-cram --cache-ram", "engine.cache_ram_mib", "N", cache_mib,
          "MiB of host memory for states that the device has no room for; -1: any number",
          env="LLAMA_ARG_CACHE_RAM", usual=True),
    value("--prefix-cache-dir", "engine.prefix_cache_dir", "DIR", str,
          "folder for such states that outlives the server (default: none)", usual=True),
    value("--prefix-cache-mib", "engine.prefix_cache_mib", "N", at_least(0),
          "MiB that it may take", usual=True),
)  # fmt: skip

SPECULATION: tuple[Flag, ...] = (
    value("--spec-type", "engine.spec_type", "TYPE", spec_type,
          "guess a request's next tokens and compute them in one step with the last one; none, or "
          "ngram-simple: what followed the same tokens earlier in the request. Answers are the "
          "same", env="LLAMA_ARG_SPEC_TYPE", usual=True),
    value("--spec-ngram-simple-size-n", "engine.spec_size_n", "N", at_least(2),
          "tokens compared to find the place; two at least must be equal", usual=True),
    value("--spec-ngram-simple-size-m", "engine.spec_size_m", "N", at_least(1),
          "most tokens guessed at once; for models with a recurrent state, each costs one more "
          "state per sequence", usual=True),
)  # fmt: skip
