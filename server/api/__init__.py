"""The endpoints: one module per noun, each with a `router`."""
