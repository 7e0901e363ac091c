"""Hugging Face checkpoint to GGUF."""
