"""Costs as the engine tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..memory import MemoryRow
from ..model import Model
from ..op_placement import PlacementReport
from ..server.config import EngineConfig
from ..server.loading import context_options, model_options
from ..tensor_listing import TensorListing, list_tensors
from ..weight_reads import weight_reads
from .cost import Cost

MAX_MODELS = 4


class EngineCosts:
    """Asks the engine of this process. A model's header is kept for as long as contexts over the
    same placement are asked for."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def __call__(self, config: EngineConfig) -> Cost:
        """Raises ContextError or ArgumentError for what cannot be, ModelError for the file."""
        model = self._model(model_options(config))
        options = context_options(config, model.n_ctx_train)
        plan = model.plan(**options)
        experts, others = weight_reads(model.tensors)
        return Cost(
            rows=plan.rows,
            n_ctx=plan.n_ctx,
            n_sequences=plan.n_parallel,
            kv_cell_bytes=plan.kv_cell_bytes,
            state_bytes=plan.recurrent_seq_bytes // (1 + plan.n_rs_seq),
            n_rollback=plan.n_rs_seq if plan.recurrent_seq_bytes else 0,
            window_bytes=plan.window_seq_bytes,
            expert_bytes=experts,
            weight_bytes=others,
            host_memory=model.host_memory,
        )

    def placement(self, config: EngineConfig) -> PlacementReport:
        """Where the ops of a configuration's graphs would run. Raises as a call does."""
        model = self._model(model_options(config))
        return model.placement(config.n_parallel, **context_options(config, model.n_ctx_train))

    def listing(self, config: EngineConfig, rows: Iterable[MemoryRow]) -> TensorListing:
        """Where a configuration's tensors go, by the row that says so. Raises as a call does."""
        model = self._model(model_options(config))
        return list_tensors(model.override_rows, model.tensors, rows)

    def split(self, config: EngineConfig) -> tuple[float, ...]:
        """Shares of the devices, as a server with this configuration has them now."""
        return self._model(model_options(config)).tensor_split

    def notes(self, config: EngineConfig) -> tuple[str, ...]:
        """What the model says about rows that disagree."""
        return self._model(model_options(config)).placement_notes

    def close(self) -> None:
        """Free what is kept."""
        for model in self._models.values():
            model.close()
        self._models.clear()

    def _model(self, options: dict[str, Any]) -> Model:
        key = repr(options)
        if key not in self._models:
            if len(self._models) >= MAX_MODELS:
                self._models.pop(next(iter(self._models))).close()
            self._models[key] = Model(no_alloc=True, **options)
        return self._models[key]
