"""Samplers: each parameter, their order, seeds, biases, probabilities after sampling."""

from __future__ import annotations

from ..case import Case, completion, refused

ASCII = "root ::= [a-z A-Z.,]+"
AFTER = {"post_sampling_probs": True, "grammar": ASCII}
HOT = {"temperature": 1.2, "seed": 7, "n_predict": 12}
ONE_AT_A_TIME = {
    "top_k": 3,
    "top_p": 0.5,
    "min_p": 0.3,
    "typical_p": 0.4,
    "top_n_sigma": 0.7,
    "xtc_probability": 0.9,
    "dynatemp_range": 0.5,
    "repeat_penalty": 1.8,
    "frequency_penalty": 1.5,
    "presence_penalty": 1.5,
    "dry_multiplier": 2.0,
    "mirostat": 1,
    "min_keep": 5,
    "repeat_last_n": 0,
    "seed": 11,
    "ignore_eos": True,
}
ORDERS = {
    "names": ["top_k", "temperature"],
    "other names": ["top-k", "nucleus", "typ", "minp", "temp"],
    "letters": "kypmxt",
    "letters of all": "edskypmxt",
    "temperature first": ["temperature", "top_p", "min_p"],
    "none": [],
    "infill": ["top_k", "infill"],
    "infill by its letter": "kit",
    "adaptive_p": ["top_k", "adaptive_p"],
}
WITH = {
    "top_p": {"min_keep": 4},
    "xtc_probability": {"xtc_threshold": 0.05},
    "dynatemp_range": {"dynatemp_exponent": 2.0},
    "repeat_penalty": {"repeat_last_n": 20},
    "dry_multiplier": {"dry_allowed_length": 1, "dry_penalty_last_n": 30, "dry_base": 2.0},
    "mirostat": {"mirostat_tau": 3.0, "mirostat_eta": 0.2},
}
OUT_OF_RANGE = {
    "top_k": -5,
    "top_p": 2.0,
    "min_p": -1.0,
    "mirostat": 9,
    "adaptive_target": 3.0,
    "temperature": -1.0,
}
BIASES = {
    "pairs": [[20, 5.0], [30, -5.0]],
    "forbidden": [[20, False], [21, False]],
    "text": [[" time", 8.0]],
    "object": {"20": 5.0, " upon": 4.0},
}

CASES = [
    *(
        completion(f"{name} {value}", **{**HOT, name: value, **WITH.get(name, {})})
        for name, value in ONE_AT_A_TIME.items()
    ),
    *(completion(f"order: {name}", **HOT, samplers=order) for name, order in ORDERS.items()),
    *(
        completion(f"greedy order: {name}", temperature=0, samplers=order)
        for name, order in ORDERS.items()
        if "temperature" in order or "t" in order
    ),
    completion("greedy and typical", temperature=0, typical_p=0.2),
    *(completion(f"{name} out of range", **{name: value}) for name, value in OUT_OF_RANGE.items()),
    *(
        completion(
            f"adaptive_target {target}",
            **HOT,
            samplers=["top_k", "min_p", "adaptive_p"],
            adaptive_target=target,
            adaptive_decay=0.5,
        )
        for target in (-1.0, 0.0, 0.4, 1.0)
    ),
    completion("mirostat 2", **HOT, mirostat=2),
    *(completion(f"logit_bias {name}", logit_bias=bias) for name, bias in BIASES.items()),
    *(
        completion(
            f"post_sampling_probs {name}{path}",
            path,
            **more,
            post_sampling_probs=True,
            grammar=ASCII,
        )
        for path in ("/completion", "/v1/completions")
        for name, more in {
            "greedy": {"n_probs": 3},
            "hot": {**HOT, "n_probs": 5},
            "few": {**HOT, "n_probs": 5, "top_k": 2},
            "none": {"n_probs": 0},
            "stream": {**HOT, "n_probs": 2, "stream": True},
        }.items()
    ),
    completion("n_probs of a hot one", **HOT, n_probs=4, grammar=ASCII),
    completion("n_probs of many", n_predict=2, n_probs=60, grammar=ASCII),
    completion("backend_sampling", backend_sampling=True),
    completion("grammar", grammar='root ::= "yes" | "no"'),
    completion("grammar and probs", grammar="root ::= [a-z ]+", n_probs=2),
    refused("adaptive_decay too large", "/completion", {"prompt": "a", "adaptive_decay": 1.0}),
    refused("min_keep negative", "/completion", {"prompt": "a", "min_keep": -1}),
    refused("no breakers", "/completion", {"prompt": "a", "dry_sequence_breakers": []}),
    refused("penalty of 0", "/completion", {"prompt": "a", "repeat_penalty": 0}),
    refused("a grammar that is none", "/completion", {"prompt": "a", "grammar": "root ::= ("}),
    Case(
        "sampling of gemma", "/completion", {"prompt": "a", "n_predict": 6, **HOT}, world="gemma3"
    ),
    Case(
        "sampling of qwen3next",
        "/completion",
        {"prompt": "a", "n_predict": 6, **HOT},
        world="qwen3next",
    ),
]
