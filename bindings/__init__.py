"""pannier: big mixture-of-experts and hybrid models on small GPUs, on llama.cpp."""
