"""quant-plan-imatrix: with an importance matrix, the types are those of llama-quantize's mix."""

import json

import gguf
import pytest

from tests.conftest import run_python

pytestmark = pytest.mark.engine

CODE = """
import json, sys
from pannier.quantize import QuantModel, QuantTensor, choose_types

model = QuantModel("llama", 8, 256, 256, 4, 4, 0, 64, 64)
tensors = [QuantTensor(f"blk.{i}.ffn_down.weight", (256, 4)) for i in range(8)]
choices = [
    [choice.type for choice in choose_types(model, tensors, int(sys.argv[1]), has_imatrix=imatrix)]
    for imatrix in (False, True)
]
print(json.dumps(choices))
"""


def types(engine, ftype):
    """The types without and with a matrix."""
    return json.loads(run_python(engine, CODE, str(int(ftype))))


# What the first layer of eight gets, without a matrix and with one: a recipe trusts the matrix
# there, or guards against what one can do.
RECIPES = {
    gguf.LlamaFileType.MOSTLY_IQ4_XS: ("Q5_K", "IQ4_XS"),
    gguf.LlamaFileType.MOSTLY_IQ3_XXS: ("Q4_K", "IQ3_XXS"),
    gguf.LlamaFileType.MOSTLY_Q4_0: ("Q4_0", "Q4_1"),
}


@pytest.mark.parametrize("ftype", RECIPES, ids=lambda ftype: ftype.name)
def test_types_with_the_patch(cpu_engine, ftype):
    plain, bold = types(cpu_engine, ftype)
    assert (plain[0], bold[0]) == RECIPES[ftype]


@pytest.mark.parametrize("ftype", RECIPES, ids=lambda ftype: ftype.name)
def test_wrong_without_the_patch(unpatched_engine, ftype):
    plain, bold = types(unpatched_engine, ftype)
    assert plain[0] == bold[0] == RECIPES[ftype][0]
