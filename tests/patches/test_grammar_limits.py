"""grammar-limits: a grammar, or what a model writes, cannot end the process or fill the memory."""

from __future__ import annotations

import json

import pytest

from pannier.engine import Engine
from tests.conftest import run_python
from tests.patches.conftest import HERE

pytestmark = pytest.mark.engine

MODEL = HERE.parent / "data" / "llama" / "model-f32.gguf"

CODE = """
import json, resource, sys
from pannier import Batch, Model, PannierError, SamplingParams
from pannier.sampling import GrammarTrigger

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
with Model(sys.argv[1]) as model, model.context(n_ctx=256, n_parallel=1, n_threads=1) as context:
    for case in json.load(sys.stdin if len(sys.argv) < 3 else open(sys.argv[2])):
        history = model.tokenize(case.get("said", ""), add_special=False)
        triggers = tuple(GrammarTrigger(*row) for row in case.get("triggers", ()))
        sampling = SamplingParams.greedy().with_changes(
            grammar=case["grammar"], grammar_lazy=bool(triggers), grammar_triggers=triggers
        )
        try:
            context.set_sampler(0, sampling, history, n_generated=len(history))
            batch = Batch()
            batch.add(0, [1], sample=True)
            print(json.dumps(model.piece(context.step(batch).sampled[0].token).decode("latin-1")))
            context.sequence(0).clear()
        except PannierError as error:
            print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def answers(engine: Engine, tmp_path, cases: list[dict[str, object]]) -> list[str]:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    printed = run_python(engine, CODE, str(MODEL), str(path), timeout_s=120)
    return [json.loads(line) for line in printed.splitlines()]


def chain(n: int, rule: str) -> str:
    """Rules that each begin with the next."""
    rules = [f"a{i} ::= {rule.format(f'a{i + 1}')}" for i in range(n)]
    return "\n".join(["root ::= a0", *rules, f'a{n} ::= "x"'])


REFUSED = {
    'root ::= "a"{3,1}': "fewer than the least",
    'root ::= "' + "a" * 1_000_000 + '"{2000}': "too long",
    chain(10_000, '{}? "y"'): "begin with rules",
    'root ::= root "a"': "left recursion",
}


def test_attacks(cpu_engine: Engine, tmp_path) -> None:
    got = answers(cpu_engine, tmp_path, [{"grammar": grammar} for grammar in REFUSED])
    for answer, reason in zip(got, REFUSED.values(), strict=True):
        assert answer.startswith("ArgumentError") and reason in answer


def test_rules_that_share_rules_are_visited_once(cpu_engine: Engine, tmp_path) -> None:
    assert answers(cpu_engine, tmp_path, [{"grammar": chain(200, "{0} | {0}")}]) == ["x"]


LAZY = 'root ::= "GO" "x"'


@pytest.mark.parametrize("n", [0, 1, 1021, 1022, 1023, 5000])
def test_a_trigger_is_found_however_much_comes_before(cpu_engine: Engine, tmp_path, n: int) -> None:
    case = {"grammar": LAZY, "said": "y" * n + "GO", "triggers": [[1, "GO"]]}
    assert answers(cpu_engine, tmp_path, [case]) == ["x"]


def test_white_space_without_end(cpu_engine: Engine, tmp_path) -> None:
    patterns = [[2, "^\\s+to$"], [2, "GO\\s+to"]]
    case = {"grammar": LAZY, "said": "\n" * 200_000, "triggers": patterns}
    (answer,) = answers(cpu_engine, tmp_path, [case])
    assert "Error" not in answer


def test_an_anchored_trigger_is_for_the_beginning(cpu_engine: Engine, tmp_path) -> None:
    case = {"grammar": LAZY, "triggers": [[2, "^G(O)$"]]}
    early = {**case, "grammar": 'root ::= "O" "x"', "said": "GO"}
    late = {**case, "grammar": 'root ::= "O" "x"', "said": "y" * 2000 + "GO"}
    first, second = answers(cpu_engine, tmp_path, [early, late])
    assert first == "x"
    assert second != "x"
