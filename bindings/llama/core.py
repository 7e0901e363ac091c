"""What every call of a `Llama` stands on: the model, its words, its pool, and their end."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from typing_extensions import Self

from ..adapter import Adapter
from ..context import Context
from ..cpu_threads import set_numa
from ..errors import ArgumentError, ClosedError, ContextError, RequestError
from ..model import Model
from ..owner import Closing
from ..pool import Pool
from ..server.loading import embedding_options
from ..server.messages import Adapters
from .arguments import Arguments
from .cache import BaseLlamaCache
from .chat import ChatHandler
from .position import Position
from .signature import takes


class Core(Closing):
    """A model, and what computes for it."""

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

    def tokenizer(self) -> Self:
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

    # ------------------------------------------------------------ what calls begin with

    def _n_left(self, tokens: Sequence[int]) -> int:
        n_left = self.n_ctx() - len(tokens)
        if n_left <= 0:
            raise ArgumentError(
                f"Requested tokens ({len(tokens)}) exceed context window of {self.n_ctx()}: "
                "shorten the prompt, or make the Llama with a larger n_ctx"
            )
        return n_left

    def _most_tokens(self, tokens: Sequence[int], max_tokens: int | None) -> int:
        """How many may come behind these: as many as asked for, or as there is room for. Raises
        ArgumentError where there is none."""
        n_left = self._n_left(tokens)
        return n_left if max_tokens is None or max_tokens <= 0 else min(max_tokens, n_left)

    def _next_seed(self, seed: int | None) -> int:
        """The call's seed; without one they follow each other from the last one on."""
        with self._lock:
            self._seed = random.Random(self._seed).randint(0, 2**32) if seed is None else seed
            return self._seed

    def set_seed(self, seed: int) -> None:
        """From which the seeds of the next calls come."""
        with self._lock:
            self._seed = seed

    # ------------------------------------------------------------ life

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: getattr(self._arguments, name)
            for name in Arguments.__dataclass_fields__
            if name not in ("chat_handler", "tokenizer")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
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
