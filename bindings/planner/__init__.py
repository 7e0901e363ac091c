"""Plans: where a model's parts go and how large its context may be, before anything is loaded.

`search.py` chooses, over what `cost.py` says of a configuration; `engine_costs.py` asks the engine,
a test asks a function of its own. No module but that one, `headroom.py` and `survey.py` knows an
engine.
"""

from .budget import Budget
from .cost import Cost, Costs
from .facts import ModelFacts
from .plan import Plan
from .search import make_plan
from .wish import Prefer, Wish

__all__ = ["Budget", "Cost", "Costs", "ModelFacts", "Plan", "Prefer", "Wish", "make_plan"]
