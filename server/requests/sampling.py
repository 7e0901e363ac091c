"""Fields of the sampler chain.

Source of names, aliases, defaults and ranges: `make_llama_cmpl_schema` in llama.cpp's
`tools/server/server-schema.cpp`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from ...sampling import DEFAULT_SAMPLERS, DEFAULT_SEED, SAMPLER_CHARS, SAMPLERS, SamplingParams
from .base import RequestBody
from .logit_bias import LogitBias
from .types import Natural, Number, Real, Share, unexpected, whole

OTHER_NAMES = {
    **{name.replace("_", "-"): name for name in SAMPLERS},
    **{name.replace("_", ""): name for name in SAMPLERS},
    "nucleus": "top_p",
    "temp": "temperature",
    "typ": "typ_p",
}


def _samplers(value: Any) -> tuple[str, ...]:
    letters = isinstance(value, str)
    names = [SAMPLER_CHARS.get(letter, letter) for letter in value] if letters else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise unexpected("a string or a list of strings", value)
    known = [OTHER_NAMES.get(name, name) for name in names]
    for name in known:
        if name not in SAMPLERS:
            raise unexpected(f"names out of {', '.join(SAMPLERS)}", name)
    return tuple(known)


def _breakers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise unexpected("a list of strings, not empty", value)
    return tuple(value)


Samplers = Annotated[
    tuple[str, ...],
    PlainValidator(_samplers),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"enum": list(SAMPLERS)}},
                {"type": "string", "pattern": f"^[{''.join(SAMPLER_CHARS)}]*$"},
            ],
            "x-type": "list of strings, or a string of llama.cpp's letters",
        }
    ),
]
Breakers = Annotated[tuple[str, ...], PlainValidator(_breakers, json_schema_input_type=list[str])]
Seed = Annotated[int, whole(-(2**63), 2**64 - 1), AfterValidator(lambda seed: seed & DEFAULT_SEED)]
Temperature = Annotated[float, Number(0, clamp=True)]


class SamplingBody(RequestBody):
    """Defaults are llama.cpp's; those of the model file (`general.sampling.*`) come before them,
    and `/props` shows what holds."""

    section = "Sampling"

    samplers: Samplers = DEFAULT_SAMPLERS
    """Samplers in order, out of these."""
    seed: Seed = -1
    """Where the random numbers start; -1 draws a random one."""
    temperature: Temperature = SamplingParams.temperature
    """How flat the distribution is made; 0: always the most likely token."""
    top_k: Annotated[int, whole(0, clamp=True)] = SamplingParams.top_k
    """Only so many most likely tokens; 0: all."""
    top_p: Share = SamplingParams.top_p
    """Only the most likely tokens that together have this probability; 1: all."""
    min_p: Share = SamplingParams.min_p
    """Only tokens with at least this share of the most likely one's probability; 0: all."""
    typical_p: Real = SamplingParams.typical_p
    """Only the most typical tokens that together have this probability; 1: all."""
    top_n_sigma: Real = SamplingParams.top_n_sigma
    """Only tokens whose logit is within so many standard deviations of the best; negative: all."""
    xtc_probability: Share = SamplingParams.xtc_probability
    """How often XTC takes the most likely tokens out; 0: never."""
    xtc_threshold: Share = SamplingParams.xtc_threshold
    """The probability from which XTC takes a token out; above 0.5: none."""
    dynatemp_range: Real = SamplingParams.dynatemp_range
    """How far the temperature moves with the entropy, to both sides; 0: not at all."""
    dynatemp_exponent: Real = SamplingParams.dynatemp_exponent
    """How the entropy becomes a temperature."""
    repeat_last_n: Natural = SamplingParams.repeat_last_n
    """Tokens that the penalties look back on; 0: none."""
    repeat_penalty: Real = SamplingParams.repeat_penalty
    """What divides the logit of a token that was there; 1: nothing."""
    frequency_penalty: Real = SamplingParams.frequency_penalty
    """What a token's logit loses each time it was there."""
    presence_penalty: Real = SamplingParams.presence_penalty
    """What the logit of a token that was there loses."""
    dry_multiplier: Real = SamplingParams.dry_multiplier
    """Strength of the DRY penalty on repeated sequences; 0: off."""
    dry_base: Real = SamplingParams.dry_base
    """How DRY's penalty grows with the length of the repetition; below 1 means the default."""
    dry_allowed_length: Natural = SamplingParams.dry_allowed_length
    """Repetitions up to this length go free."""
    dry_penalty_last_n: Natural = SamplingParams.dry_penalty_last_n
    """Tokens that DRY looks back on; 0: none."""
    dry_sequence_breakers: Breakers = SamplingParams.dry_sequence_breakers
    """Where DRY stops looking back; not empty."""
    mirostat: Annotated[int, whole(0, 2, clamp=True)] = SamplingParams.mirostat
    """Mirostat's version; 0: off."""
    mirostat_tau: Real = SamplingParams.mirostat_tau
    """Mirostat's target entropy."""
    mirostat_eta: Real = SamplingParams.mirostat_eta
    """Mirostat's learning rate."""
    adaptive_target: Annotated[float, Number(high=1, clamp=True)] = SamplingParams.adaptive_target
    """The probability that chosen tokens have on average, 0 to 1, where `adaptive_p` is among the
    samplers; negative: off."""
    adaptive_decay: Annotated[float, Number(0, 0.99)] = SamplingParams.adaptive_decay
    """How much the past counts in that average: about `1 / (1 - decay)` tokens."""
    min_keep: Natural = SamplingParams.min_keep
    """Samplers leave at least so many tokens."""
    ignore_eos: bool = SamplingParams.ignore_eos
    """Never sample the end of the answer."""
    logit_bias: LogitBias = Field(default_factory=dict)
    """What is added to the logits of tokens; a text stands for each of its tokens, and `false`
    as bias forbids."""
    post_sampling_probs: bool = SamplingParams.post_sampling_probs
    """With `n_probs`: the probabilities of what the samplers left, instead of the logarithms of
    those that the model gave; `prob` and `top_probs` in place of `logprob` and `top_logprobs`."""
    backend_sampling: bool = False
    """Lets llama-server sample on the device. The tokens are the same; here they are always
    sampled on the CPU."""
    grammar: str = SamplingParams.grammar
    """A GBNF grammar that the answer follows."""

    def sampling(self, base: SamplingParams) -> SamplingParams:
        """The server's defaults with the request's changes."""
        changes = {name: getattr(self, name) for name in self.model_fields_set & SAMPLING_FIELDS}
        if self.dry_base < 1.0:
            del changes["dry_base"]  # as llama-server: too small means the default
        return base.with_changes(**changes)


SAMPLING_FIELDS = SamplingBody.model_fields.keys() - {"backend_sampling"}
