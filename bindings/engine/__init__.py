"""The engine: find the source, apply the series, compile, store, load."""
