"""`/completion` and `/v1/completions`: lengths, stops, prompts, streams, probabilities."""

from __future__ import annotations

from ..case import completion

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

FIRST_ONLY = {"usage.*": "llama-server counts the first answer's tokens only"}
ONE_TOKEN = dict.fromkeys(
    ("content", "choices.*.text", "tokens_predicted", "**.predicted_n", "usage.*"),
    "llama-server samples one token although its documentation says that it samples none",
)

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
        completion(f"n_probs {n}{path}", path, n_probs=n)
        for n in (1, 2, 5)
        for path in ("/completion", OPENAI)
    ),
    completion("logprobs", OPENAI, logprobs=2),
    completion("return_tokens", return_tokens=True),
    completion("return_tokens in a stream", return_tokens=True, stream=True),
    completion("response_fields", response_fields=["content", "generation_settings/n_predict"]),
    completion("null fields", top_k=None, stop=None, seed=None, samplers=None),
]
