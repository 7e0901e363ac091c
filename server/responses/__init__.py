"""What the server answers: one pydantic model for each shape.

They describe; the answers are built by `shapes.py` and the api modules, and a test holds a real
server's answers against these.
"""
