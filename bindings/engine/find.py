"""Find the engine to load, or build it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BuildError, EngineError, EngineNotFound
from . import backends
from .cache import cache_directory
from .compile import compile_engine
from .options import BACKENDS, BuildOptions
from .progress import say
from .recipe import Recipe, make_recipe, rebuild_key
from .store import (
    KEY_DIGITS,
    Engine,
    building,
    engine_name,
    open_engine,
    publish,
    stored_engine,
    stored_engines,
)


def find_engine(wanted: str | Sequence[str] | None = None) -> Engine:
    """The engine to load.

    `wanted` names backends, the main one first, such as "vulkan" or
    ("cpu", "rpc"). Without it PANNIER_ENGINE counts: an engine's folder or a
    backend's name. Without that: the backend that this machine would choose,
    else whatever was built last. Only engines whose sources are unchanged are
    taken, except for a folder named outright. Raises EngineNotFound.
    """
    named = os.environ.get("PANNIER_ENGINE") if wanted is None else None
    if named and named not in BACKENDS:
        return _open_named(Path(named).expanduser())
    names = _names(named or wanted)
    plain = [engine for engine in stored_engines() if _is_plain(engine)]
    fitting = [engine for engine in plain if _fits(engine, names)]
    current = [engine for engine in fitting if is_current(engine)]
    if not current:
        raise EngineNotFound(_not_found(names, fitting))
    if names or len(current) == 1:
        return current[0]
    best = backends.choose_backend().backend
    return next((engine for engine in current if engine.backends[0] == best), current[0])


def ensure_engine(options: BuildOptions | str | None = None, verbose: bool = False) -> Engine:
    """The engine of these options, built now when it is not there.

    A backend's name stands for its plain engine; None means the one that
    `find_engine` would take, else the best for this machine. One that was built
    with more (tools, RPC) also serves. Raises ToolchainError, SourceError,
    PatchError or BuildError.
    """
    if options is None:
        named = os.environ.get("PANNIER_ENGINE") or "auto"
        if named not in ("auto", *BACKENDS):
            return _open_named(Path(named).expanduser())
        options = BuildOptions(backend=named)
    elif isinstance(options, str):
        options = BuildOptions(backend=options)
    recipe = make_recipe(options)
    return _stored_with_more(recipe) or build_engine(recipe, verbose)


def build_engine(recipe: Recipe, verbose: bool = False) -> Engine:
    """Build the engine of `recipe` unless somebody does so first. Raises as `ensure_engine`."""
    try:
        with building(recipe) as work:
            return stored_engine(recipe) or _build(recipe, work, verbose)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        tip = "Free some space there" if full else "Make that folder writable"
        raise BuildError(
            f"cannot build in {cache_directory()}: {error}. {tip}, or set PANNIER_CACHE to another"
        ) from None


def _build(recipe: Recipe, work: Path, verbose: bool) -> Engine:
    say(f"building the {recipe.options.backend} engine {recipe.key[:KEY_DIGITS]}")
    log = cache_directory() / "logs" / f"{engine_name(recipe)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    made = compile_engine(recipe, work, log, verbose)
    return publish(recipe, made, work, log)


def is_current(engine: Engine) -> bool:
    """Whether building the engine's options now would give the same engine."""
    options, source = engine.manifest.options, engine.manifest.source
    try:
        return rebuild_key(options, source) == engine.manifest.key
    except EngineError:  # without the compiler nobody can tell, and nothing could be rebuilt
        return True


def _stored_with_more(recipe: Recipe) -> Engine | None:
    """The engine of `recipe`, or one that has tools or RPC on top."""
    for tools in sorted({recipe.options.tools, True}):
        for rpc in sorted({recipe.options.rpc, True}):
            options = replace(recipe.options, tools=tools, rpc=rpc)
            if engine := stored_engine(replace(recipe, options=options)):
                return engine
    return None


def _open_named(directory: Path) -> Engine:
    try:
        engine = open_engine(directory)
    except EngineError as error:
        raise EngineNotFound(f"PANNIER_ENGINE names no engine: {error}") from None
    if not is_current(engine):
        say(f"warning: the engine in {directory} is older than its sources")
    return engine


def _names(wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return ()
    return (wanted,) if isinstance(wanted, str) else tuple(wanted)


def _fits(engine: Engine, names: tuple[str, ...]) -> bool:
    if names and engine.backends[0] != names[0]:
        return False
    return set(names) <= set(engine.backends)


def _is_plain(engine: Engine) -> bool:
    """Whether the engine is one to work with, not one made to compare or to debug."""
    options = engine.manifest.options
    return not (options.unpatched or options.bench_patches or options.sanitize)


def _not_found(names: tuple[str, ...], stale: Sequence[Engine]) -> str:
    what = f"no {' + '.join(names)} engine" if names else "no engine"
    command = "pannier build" + (f" --backend {names[0]}" if names else "")
    tip = f"Run `{command}`"
    if stale:
        return f"{what} of the present sources: {stale[0].name} is older than they are. {tip}"
    return f"{what} has been built. {tip}"
