"""The flags of `pannier serve`: llama-server's, and those that it lacks, as data."""
