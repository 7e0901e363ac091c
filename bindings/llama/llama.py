"""`Llama`: llama-cpp-python's calls, each a slot of one context."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError
from .arguments import Arguments
from .callables import LogitsProcessorList, StoppingCriteriaList
from .chat import ChatArguments, handler_of
from .completion import Completion, Request, stop_words
from .coroutines import Work
from .grammar import LlamaGrammar
from .hub import download
from .sampling import Chain
from .signature import parameters, show, takes
from .stepping import Stepping
from .tokens import Wanted, all_logits, sampled

Row = dict[str, Any]
AHEAD = 32
"""Tokens beyond `max_tokens` that characters without their end may take."""


class Llama(Stepping):
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
        max_tokens = self._most_tokens(tokens, max_tokens)
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
            stops=tuple(word.encode() for word in stop_words(stop) if word),
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


def _show_signatures() -> None:
    """What a call is passed on to says what it takes."""
    pretrained = Llama.from_pretrained.__func__  # type: ignore[attr-defined]
    show(pretrained, [*parameters(pretrained)[:-1], *parameters(Arguments)[1:]])
    show(Llama.acreate_completion, parameters(Llama.create_completion))
    show(Llama.acreate_chat_completion, parameters(Llama.create_chat_completion))
    show(Llama.acreate_embedding, parameters(Llama.create_embedding))


_show_signatures()
