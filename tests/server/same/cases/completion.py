"""`/completion` and `/v1/completions`: lengths, stops, prompts, streams, probabilities."""

from __future__ import annotations

from ..case import completion, refused

OPENAI = "/v1/completions"
PROMPTS = {
    "text": "Once upon a time",
    "tokens": [5, 6, 7, 8, 9],
    "mixed": ["Once", 5, " upon", 7],
    "mixed, token first": [5, "Once"],
    "several": ["Once upon", "The cat"],
    "several kinds": ["Once upon", [5, 6, 7], ["The", 9]],
    "an object": {"prompt_string": "Once upon"},
    "special": "<s>Once",
    "accents": "Grüße 🦙",
}

ASCII = "root ::= [a-z A-Z.,]+"
"""Of a token that ends within a character llama-server tells nothing by itself: it joins its bytes
with the next token's. pannier tells of each token. So these answers have ASCII only."""
FIRST_ONLY = {"usage.*": "llama-server counts the first answer's tokens only"}
ONE_TOKEN = dict.fromkeys(
    ("content", "choices.*.text", "tokens_predicted", "**.predicted_n", "usage.*"),
    "llama-server samples one token although its documentation says that it samples none",
)

HELD_BACK = dict.fromkeys(
    ("completion_probabilities", "choices.*.logprobs.content"),
    "llama-server lists the text that each token set free, which is none where it may begin a stop "
    "string, and leaves out as many tokens as the stop string has; pannier lists the tokens of the "
    "text",
)
LAST_CELL = dict.fromkeys(
    ("content", "tokens_predicted", "tokens_cached", "timings.predicted_n"),
    "llama-server leaves the last cell of a context empty",
)
LINES = 'root ::= "if x:" ("\\n    " [a-z]){3} "\\n  " [a-z] "\\n" [a-z]+'

CASES = [
    *(completion(f"prompt {name}", prompt=prompt) for name, prompt in PROMPTS.items()),
    *(
        completion(
            f"prompt {name} {OPENAI}",
            OPENAI,
            FIRST_ONLY if name.startswith("several") else {},
            prompt=prompt,
        )
        for name, prompt in PROMPTS.items()
    ),
    *(
        completion(f"n_predict {n}{path}", path, {} if n else ONE_TOKEN, n_predict=n)
        for n in (0, 1, 2, 40)
        for path in ("/completion", OPENAI)
    ),
    completion("max_tokens", n_predict=None, max_tokens=3),
    completion(
        "max_completion_tokens first", n_predict=None, max_tokens=3, max_completion_tokens=4
    ),
    *(
        completion(f"stream{path} {n_probs} probs", path, stream=True, n_probs=n_probs)
        for path in ("/completion", OPENAI)
        for n_probs in (0, 3)
    ),
    *(
        completion(f"n_probs {n}{path}", path, n_probs=n, grammar=ASCII)
        for n in (1, 2, 5)
        for path in ("/completion", OPENAI)
    ),
    completion("logprobs", OPENAI, logprobs=2),
    completion("return_tokens", return_tokens=True),
    completion("return_tokens in a stream", return_tokens=True, stream=True),
    completion("response_fields", response_fields=["content", "generation_settings/n_predict"]),
    *(
        completion(
            f"stop {stop!r} {more}{path}",
            path,
            HELD_BACK,
            n_predict=60,
            stop=stop,
            grammar=ASCII,
            **more,
        )
        for stop in ("e", [" th", "a"], ["never in there"])
        for more in ({}, {"stream": True}, {"n_probs": 2})
        for path in ("/completion", OPENAI)
    ),
    *(
        completion(f"return_progress{path}{more}", path, stream=True, return_progress=True, **more)
        for path in ("/completion", OPENAI)
        for more in ({}, {"n_probs": 1}, {"timings_per_token": True})
    ),
    completion("return_progress without a stream", return_progress=True),
    *(
        completion(f"n_indent {n}{more}", n_indent=n, grammar=LINES, n_predict=40, **more)
        for n in (0, 1, 2, 3, 5)
        for more in ({}, {"stream": True})
    ),
    completion("t_max_predict_ms far away", t_max_predict_ms=100000, n_predict=20),
    completion("t_max_predict_ms -1", t_max_predict_ms=-1),
    *(
        completion(f"verbose{path}{more}", path, verbose=True, **more)
        for path in ("/completion", OPENAI)
        for more in ({}, {"stream": True}, {"n_probs": 2})
    ),
    completion("echo", OPENAI, echo=True),
    completion("n_cache_reuse", n_cache_reuse=64),
    completion("n_discard", n_discard=5, n_keep=3),
    *(
        completion(f"n {n} {more}{path}", path, FIRST_ONLY, n=n, **more)
        for n in (1, 2)
        for more in ({}, {"temperature": 1.0, "seed": 5}, {"n_probs": 1})
        for path in ("/completion", OPENAI)
    ),
    *(
        completion(f"timings_per_token{path}", path, timings_per_token=True, stream=True)
        for path in ("/completion", OPENAI)
    ),
    completion(
        "the context is full",
        ignore=LAST_CELL,
        prompt=[5] * 240,
        n_predict=-1,
        ignore_eos=True,
        world="small",
    ),
    completion("as much as fits", prompt=[5] * 240, n_predict=10, ignore_eos=True, world="small"),
    *(
        completion(
            f"{world}", world=world, n_predict=20, n_probs=3, prompt="The king", grammar=ASCII
        )
        for world in ("gemma3", "qwen3next")
    ),
    refused("too long", "/completion", {"prompt": [5] * 300}, world="small"),
    refused(
        "too long, in a stream", "/completion", {"prompt": [5] * 300, "stream": True}, world="small"
    ),
    refused("no prompt", "/completion", {}),
    refused("an empty list", "/completion", {"prompt": []}),
    refused("a number", "/completion", {"prompt": 5}),
    refused("n_predict below -1", "/completion", {"prompt": "a", "n_predict": -2}),
    refused("n_predict a text", "/completion", {"prompt": "a", "n_predict": "5"}),
    refused("more answers than slots", "/completion", {"prompt": "a", "n": 3}),
    refused("stream a number", "/completion", {"prompt": "a", "stream": 1}),
    refused("n_indent negative", "/completion", {"prompt": "a", "n_indent": -1}),
    refused("t_max_predict_ms below -1", "/completion", {"prompt": "a", "t_max_predict_ms": -2}),
    completion("null fields", top_k=None, stop=None, seed=None, samplers=None),
]
