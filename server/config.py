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
    tensor_split: tuple[float, ...] = ()
    """The devices' shares of the layers; empty: by their free memory."""
    tensor_overrides: tuple[tuple[str, str], ...] = ()
    """Rows of (tensor name regex, buffer type), as `-ot`."""
    experts: str | None = None
    """"cpu", "gpu" or "auto"; None: as the file says."""
    n_cpu_moe: int = 0
    moe_cache_mib: int = 0
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: str = "auto"
    kv_unified: bool = True
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
    spec_type: str = "none"
    """Where guesses of the next tokens come from: "none" or "ngram-simple", the request itself."""
    spec_size_n: int = 4
    """Tokens that are compared."""
    spec_size_m: int = 8
    """Most tokens that are guessed at once. A recurrent state costs so many more."""
    swa_full: bool = False
    load_mode: str = "auto"
    """"auto", "mmap", "mlock", "mmap+mlock" or "none"."""
    memory_limits: tuple[tuple[str, int], ...] = ()
    """Rows of (device, most bytes of buffers there); what takes more does not start."""

    @property
    def n_draft(self) -> int:
        """Most guessed tokens of a request in a step. All slots' together fit one ubatch."""
        if self.spec_type == "none":
            return 0
        n_ubatch = min(self.n_ubatch, self.n_batch, self.n_ctx or self.n_ubatch)
        return max(0, min(self.spec_size_m, n_ubatch // self.n_parallel - 2))
