"""What clients may send: one pydantic model for each request body."""
