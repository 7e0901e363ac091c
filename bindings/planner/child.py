"""A plan made in a process of its own: the contexts that drivers open for it end with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import ArgumentError, EngineError, PannierError
from ..server.config import EngineConfig
from .budget import HOST, Budget
from .plan import Plan
from .wish import PLACING, PLANNABLE, Prefer

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Question:
    """A wish before anybody has looked at the machine. `config` names the engine."""

    config: EngineConfig
    fixed: frozenset[str]
    vram: tuple[int, ...] = ()
    """Bytes of the first devices; none: what is free on all."""
    prefer: Prefer = "speed"
    trace: str = ""
    """File of a trace of the model's routers; empty: none."""
    show_tensors: bool = False


def question_of(
    config: EngineConfig, given: Mapping[str, Any], show_tensors: bool = False
) -> Question:
    """What the operator asks; `given` are values by what they set, as "engine.n_ctx"."""
    fixed = {field for field in PLANNABLE if f"engine.{field}" in given}
    if config.n_ctx:
        fixed.add("n_ctx")
    if config.experts == "auto":
        fixed.discard("experts")
        if not given.get("start.vram"):
            fixed |= {"cache_type_k", "cache_type_v"}  # asked about experts, and no more
    prefer: Prefer = given.get("start.prefer", "speed")
    trace = given.get("start.trace", "")
    return Question(
        config, frozenset(fixed), given.get("start.vram", ()), prefer, trace, show_tensors
    )


def ask(question: Question) -> Plan:
    """The answer from a child. Raises PlanError, and whatever the engine says of the file."""
    return in_child(answer, question)


def ask_for_experts(question: Question) -> Plan | None:
    """The plan of `--experts auto`; None where there is nothing to plan: no device, a placement
    by other flags, or a server whose memory is not known to plans."""
    return in_child(answer_for_experts, question)


def in_child(work: Callable[[Q], A], question: Q) -> A:
    """What a function of some module answers in a process of its own, which loads what engine it
    likes. Raises what it raises, and EngineError where it ends without a word."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, work, question), daemon=False)
    process.start()
    theirs.close()
    try:
        found: tuple[A | None, PannierError | None] = ours.recv()
    except EOFError:
        process.join()
        raise EngineError(
            f"the engine ended with status {process.exitcode} while it was asked"
        ) from None
    process.join()
    answer, error = found
    if error is not None:
        raise error
    return cast(A, answer)


def answer(question: Question) -> Plan:
    """The plan, made in this process."""
    from .. import _ffi
    from ..device import devices
    from ..engine.store import open_engine
    from ..modelfile import open_model_file
    from .engine_costs import EngineCosts
    from .facts import ModelFacts
    from .machine import measured
    from .search import make_plan
    from .speed import HITS
    from .survey import budgets_of
    from .traced import traced_hits
    from .wish import Wish

    if question.config.embeddings or question.config.adapters:
        raise ArgumentError(
            "a plan knows neither embeddings nor adapters: leave --vram out, or them"
        )
    if question.config.engine:
        _ffi.load(open_engine(Path(question.config.engine)).library)
    budgets = budgets_of(question.config, question.vram)
    config = replace(question.config, devices=_named(question, budgets))
    facts = ModelFacts.of(open_model_file(config.model, config.kv_overrides))
    hits = traced_hits(question.trace, facts) if question.trace else HITS
    costs = EngineCosts()
    try:
        wish = Wish(config, question.fixed, budgets, question.prefer)
        if not wish.places:
            wish = replace(wish, config=replace(config, tensor_split=costs.split(config)))
        plan = make_plan(wish, facts, costs, measured(devices()), hits)
        problems = costs.placement(plan.config).problems
        rows = plan.cost.rows
        return replace(
            plan,
            misplaced=tuple(map(str, problems)),
            trace=Path(question.trace).name,
            notes=costs.notes(plan.config),
            tensors=costs.listing(plan.config, rows) if question.show_tensors else None,
        )
    finally:
        costs.close()


def answer_for_experts(question: Question) -> Plan | None:
    """The same, made in this process."""
    from .. import _ffi
    from ..engine.store import open_engine
    from .survey import used_devices

    config = question.config
    if config.engine:
        _ffi.load(open_engine(Path(config.engine)).library)
    if config.embeddings or config.adapters or question.fixed & PLACING:
        return None
    return answer(question) if used_devices(config) else None


def _named(question: Question, budgets: Sequence[Budget]) -> tuple[str, ...]:
    """The devices by name where there is a limit for some: no other may be used then."""
    names = tuple(budget.device for budget in budgets if budget.device != HOST)
    return names if question.vram else question.config.devices


def _work(connection: Connection, work: Callable[[Q], A], question: Q) -> None:
    with connection:
        try:
            connection.send((work(question), None))
        except PannierError as error:
            connection.send((None, error))
