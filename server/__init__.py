"""The pannier server: scheduler, engine loop, HTTP API."""
