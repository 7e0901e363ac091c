"""Calls that mean the same with llama-cpp-python and with pannier, and what they answer.

    PYTHONPATH=tests python -m llama.calls llama_cpp EXPECTED.json EMBEDDER.gguf

writes what a module answers; `test_differential.py` holds pannier against the answers of
llama-cpp-python 0.3.36 that are in `tests/data/llama_cpp_python.json`. The embedder is
all-MiniLM-L6-v2, converted with `--quant F16`.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"
MODELS = ("llama", "qwen3moe", "gemma3", "qwen3next", "mamba2")
"""Attention, experts, a sliding window, a hybrid and a recurrent one."""
FILES = {"demo": str(DATA.parents[1] / "convert" / "demo" / "pannier-demo.gguf")}
"""Models that are not among the data, by name."""
TEXT = "hello world, "
PROMPTS = (TEXT, "a", "", "one two three one two three one two", "naïve café ☺")
SEED = 1337
USER = {"role": "user", "content": "hello"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"],
        },
    },
}
FORMATS = (
    *("alpaca", "baichuan", "baichuan-2", "chatglm3", "chatml", "gemma", "llama-2", "llama-3"),
    *("mistral-instruct", "mistrallite", "oasst_llama", "openchat", "pygmalion", "qwen"),
    *("redpajama-incite", "saiga", "vicuna", "zephyr"),
)
WAYS = {
    "default": {},
    "hot": {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "narrow": {"temperature": 1.0, "top_k": 5, "top_p": 0.6},
    "min_p": {"temperature": 1.2, "min_p": 0.2, "top_p": 1.0},
    "typical": {"temperature": 1.0, "typical_p": 0.5},
    "penalties": {"repeat_penalty": 1.6, "frequency_penalty": 0.4, "presence_penalty": 0.3},
    "greedy penalties": {"temperature": 0.0, "repeat_penalty": 1.8},
    "drawn": {"temperature": -1.0},
    "mirostat": {"mirostat_mode": 1, "mirostat_tau": 3.0},
    "mirostat 2": {"mirostat_mode": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
    "mirostat, penalties": {
        "mirostat_mode": 2,
        "mirostat_tau": 5.0,
        "repeat_penalty": 1.4,
        "frequency_penalty": 0.3,
        "presence_penalty": 0.2,
    },
    "bias": {"temperature": 0.0, "logit_bias": {65: 100.0}},
}


def path_of(name: str) -> str:
    return FILES.get(name) or str(DATA / name / "model-f32.gguf")


def make(module: Any, name: str, **options: Any) -> Any:
    path = path_of(name)
    defaults = {"n_ctx": 256, "n_batch": 256, "n_threads": 1, "n_threads_batch": 1,
                "type_k": 0, "type_v": 0}  # fmt: skip
    return module.Llama(path, **{**defaults, "verbose": False, **options})


def plain(row: Any) -> Any:
    """Without what differs from call to call, and JSON-ready."""
    if isinstance(row, dict):
        return {
            key: plain(one) for key, one in row.items() if key not in ("id", "created", "model")
        }
    if isinstance(row, (list, tuple)):
        return [plain(one) for one in row]
    if isinstance(row, (str, int, bool)) or row is None:
        return row
    return round(float(row), 6)


def text_of(answer: Any) -> str:
    found: str = answer["choices"][0]["text"]
    return found


def words(module: Any, name: str) -> Any:
    llama = make(module, name, vocab_only=True)
    found = []
    for text in ("Hello World", "", " two  blanks", "naïve ☺", "<|im_start|>x</s>"):
        for add_bos, special in itertools.product((True, False), repeat=2):
            tokens = llama.tokenize(text.encode(), add_bos=add_bos, special=special)
            found.append([tokens, llama.detokenize(tokens).hex()])
    return [found, llama.n_vocab(), llama.n_embd(), llama.token_bos(), llama.token_eos()]


def greedy(module: Any, name: str) -> Any:
    llama = make(module, name, logits_all=True)
    found = []
    for prompt in PROMPTS:
        if not prompt and not llama.tokenize(b""):
            continue  # no tokens at all: llama-cpp-python samples from nothing
        options = {"temperature": 0.0, "max_tokens": 10}
        found.append(plain(llama.create_completion(prompt, **options)))
        if prompt:  # else llama-cpp-python's are those of the next token
            found.append(plain(llama(prompt, logprobs=3, **options)))
    tokens = llama.tokenize(TEXT.encode())
    found.append(plain(llama(tokens, max_tokens=6, temperature=0.0)))
    found.append(plain(llama(TEXT, max_tokens=4, temperature=0.0, logprobs=0)))
    found.append(plain(llama(TEXT, max_tokens=4, temperature=0.0, echo=True)))
    if tokens[0] == llama.token_bos():  # the same
        found.append(plain(llama(TEXT, max_tokens=4, temperature=0.0, echo=True, logprobs=2)))
    return found


def stops(module: Any, name: str) -> Any:
    llama = make(module, name)
    whole = text_of(llama(TEXT, max_tokens=24, temperature=0.0))
    found = []
    for begin, size in ((0, 1), (3, 2), (5, 4)):
        stop = whole[begin : begin + size]
        if not stop:
            continue
        options = {"max_tokens": 24, "temperature": 0.0, "stop": ["§never§", stop]}
        found.append([stop, plain(llama(TEXT, **options))])
        found.append(plain(list(llama(TEXT, stream=True, **options))))
    return found


def streams(module: Any, name: str) -> Any:
    llama = make(module, name, logits_all=True)
    options = {"max_tokens": 8, "temperature": 0.0, "stream": True}
    return [
        [plain(list(llama(TEXT, **options)))],
        [plain(list(llama(TEXT, logprobs=2, **options)))],
    ]


def seeded(module: Any, name: str) -> Any:
    found = {}
    for last_n in (64, -1, 4):
        llama = make(module, name, last_n_tokens_size=last_n)
        for key, way in WAYS.items():
            text = text_of(llama(TEXT, max_tokens=16, seed=SEED, **way))
            found[f"{key}, last {last_n}"] = text
    return found


def seeds_that_follow(module: Any, name: str) -> Any:
    llama = make(module, name, seed=7)
    options = {"max_tokens": 12, "temperature": 1.2}
    found = [text_of(llama(TEXT, **options)) for _ in range(3)]
    llama.set_seed(99)
    return [*found, *(text_of(llama(TEXT, **options)) for _ in range(2))]


def functions(module: Any, name: str) -> Any:
    """Python functions that take part."""
    llama = make(module, name)
    seen: list[int] = []

    def until(tokens: Any, logits: Any) -> bool:
        seen.append(len(tokens))
        return len(seen) > 4

    def only(tokens: Any, logits: Any) -> Any:
        logits[70:] = -1e9
        return logits

    criteria = module.StoppingCriteriaList([until])
    processors = module.LogitsProcessorList([only])
    found = [plain(llama(TEXT, temperature=0.0, stopping_criteria=criteria)), list(seen)]
    found.append(plain(llama(TEXT, temperature=0.0, max_tokens=6, logits_processor=processors)))
    found.append(
        text_of(llama(TEXT, seed=5, temperature=1.0, max_tokens=6, logits_processor=processors))
    )
    return found


def grammars(module: Any, name: str) -> Any:
    llama = make(module, name)
    found = []
    for text in ('root ::= "yes" | "no"', 'root ::= [0-9]+ "."', 'root ::= ("ab" | "cd"){2}'):
        grammar = module.LlamaGrammar.from_string(text, verbose=False)
        found.append(plain(llama(TEXT, temperature=0.0, max_tokens=12, grammar=grammar)))
    return found


def tokens(module: Any, name: str) -> Any:
    """`generate`, `eval`, `sample`, `scores`."""
    llama = make(module, name, logits_all=True)
    prompt = llama.tokenize(TEXT.encode())
    found: list[Any] = [list(itertools.islice(llama.generate(prompt, temp=0.0), 8))]
    found.append([list(llama.eval_tokens), [[row[0], row[-1]] for row in llama.eval_logits]])
    found.append([llama.eval_tokens.maxlen, llama.eval_logits.maxlen, llama.pooling_type()])
    llama.eval([])
    found.append(list(itertools.islice(llama.generate(prompt[:3], temp=0.0), 5)))
    llama.reset()
    llama.eval(prompt)
    found.append([llama.n_tokens, llama.sample(temp=0.0)])
    found.append([round(float(one), 4) for one in llama.scores[len(prompt) - 1, :24]])
    llama.eval([llama.sample(temp=0.0)])
    found.append([llama.n_tokens, llama.sample(temp=0.0)])
    found.append(llama.input_ids[: llama.n_tokens].tolist())
    return found


def limits(module: Any, name: str) -> Any:
    """Lengths up to the context's; errors by their kinds."""
    llama = make(module, name)
    found: list[Any] = [plain(llama(TEXT, max_tokens=n, temperature=0.0)) for n in (1, 2)]
    if name != "qwen3moe":  # whose half characters take llama-cpp-python beyond its context
        whole = llama(TEXT, max_tokens=None, temperature=0.0)
        found.append([whole["choices"][0]["finish_reason"], whole["usage"]])
    for work in (
        lambda: llama("x " * 2000),
        lambda: llama(TEXT, logprobs=1),
        lambda: llama.create_embedding("x"),
        lambda: llama(TEXT, nonsense=1),
        lambda: llama.create_chat_completion([USER], nonsense=1),
        lambda: make(module, name, n_ctx=-1),
        lambda: make(module, name, type_v=8),  # needs flash_attn
        lambda: make(module, "no such model"),
        lambda: module.Llama(__file__, verbose=False),
    ):
        try:
            work()
        except Exception as error:
            kinds = (ValueError, RuntimeError, TypeError)
            found.append([isinstance(error, kind) for kind in kinds])
    return found


def chats(module: Any, name: str) -> Any:
    llama = make(module, name, chat_format="chatml", n_ctx=512)
    system = {"role": "system", "content": "be short"}
    options = {"max_tokens": 8, "temperature": 0.0}
    found = [plain(llama.create_chat_completion([system, USER], **options))]
    found.append(plain(list(llama.create_chat_completion([USER], stream=True, **options))))
    json_object = {"type": "json_object"}
    choice = {"type": "function", "function": {"name": "look_up"}}
    for stream in (False, True):
        answer = llama.create_chat_completion(
            [USER], tools=[TOOL], tool_choice=choice, stream=stream, temperature=0.0, max_tokens=24
        )
        found.append(called(list(answer) if stream else [answer]))
    answer = llama.create_chat_completion([USER], response_format=json_object, **options)
    found.append(sorted(plain(answer)))
    every = make(module, name, logits_all=True)  # by the file's template, if it has one
    for stream in (False, True):
        answer = every.create_chat_completion(
            [system, USER], None, None, stream=stream, logprobs=True, top_logprobs=2, **options
        )
        found.append(plain(list(answer) if stream else answer))
    answer = llama.create_chat_completion([USER], logprobs=True, **options)
    return [*found, plain(answer)]


def called(rows: list[Any]) -> Any:
    """The call that an answer makes, and the shape of its first and last row: how many blanks the
    arguments have depends on the grammar."""
    arguments = ""
    for row in rows:
        choice = row["choices"][0]
        for call in (choice.get("message") or choice["delta"])["tool_calls"] or ():
            arguments += call["function"]["arguments"]
            assert call["id"].startswith("call__0_look_up_cmpl-")
    return [json.loads(arguments), shape(rows[0]), shape(rows[-1])]


def shape(row: Any) -> Any:
    """Keys, and the kinds of what is there."""
    if isinstance(row, dict):
        return {key: shape(one) for key, one in sorted(row.items())}
    if isinstance(row, list):
        return [shape(one) for one in row]
    return type(row).__name__


def noting(asked: list[Any]) -> Any:
    """A completion that notes its prompt and goes no further."""

    def create_completion(*prompt: Any, **options: Any) -> Any:
        asked.append([prompt[0] if prompt else options["prompt"], options["stop"]])
        raise StopIteration

    return create_completion


def formats(module: Any, name: str) -> Any:
    """The prompts that named formats write, as tokens' text."""
    conversations = (
        [USER],
        [{"role": "system", "content": "be short"}, USER],
        [USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "bye"}],
    )
    found = {}
    for chat_format in FORMATS:
        llama = make(module, name, vocab_only=True, chat_format=chat_format)
        asked: list[Any] = []
        llama.create_completion = noting(asked)
        for messages in conversations:
            try:
                llama.create_chat_completion(messages)
            except StopIteration:
                continue
        found[chat_format] = [
            [llama.detokenize(tokens, special=True).decode(), stop] for tokens, stop in asked
        ]
    return found


def talks(module: Any, name: str) -> Any:
    """A trained model, by its file's template. Its weights are quantised: no numbers."""
    llama = make(module, name, n_ctx=512)
    found = [plain(llama(text, max_tokens=24, temperature=0.0)) for text in ("Once upon", "hello")]
    for text in ("Who are you?", "Tell me a story."):
        messages = [{"role": "user", "content": text}]
        options = {"max_tokens": 24, "temperature": 0.0}
        found.append(plain(llama.create_chat_completion(messages, **options)))
        found.append(plain(list(llama.create_chat_completion(messages, stream=True, **options))))
    return found


def embeddings(module: Any, name: str) -> Any:
    found = []
    for pooling in (-1, 2, 3) if name == "embedder" else (1, 3, 0, -1):
        options = {"verbose": False, "n_threads": 1, "n_batch": 32, "pooling_type": pooling}
        llama = module.Llama(path_of(name), embedding=True, **options)
        found.append([llama.pooling_type(), llama.n_embd()])
        found += [embedded(llama, text) for text in ("hello", "a café ☺, " * 8)]
        if llama.pooling_type() > 0:  # llama-cpp-python mixes up the tokens of several texts
            answer = llama.create_embedding(["hello", "hello world"], model="name")
            found.append([plain(answer["usage"]), shape(answer)])
            found.append([first(row["embedding"]) for row in answer["data"]])
    return found


def embedded(llama: Any, text: str) -> Any:
    """One text in each way, and how many tokens count."""
    rows = [llama.embed(text, normalize=normalize) for normalize in (False, True)]
    counted = llama.embed([text], return_count=True)
    try:
        rows.append(llama.embed(text, truncate=False))
    except ValueError:
        rows.append([])
    return [[first(row) for row in rows], first(counted[0][0]), counted[1]]


def first(row: Any) -> Any:
    """How long an embedding is, and some of its numbers; of each token, if there are several."""
    if row and isinstance(row[0], list):
        return [first(one) for one in row]
    return [len(row), *(round(float(number), 5) for number in row[::24][:16])]


CALLS = {
    call.__name__: call
    for call in (words, greedy, stops, streams, seeded, seeds_that_follow, functions, grammars,
                 tokens, limits, chats, formats, talks, embeddings)
}  # fmt: skip
ONLY = {"embeddings": ("llama", "qwen3moe", "embedder"), "formats": ("llama",),
        "talks": ("demo",)}  # fmt: skip


def cases() -> list[tuple[str, str]]:
    return [(call, model) for call in CALLS for model in ONLY.get(call, MODELS)]


def main(name: str, out: str, embedder: str) -> None:
    module = importlib.import_module(name)
    FILES["embedder"] = embedder
    found = {}
    for call, model in cases():
        sys.stderr.write(f"{call} {model}\n")
        try:
            found[f"{call} {model}"] = CALLS[call](module, model)
        except Exception as error:  # what the module cannot do is part of the answer
            found[f"{call} {model}"] = {"error": f"{type(error).__name__}: {error}"}
    Path(out).write_text(json.dumps(found, indent=None, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
