"""The patch series applied to the pinned llama.cpp."""
