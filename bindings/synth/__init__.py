"""Header-true synthetic models: GGUF files with the shapes, types and metadata of published
models, and random weights.

    write_model(Path("q.gguf"), make_synthesis("qwen3-coder-next", n_layer=4))
"""

NAMES = ("qwen3-coder-next", "nemotron-3-nano", "kimi-linear", "qwen3.6-35b-a3b", "gpt-oss-120b")
"""What can be made; `models.MODELS` has their sizes."""
