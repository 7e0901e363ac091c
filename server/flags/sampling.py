"""Flags of what requests get that do not say otherwise."""

from __future__ import annotations

from .flag import Flag, refused, switch, value
from .values import (
    at_least,
    breaker,
    clamped,
    number,
    positive,
    readable,
    sampler_letters,
    sampler_names,
    seed,
    token_bias,
    whole,
)


def _sampling(
    names: str, field: str, read: object, text: str, metavar: str = "N", **more: object
) -> Flag:
    return value(names, f"sampling.{field}", metavar, read, text, **more)  # type: ignore[arg-type]


SAMPLING: tuple[Flag, ...] = (
    _sampling("--temp --temperature", "temperature", clamped(0),
              "temperature; 0: always the most likely token", env="LLAMA_ARG_TEMPERATURE",
              usual=True),
    _sampling("--top-k", "top_k", whole(-(2**31), 2**31 - 1),
              "draw from the N most likely tokens; 0: from all", env="LLAMA_ARG_TOP_K", usual=True),
    _sampling("--top-p", "top_p", number(), "draw from the most likely tokens that together reach "
              "N; 1: all", env="LLAMA_ARG_TOP_P", usual=True),
    _sampling("--min-p", "min_p", number(), "leave out what is less than N times as likely as the "
              "best; 0: nothing", env="LLAMA_ARG_MIN_P", usual=True),
    _sampling("-s --seed", "seed", seed, "seed of the random choices; -1: another one each time",
              usual=True),
    _sampling("--samplers", "samplers", sampler_names, "samplers in order", "NAME;NAME;..."),
    _sampling("--sampler-seq --sampling-seq", "samplers", sampler_letters,
              "samplers in order, a letter each: e penalties, d dry, s top_n_sigma, k top_k, "
              "y typ_p, p top_p, m min_p, x xtc, t temperature, i infill, a adaptive_p", "LETTERS"),
    _sampling("--top-nsigma --top-n-sigma", "top_n_sigma", number(),
              "leave out what is more than N standard deviations below the best; -1: nothing"),
    _sampling("--typical --typical-p", "typical_p", number(),
              "draw from the tokens nearest to the expected information that together reach N; "
              "1: all"),
    _sampling("--xtc-probability", "xtc_probability", number(),
              "how often to leave out the best tokens; 0: never"),
    _sampling("--xtc-threshold", "xtc_threshold", number(),
              "those that are at least so likely, but for the last of them"),
    _sampling("--dynatemp-range", "dynatemp_range", number(),
              "let the temperature go so far up and down with the entropy; 0: not at all"),
    _sampling("--dynatemp-exp", "dynatemp_exponent", number(), "how entropy becomes temperature"),
    _sampling("--mirostat", "mirostat", whole(0, 2),
              "1 or 2: Mirostat of this version instead of top-k, top-p and typical-p; 0: none"),
    _sampling("--mirostat-lr", "mirostat_eta", number(), "Mirostat's learning rate"),
    _sampling("--mirostat-ent", "mirostat_tau", number(), "Mirostat's target entropy"),
    _sampling("--adaptive-target", "adaptive_target", number(),
              "probability that chosen tokens should have on average, where adaptive_p is among "
              "the samplers; below 0: none"),
    _sampling("--adaptive-decay", "adaptive_decay", number(0, 0.99),
              "how slowly that average forgets"),
    switch("--ignore-eos", "sampling.ignore_eos", "never end an answer by itself"),
    value("-l --logit-bias", "start.logit_bias", "TOKEN+BIAS", token_bias,
          "add to the logit of a token, as 15043+1, or take from it, as 15043-1; may be given "
          "several times", many=True),
)  # fmt: skip

PENALTIES: tuple[Flag, ...] = (
    _sampling("--repeat-last-n", "repeat_last_n", at_least(0),
              "tokens that the penalties look back on; 0: none"),
    _sampling("--repeat-penalty", "repeat_penalty", positive,
              "divide the logit of what was there already; 1: no penalty",
              env="LLAMA_ARG_REPEAT_PENALTY", usual=True),
    _sampling("--presence-penalty", "presence_penalty", number(),
              "take from the logit of what was there already; 0: nothing",
              env="LLAMA_ARG_PRESENCE_PENALTY"),
    _sampling("--frequency-penalty", "frequency_penalty", number(),
              "the same as often as it was there; 0: nothing", env="LLAMA_ARG_FREQUENCY_PENALTY"),
    _sampling("--dry-multiplier", "dry_multiplier", number(),
              "penalty for going on with a repetition; 0: none"),
    _sampling("--dry-base", "dry_base", clamped(1), "how it grows with the length"),
    _sampling("--dry-allowed-length", "dry_allowed_length", whole(0, 2**31 - 1),
              "longest repetition without a penalty"),
    _sampling("--dry-penalty-last-n", "dry_penalty_last_n", at_least(0),
              "tokens that it looks back on; 0: none"),
    _sampling("--dry-sequence-breaker", "dry_sequence_breakers", breaker,
              "a string at which repetitions end, instead of the usual ones; none: no such "
              "string; may be given several times", "TEXT", many=True),
)  # fmt: skip

ANSWERS: tuple[Flag, ...] = (
    value("-n --predict --n-predict", "server.n_predict", "N", at_least(-1),
          "most tokens of an answer; -1: until the model ends it", env="LLAMA_ARG_N_PREDICT",
          usual=True),
    value("--keep", "server.n_keep", "N", at_least(-1),
          "tokens at the start of the prompt that --context-shift keeps; -1: all"),
    value("-r --reverse-prompt", "server.stops", "TEXT", lambda text: (text,),
          "end answers before this text; may be given several times", many=True),
    switch("-e --escape", "start.escape", r"read \n, \t and the like in -r and "
           "--dry-sequence-breaker", off="--no-escape"),
    switch("-sp --special", "server.special", "show control tokens in answers"),
    value("--grammar", "sampling.grammar", "GRAMMAR", str, "a GBNF grammar that answers follow"),
    value("--grammar-file", "sampling.grammar", "FILE", readable, "such a grammar in a file"),
    refused("-j --json-schema", "no schema for all: give it with each request, or use --grammar",
            "SCHEMA"),
    refused("-jf --json-schema-file",
            "no schema for all: give it with each request, or a grammar with --grammar", "FILE"),
)  # fmt: skip
