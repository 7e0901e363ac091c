"""The llama.cpp pin: package, version, hash, path inside the archive, licence."""
