"""`Llama`: llama-cpp-python's calls, each a slot of one context."""

from __future__ import annotations

import contextlib
import random
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..adapter import Adapter
from ..context import Context
from ..cpu_threads import set_numa
from ..errors import ArgumentError, ClosedError, ContextError, RequestError
from ..free_sampler import Sampler
from ..model import Model
from ..pool import Pool
from ..server.loading import embedding_options
from ..server.messages import Adapters
from .arguments import Arguments
from .cache import BaseLlamaCache, n_common
from .callables import Logits, LogitsProcessorList, StoppingCriteriaList
from .chat import ChatArguments, ChatHandler, handler_of
from .completion import Completion, Request
from .coroutines import Work
from .grammar import LlamaGrammar
from .hub import download
from .position import LlamaState, Position
from .sampling import Chain
from .signature import parameters, show, takes
from .tokens import Wanted, all_logits, choose, last_logits, log_softmax, sampled, stepped

Row = dict[str, Any]
AHEAD = 32
"""Tokens beyond `max_tokens` that characters without their end may take."""


class Llama:
    """A GGUF model under llama-cpp-python's API, for any number of threads and coroutines.

    The arguments are those of llama-cpp-python 0.3.36 with its defaults; one that is not known
    raises TypeError, one that pannier does not have ArgumentError. Calls from several threads are
    computed together and share what their prompts have in common; a thread waits for nobody but
    for a free slot. Besides:

    Args:
        n_parallel: most calls that are computed at once; others wait.
        n_cells: tokens of context for all of them together, `n_ctx` if that is more. A call starts
            when its prompt and `max_tokens` fit beside the others'.
        experts, n_cpu_moe, devices: as `pannier.Model`.
        moe_cache_mib: MiB on the devices for experts that are kept in CPU memory.

    Raises ArgumentError and ModelError, which are ValueErrors.
    """

    @takes(Arguments)
    def __init__(self, args: Arguments) -> None:
        self._arguments = args
        if args.numa:
            set_numa(
                {1: "distribute", 2: "isolate", 3: "numactl"}.get(int(args.numa), "distribute")
            )
        self._lock = threading.RLock()
        """Over the seed and what is made when it is first needed; nobody computes under it."""
        self._position_lock = threading.RLock()
        """`eval`, `sample` and their like take turns."""
        self._closed = False
        self._pool: Pool | None = None
        self._embedder: Context | None = None
        self._executor: ThreadPoolExecutor | None = None
        self.model_path = args.model_path
        self.verbose = args.verbose
        self.chat_format = args.chat_format
        """A name of `formats.py`; None: the file's template, or "llama-2" where it has none."""
        self.chat_handler: ChatHandler | None = args.chat_handler
        self.tokenizer_ = args.tokenizer
        self.cache: BaseLlamaCache | None = None
        self._seed = args.seed or 0xFFFFFFFF
        self._model = Model(**args.model_options)
        self.metadata = self._model.metadata
        if self.chat_format is None and self._model.chat_template is None:
            self.chat_format = "llama-2"
        self._config = args.config(self._model.n_ctx_train)
        self.n_batch = self._config.n_batch
        self._is_recurrent = self._model.is_recurrent
        self._is_hybrid = self._model.is_hybrid
        self._adapters = self._add_adapter(args)
        if not args.vocab_only:
            self._start(args)
        n_rows = self.n_ctx() if args.logits_all else self.n_batch
        self._position = Position(self.n_ctx(), self.n_vocab(), n_rows)

    def _add_adapter(self, args: Arguments) -> Adapters:
        if args.lora_path is None:
            return ()
        adapter: Adapter = self._model.add_adapter(args.lora_path)
        return ((adapter.id, float(args.lora_scale)),)

    def _start(self, args: Arguments) -> None:
        try:
            if args.embedding:
                self._embedder = self._model.context(**embedding_options(self._model, self._config))
            else:
                self._pool = Pool(self._model, self._config)
        except ContextError as error:
            self._model.close()
            raise ArgumentError(str(error)) from error  # as of what llama-cpp-python cannot make
        except BaseException:
            self._model.close()
            raise

    # ------------------------------------------------------------ facts

    def n_ctx(self) -> int:
        """Tokens of one call, as llama.cpp rounded them up."""
        return self._pool.context.n_ctx_seq if self._pool is not None else self._config.n_ctx

    @property
    def context_params(self) -> SimpleNamespace:
        """The numbers of the context that callers read, LlamaIndex among them."""
        config = self._config
        return SimpleNamespace(
            n_ctx=self.n_ctx(),
            n_batch=config.n_batch,
            n_ubatch=config.n_ubatch,
            n_threads=config.n_threads,
            n_threads_batch=config.n_threads_batch,
        )

    def n_embd(self) -> int:
        return self._model.n_embd

    def n_vocab(self) -> int:
        return self._model.n_vocab

    def token_eos(self) -> int:
        return self._model.eos

    def token_bos(self) -> int:
        return self._model.bos

    def token_nl(self) -> int:
        return self._model.tokenize(b"\n", add_special=False)[-1]

    def pooling_type(self) -> int:
        """llama.cpp's number: 0 none, 1 mean, 2 cls, 3 last, 4 rank."""
        names = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
        if self._embedder is None:
            return max(self._arguments.pooling_type, 0)
        return names[self._embedder.pooling]

    @property
    def has_logprobs(self) -> bool:
        """Whether calls may ask for log-probabilities."""
        return self._arguments.logits_all

    def tokenizer(self) -> Llama:
        """Something with `tokenize`, `detokenize`, `encode` and `decode`."""
        return self

    # ------------------------------------------------------------ words

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Bytes of UTF-8 to tokens."""
        if self.tokenizer_ is not None:
            return list(self.tokenizer_.tokenize(text, add_bos, special))
        return self._model.tokenize(text, add_special=add_bos, parse_special=special)

    def detokenize(
        self,
        tokens: Sequence[int],
        prev_tokens: Sequence[int] | None = None,
        special: bool = False,
    ) -> bytes:
        """Tokens to bytes; the blank that follows a leading beginning of sequence is left out."""
        if self.tokenizer_ is not None:
            found = self.tokenizer_.detokenize(tokens, prev_tokens=prev_tokens, special=special)
            return bytes(found)
        text = b"".join([self._model.piece(token, special=special) for token in tokens])
        return text[1:] if tokens and tokens[0] == self.token_bos() and text[:1] == b" " else text

    def encode(self, text: str, add_bos: bool = True, special: bool = True) -> list[int]:
        return self.tokenize(text.encode("utf-8", "ignore"), add_bos, special)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.detokenize(tokens).decode("utf-8", "ignore")

    # ------------------------------------------------------------ completions

    def create_completion(
        self,
        prompt: str | Sequence[int],
        suffix: str | None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | Sequence[str] | None = (),
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        model: str | None = None,
        stopping_criteria: StoppingCriteriaList | None = None,
        logits_processor: LogitsProcessorList | None = None,
        grammar: LlamaGrammar | None = None,
        logit_bias: Mapping[int, float] | None = None,
    ) -> Any:
        """A prompt's completion: a dictionary, or with `stream` an iterator of them.

        Shapes and meanings are OpenAI's, and those of llama-cpp-python. `logprobs` needs
        `logits_all=True`, as there. `suffix` is what follows the text that is to be filled in,
        for models that were trained for that.

        Raises ArgumentError for what can never be computed, DecodeError (a RuntimeError) for a
        step that failed, ClosedError when the model is closed meanwhile, and whatever a processor
        or criterion raises.
        """
        chain = Chain(
            *(top_k, top_p, min_p, typical_p, temperature, repeat_penalty, frequency_penalty),
            *(presence_penalty, tfs_z, mirostat_mode, mirostat_tau, mirostat_eta),
        )
        tokens = self._prompt_tokens(prompt, suffix)
        n_left = self._n_left(tokens)
        max_tokens = n_left if max_tokens is None or max_tokens <= 0 else min(max_tokens, n_left)
        if logprobs is not None and not self.has_logprobs:
            raise ArgumentError(
                "logprobs is not supported for models created with logits_all=False"
            )
        last_n = self._arguments.last_n_tokens_size
        wanted = Wanted(
            sampling=chain.params(self._next_seed(seed), last_n, grammar, logit_bias),
            max_tokens=min(max_tokens + AHEAD, n_left),
            n_top=0 if logprobs is None else max(1, logprobs),
            processor=chain.processor(logits_processor, len(tokens), last_n),
            criterion=stopping_criteria,
            adapters=self._adapters,
        )
        request = Request(
            prompt=prompt,
            prompt_tokens=tokens,
            max_tokens=max_tokens,
            stops=_stops(stop),
            model_name=model if model is not None else self.model_path,
            bos=self.token_bos(),
            n_top=logprobs,
            echo=echo,
            stops_after=wanted.stops_after,
            prompt_logits=lambda: all_logits(self._computing(), tokens, self._adapters),
        )
        completion = Completion(
            request, self.detokenize, self._saver(tokens), joins=self.tokenizer_ is None
        )
        source = sampled(self._computing(), tokens, wanted)
        return completion.chunks(source) if stream else completion.whole(source)

    __call__ = create_completion

    def _prompt_tokens(self, prompt: str | Sequence[int], suffix: str | None) -> list[int]:
        """Raises ArgumentError for a prompt without tokens, or a suffix that the model does not
        know how to fill up to."""
        if suffix is not None:
            return self._fill_in(prompt, suffix)
        if not isinstance(prompt, str):
            tokens = list(prompt)
        else:
            tokens = self.tokenize(prompt.encode(), add_bos=False, special=True) if prompt else []
            if self._model.add_bos and self.token_bos() != -1:
                tokens = [self.token_bos(), *tokens]
            if self._model.add_eos and self.token_eos() != -1:
                tokens = [*tokens, self.token_eos()]
        if tokens[:2] == [self.token_bos()] * 2:
            text = self._model.piece(self.token_bos(), special=True).decode("utf-8", "replace")
            warnings.warn(
                f'Detected duplicate leading "{text}" in prompt, this will likely reduce response '
                "quality, consider removing it...",
                RuntimeWarning,
                stacklevel=4,
            )
        if not tokens:
            raise ArgumentError("the prompt has no tokens: give some text, or a token")
        return tokens

    def _fill_in(self, prompt: str | Sequence[int], suffix: str) -> list[int]:
        fim = self._model.fim
        if min(fim.prefix, fim.suffix, fim.middle) < 0:
            raise ArgumentError(
                "suffix is given, and this model has no tokens for filling in the middle"
            )
        before = (
            self.tokenize(prompt.encode(), add_bos=False) if isinstance(prompt, str) else [*prompt]
        )
        after = self.tokenize(suffix.encode(), add_bos=False)
        first, second = [fim.prefix, *before], [fim.suffix, *after]
        if self._arguments.spm_infill:
            first, second = second, first
        bos = [self.token_bos()] if self._model.add_bos and self.token_bos() != -1 else []
        return [*bos, *first, *second, fim.middle]

    def _n_left(self, tokens: Sequence[int]) -> int:
        n_left = self.n_ctx() - len(tokens)
        if n_left <= 0:
            raise ArgumentError(
                f"Requested tokens ({len(tokens)}) exceed context window of {self.n_ctx()}: "
                "shorten the prompt, or make the Llama with a larger n_ctx"
            )
        return n_left

    def _next_seed(self, seed: int | None) -> int:
        """The call's seed; without one they follow each other from the last one on."""
        with self._lock:
            self._seed = random.Random(self._seed).randint(0, 2**32) if seed is None else seed
            return self._seed

    def set_seed(self, seed: int) -> None:
        """From which the seeds of the next calls come."""
        with self._lock:
            self._seed = seed

    # ------------------------------------------------------------ chats

    @takes(ChatArguments)
    def create_chat_completion(self, arguments: ChatArguments) -> Any:
        """The answer to a conversation: a dictionary, or with `stream=True` an iterator of them.

        Arguments are `create_completion`'s, with a temperature of 0.2 and no limit of tokens if
        nothing is said, and functions, function_call, tools, tool_choice, response_format,
        logprobs (True) and top_logprobs. `chat_handler`, `chat_format` or the file's template
        writes the prompt.
        """
        return handler_of(self)(llama=self, **vars(arguments))

    def create_chat_completion_openai_v1(self, *args: Any, **kwargs: Any) -> Any:
        """The same as objects of the package openai. Raises ImportError without it."""
        from openai.types.chat import ChatCompletion, ChatCompletionChunk

        found = self.create_chat_completion(*args, **kwargs)
        if kwargs.get("stream"):
            return (ChatCompletionChunk(**chunk) for chunk in found)
        return ChatCompletion(**found)

    # ------------------------------------------------------------ coroutines

    async def acreate_completion(self, *args: Any, **kwargs: Any) -> Any:
        """`create_completion` for a coroutine; with `stream` an asynchronous iterator. Cancelling
        it frees the slot."""
        return await self._work(partial(self.create_completion, *args, **kwargs))

    async def acreate_chat_completion(self, *args: Any, **kwargs: Any) -> Any:
        """`create_chat_completion` for a coroutine; with `stream` an asynchronous iterator.
        Cancelling it frees the slot."""
        return await self._work(partial(self.create_chat_completion, *args, **kwargs))

    async def acreate_embedding(self, *args: Any, **kwargs: Any) -> Any:
        """`create_embedding` for a coroutine."""
        return await self._work(partial(self.create_embedding, *args, **kwargs))

    async def _work(self, function: Callable[[], Any]) -> Any:
        return await Work(self._threads()).run(function)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                n = 4 * self._config.n_parallel
                self._executor = ThreadPoolExecutor(n, thread_name_prefix="pannier-llama")
            return self._executor

    # ------------------------------------------------------------ embeddings

    def create_embedding(self, input: str | list[str], model: str | None = None) -> Row:
        """OpenAI's answer with the embeddings of texts."""
        texts = [input] if isinstance(input, str) else input
        rows, n_tokens = self.embed(texts, return_count=True)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": row, "index": i} for i, row in enumerate(rows)
            ],
            "model": model if model is not None else self.model_path,
            "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        }

    def embed(
        self,
        input: str | list[str],
        normalize: bool = False,
        truncate: bool = True,
        return_count: bool = False,
    ) -> Any:
        """Embeddings of texts as lists of floats: one for each text, or one for each token where
        the model pools nothing; of one text, given as a string, that text's alone.

        Raises RuntimeError unless the Llama was made with embedding=True, and ArgumentError for a
        text of more than n_batch tokens that is not to be truncated.
        """
        if self._embedder is None:
            raise RuntimeError(
                "Llama model must be created with embedding=True to call this method"
            )
        texts = [input] if isinstance(input, str) else input
        prompts = [self._to_embed(text, truncate=truncate) for text in texts]
        found = self._embedder.embed(prompts, normalize=normalize)
        rows = [self._normalized(row, normalize=normalize) for row in found]
        output = rows[0] if isinstance(input, str) else rows
        return (output, sum(map(len, prompts))) if return_count else output

    def _to_embed(self, text: str, *, truncate: bool) -> list[int]:
        tokens = self.tokenize(text.encode())
        assert self._embedder is not None
        most = min(self.n_batch, self._embedder.n_embed_max)
        if len(tokens) > most and not truncate:
            raise ArgumentError(f"Requested tokens ({len(tokens)}) exceed batch size of {most}")
        return tokens[:most]

    def _normalized(self, row: npt.NDArray[np.float32], *, normalize: bool) -> Any:
        if normalize and row.ndim == 2:
            norms = np.linalg.norm(row, axis=-1, keepdims=True)
            row = (row / np.where(norms > 0, norms, 1)).astype(np.float32)
        return row.tolist()

    # ------------------------------------------------------------ token by token

    @property
    def n_tokens(self) -> int:
        """Tokens that `eval` and `generate` left."""
        return len(self._position.tokens)

    @n_tokens.setter
    def n_tokens(self, n: int) -> None:
        with self._position_lock:
            self._position.cut(n)

    @property
    def input_ids(self) -> npt.NDArray[np.intc]:
        """Their ids, [n_ctx], zeros behind them."""
        return self._position.input_ids

    @property
    def scores(self) -> npt.NDArray[np.single]:
        """Their logits, [n_ctx, n_vocab] with logits_all=True, zeros otherwise."""
        return self._position.scores

    @property
    def eval_tokens(self) -> deque[int]:
        """Their ids."""
        return deque(self._position.tokens, maxlen=self.n_ctx())

    @property
    def eval_logits(self) -> deque[list[float]]:
        """Their logits, [n_tokens][n_vocab] with logits_all=True; otherwise zeros for the last."""
        n_kept = self.n_ctx() if self._arguments.logits_all else 1
        return deque(self.scores[: self.n_tokens].tolist(), maxlen=n_kept)

    def reset(self) -> None:
        """Begin anew: `eval` starts a sequence."""
        with self._position_lock:
            self._position.cut(0)

    def eval(self, tokens: Sequence[int]) -> None:
        """Compute tokens behind those that are there. One thread at a time."""
        if not len(tokens):
            return
        with self._position_lock:
            before = self._position.tokens
            every = self._arguments.logits_all
            rows = all_logits(
                self._computing(),
                [*before, *tokens],
                self._adapters,
                n_last=len(tokens) if every else 1,
            )
            self._position.note(tokens, rows, all=every)

    def sample(
        self,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_eta: float = 0.1,
        mirostat_tau: float = 5.0,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessorList | None = None,
        grammar: LlamaGrammar | None = None,
        idx: int | None = None,
    ) -> int:
        """A token behind the last one, or behind the one of index `idx`; it is not evaluated."""
        chain = Chain(
            *(top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty),
            *(presence_penalty, tfs_z, mirostat_mode, mirostat_tau, mirostat_eta),
        )
        params = chain.params(self._seed, self._arguments.last_n_tokens_size, grammar)
        with self._position_lock, Sampler(self._model, params, self.n_ctx()) as sampler:
            tokens = self._position.tokens
            if not tokens:
                raise ArgumentError("nothing to sample after: call eval with tokens first")
            index = len(tokens) - 1 if idx is None else idx
            row = self._position.row(
                index, lambda: last_logits(self._computing(), tokens, self._adapters)
            )
            return choose(sampler, tokens[: index + 1], row, logits_processor)

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: LogitsProcessorList | None = None,
        stopping_criteria: StoppingCriteriaList | None = None,
        grammar: LlamaGrammar | None = None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Sampled tokens behind these, without an end: the end of generation is a token like
        others. What is sent in is put behind the last one. With reset=False they follow what was
        evaluated before.
        """
        chain = Chain(
            *(top_k, top_p, min_p, typical_p, temp, repeat_penalty, frequency_penalty),
            *(presence_penalty, tfs_z, mirostat_mode, mirostat_tau, mirostat_eta),
        )
        prompt = [*([] if reset else self._position.tokens), *tokens]
        if not prompt:
            raise ArgumentError("nothing to generate after: give tokens")
        last_n = self._arguments.last_n_tokens_size
        wanted = Wanted(
            sampling=chain.params(self._seed, last_n, grammar),
            max_tokens=self._n_left(prompt),
            processor=chain.processor(logits_processor, len(prompt), last_n),
            criterion=stopping_criteria,
            adapters=self._adapters,
        )
        source = stepped(self._computing(), prompt, wanted, ends=False, note=self._note)
        sent: Sequence[int] | None = None
        try:
            while True:
                sent = yield source.send(sent).id
        except StopIteration:
            return
        finally:
            source.close()

    def _note(self, tokens: Sequence[int], logits: Logits) -> None:
        """These tokens were evaluated, for `sample`, `scores` and `save_state`."""
        every = self._arguments.logits_all
        with self._position_lock:
            known = n_common(self._position.tokens, tokens)
            n_new = len(tokens) - known
            rows = [logits]
            if every and n_new > 1:
                rows = all_logits(self._computing(), tokens, self._adapters, n_last=n_new)
            self._position.cut(known)
            self._position.note(tokens[known:], rows, all=every and n_new > 0)

    def save_state(self) -> LlamaState:
        """Tokens that were evaluated, their logits, and the seed."""
        with self._position_lock:
            return self._position.save(self._seed)

    def load_state(self, state: LlamaState) -> None:
        """Go on from a saved state. What the engine does not hold any more is computed again."""
        with self._position_lock:
            self._position.load(state)
        self.set_seed(state.seed)

    @staticmethod
    def logits_to_logprobs(logits: Any, axis: int = -1) -> npt.NDArray[np.single]:
        """Natural logarithms of the probabilities that logits mean."""
        rows = np.moveaxis(np.asarray(logits, dtype=np.single), axis, -1)
        return np.moveaxis(log_softmax(rows), -1, axis)

    @staticmethod
    def longest_token_prefix(a: Sequence[int], b: Sequence[int]) -> int:
        """How many tokens at the beginning are the same."""
        return n_common(a, b)

    def set_cache(self, cache: BaseLlamaCache | None) -> None:
        """Load the state of the longest beginning that a cache has before each completion, and
        save one after it. Only for caches that several Llamas share: the engine keeps prefixes."""
        self.cache = cache

    def _saver(self, prompt: list[int]) -> Callable[[Sequence[int]], None] | None:
        """What saves the state of a completion's tokens; the cache's state is loaded."""
        cache = self.cache
        if cache is None:
            return None
        with contextlib.suppress(KeyError):
            state = cache[prompt]
            known = self.longest_token_prefix(self._position.tokens, prompt)
            if (
                self.longest_token_prefix(state.input_ids[: state.n_tokens].tolist(), prompt)
                > known
            ):
                self.load_state(state)

        def save(tokens: Sequence[int]) -> None:
            with self._position_lock:
                self._position.cut(0)
                self._position.tokens = [*prompt, *tokens]
                cache[self._position.tokens] = self._position.save(self._seed)

        return save

    # ------------------------------------------------------------ life

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None,
        additional_files: Sequence[str] | None = None,
        local_dir: str | None = None,
        local_dir_use_symlinks: bool | Literal["auto"] = "auto",
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> Llama:
        """A file of the hub, by its name or a pattern. Needs the package huggingface-hub."""
        path = download(repo_id, filename, additional_files or (), local_dir, cache_dir)
        return cls(model_path=path, **kwargs)

    def __getstate__(self) -> Row:
        return {
            name: getattr(self._arguments, name)
            for name in Arguments.__dataclass_fields__
            if name not in ("chat_handler", "tokenizer")
        }

    def __setstate__(self, state: Row) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def close(self) -> None:
        """Free the model. Calls that run end with ClosedError. Twice does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        self._model.close()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_model"):
            self.close()

    def _computing(self) -> Pool:
        """The pool; one of a Llama that embeds is made when it is first needed."""
        with self._lock:
            if self._closed:
                raise ClosedError("this Llama is closed; make another one")
            if self._arguments.vocab_only:
                raise RequestError("this Llama was made with vocab_only=True and cannot compute")
            if self._pool is None:
                self._pool = Pool(self._model, replace(self._config, embeddings=False))
            return self._pool


def _stops(stop: str | Sequence[str] | None) -> tuple[bytes, ...]:
    words = [stop] if isinstance(stop, str) else stop or ()
    return tuple(word.encode() for word in words if word)


def _show_signatures() -> None:
    """What a call is passed on to says what it takes."""
    pretrained = Llama.from_pretrained.__func__  # type: ignore[attr-defined]
    show(pretrained, [*parameters(pretrained)[:-1], *parameters(Arguments)[1:]])
    show(Llama.acreate_completion, parameters(Llama.create_completion))
    show(Llama.acreate_chat_completion, parameters(Llama.create_chat_completion))
    show(Llama.acreate_embedding, parameters(Llama.create_embedding))


_show_signatures()
