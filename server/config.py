"""What the engine side of a server is started with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineConfig:
    """Placement of the model and size of the context, under llama-server's names."""

    model: str
    engine: str | None = None
    """Engine directory; None finds the best one that was built."""
    n_ctx: int = 0
    """Tokens in the KV cache over all slots; 0 takes the model's training context."""
    n_parallel: int = 4
    n_batch: int = 2048
    n_ubatch: int = 512
    n_threads: int = 0
    """0: one per physical core."""
    n_threads_batch: int = 0
    """0: the same as `n_threads`."""
    n_gpu_layers: int = -1
    """-1: all layers."""
    devices: tuple[str, ...] = ()
    tensor_overrides: tuple[tuple[str, str], ...] = ()
    """Rows of (tensor name regex, buffer type), as `-ot`."""
    experts: str | None = None
    """"cpu", "gpu" or "auto"; None: as the file says."""
    n_cpu_moe: int = 0
    moe_cache_mib: int = 0
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    state_type: str = "f32"
    """Of recurrent states."""
    flash_attn: str = "auto"
    kv_unified: bool = True
    memory_limits: tuple[tuple[str, int], ...] = ()
    """Rows of (device, most bytes of buffers there); what takes more does not start."""
    strict: bool = False
    """What would run elsewhere than it was placed does not start; else it is a warning."""
    n_prefixes: int = -1
    """Sequences beside those of the slots, for prefixes; -1: as many as cost little."""
    cache_ram_mib: int = 2048
    """Host memory for states that the device has no room for."""
    prefix_cache_dir: str = ""
    """Folder for states that outlive the process; empty: none."""
    prefix_cache_mib: int = 16384
    """Disk for them."""
    max_queue: int = 0
    """Most requests that wait; 0: any number."""
    queue_timeout_s: float = 0.0
    """Longest wait for a slot; 0: any."""
    max_per_key: int = 0
    """Most requests of one client at once; 0: any number."""
    max_itl_ms: float = 0.0
    """Target for the time between two tokens of a request while prompts are computed; 0: none."""
    slot_similarity: float = 0.1
    """A request gets the slot whose last tokens are so much of its prompt; 0: the one that has
    been idle for longest."""
    slots_are_saved: bool = False
    """Clients may save what slots hold: keep the state of whole prompts for that."""
    stream_interval_ms: float = 25.0
    """Tokens that come faster are handed over together: nobody sees the difference, and each
    message costs the compute threads a part of a millisecond. 0: after each step."""
    spec_type: str = "none"
    """Where guesses of the next tokens come from: "none" or "ngram-simple", the request itself."""
    spec_size_n: int = 4
    """Tokens that are compared."""
    spec_size_m: int = 8
    """Most tokens that are guessed at once. A recurrent state costs so many more."""
    adapters: tuple[str, ...] = ()
    """Files of LoRA adapters."""
    embeddings: bool = False
    """Embed prompts, and do nothing else."""
    pooling: str = "auto"
    """How the tokens of a prompt become one embedding: as `Context`."""
    swa_full: bool = False
    load_mode: str = "auto"
    """"auto", "mmap", "mlock", "mmap+mlock", "dio" or "none"."""
    lazy_mode: str = "auto"
    """Rows of per-layer embeddings from the file when needed: "on", "off", or "auto"."""
    check_tensors: bool = False
    repack: bool = True
    no_host: bool = False
    host_memory: str | None = None
    """What weights in system memory lie in, as `parse_host_memory` reads it."""
    pin_budget: int | None = None
    """Most bytes that may be pinned."""
    kv_overrides: tuple[tuple[str, str, str], ...] = ()
    """Rows of metadata key, type and value as text."""
    split_mode: str = "layer"
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    offload_kqv: bool = True
    op_offload: bool = True
    n_ctx_slot: int = 0
    """Most tokens of one request; 0: as many as there are."""
    rope_scaling: str = ""
    """"none", "linear" or "yarn"; empty: the model's, as 0 is below, or less."""
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_orig_ctx: int = 0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0
    cpus: tuple[int, ...] = ()
    """CPUs that the threads for single tokens may use; empty: any. As `_batch`, for prompts:
    None and empty are the same as for single tokens."""
    cpus_batch: tuple[int, ...] = ()
    cpu_strict: int = 0
    cpu_strict_batch: int | None = None
    prio: int = 0
    prio_batch: int = 0
    poll: int = 50
    poll_batch: int | None = None
    numa: str = ""
    logits_all: bool = False
    """Room for the logits of every token of a step, for requests that ask for them."""
    warmup: bool = True
    verbosity: int = 3
    """How much of llama.cpp's log is passed on, as `--verbosity`."""

    @property
    def n_draft(self) -> int:
        """Most guessed tokens of a request in a step. All slots' together fit one ubatch."""
        if self.spec_type == "none":
            return 0
        n_ubatch = min(self.n_ubatch, self.n_batch, self.n_ctx or self.n_ubatch)
        return max(0, min(self.spec_size_m, n_ubatch // self.n_parallel - 2))
