"""What a plan allows is held against what was allocated."""

from types import SimpleNamespace

import pytest

from pannier.errors import ContextError
from pannier.server.config import EngineConfig
from pannier.server.loading import check_limits


def test_a_context_beyond_its_plan_does_not_start():
    rows = [SimpleNamespace(device=device, bytes=5) for device in ("GPU0", "CPU", "GPU0")]
    context = SimpleNamespace(memory=lambda: SimpleNamespace(rows=rows))
    check_limits(context, EngineConfig(model="m", memory_limits=(("GPU0", 10), ("GPU1", 0))))
    with pytest.raises(ContextError, match="GPU0 take 10 bytes, 1 more"):
        check_limits(context, EngineConfig(model="m", memory_limits=(("GPU0", 9),)))
