"""Loading, facts, vocabulary; wrong use raises and nothing dies."""

import logging
import random

import pytest

from .conftest import DATA

GGUF = DATA / "qwen3next" / "model-f32.gguf"


def test_facts(model):
    assert model.is_hybrid
    assert not model.is_recurrent
    assert model.n_vocab == 320
    assert model.metadata["general.architecture"] == "qwen3next"
    assert "qwen3next" in model.description
    assert model.ftype == "all F32"
    assert model.size_bytes < GGUF.stat().st_size


@pytest.mark.parametrize(
    "text", ["", "Hello, world!", "née à Zürich 山 🦙", "<|im_start|>user\nhi"]
)
def test_text_survives_the_tokenizer(model, text):
    tokens = model.tokenize(text, add_special=False, parse_special=True)
    assert model.detokenize(tokens).decode() == text
    assert b"".join(model.piece(token, special=True) for token in tokens).decode() == text


def test_special_tokens_are_read_only_when_asked(model):
    plain = model.tokenize("<|im_end|>", add_special=False)
    special = model.tokenize("<|im_end|>", add_special=False, parse_special=True)
    assert len(special) == 1 < len(plain)
    assert model.is_eog(special[0])
    assert special[0] in model.eog_tokens


def test_chat_template(model):
    prompt = model.apply_chat_template([{"role": "user", "content": "hi"}])
    assert "hi" in prompt.prompt
    assert prompt.prompt.endswith(prompt.generation_prompt)


@pytest.mark.parametrize(
    "messages", [[{"content": "no role"}], [{"role": "user", "content": 5}], ["text"], [{}]]
)
def test_wrong_messages_raise(pannier, model, messages):
    with pytest.raises(pannier.ChatError):
        model.apply_chat_template(messages)


def test_a_wrong_template_raises(pannier, model):
    with pytest.raises(pannier.ChatError):
        model.apply_chat_template([{"role": "user", "content": "x"}], template="{% if %}")


def test_vocab_only_tokenizes_and_cannot_generate(pannier):
    with pannier.Model(GGUF, vocab_only=True) as model:
        assert model.tokenize("Hello")
        assert model.chat_template
        with pytest.raises(pannier.PannierError, match="without its weights"):
            model.context(n_ctx=256)


def test_progress_rises_to_one_and_can_cancel(pannier):
    seen = []
    pannier.Model(GGUF, progress=seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(pannier.LoadCancelled):
        pannier.Model(GGUF, progress=lambda fraction: False)


def test_an_exception_in_the_progress_callback_comes_out(pannier):
    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pannier.Model(GGUF, progress=stop)


def test_closed_model_raises(pannier):
    model = pannier.Model(GGUF)
    context = model.context(n_ctx=256)
    model.close()
    model.close()
    for use in (lambda: model.tokenize("x"), lambda: model.context(), lambda: context.memory()):
        with pytest.raises(pannier.ClosedError):
            use()


def test_missing_and_foreign_files_raise(pannier, tmp_path):
    foreign = tmp_path / "foreign.gguf"
    foreign.write_text("this is not a model")
    empty = tmp_path / "empty.gguf"
    empty.touch()
    for path in (tmp_path / "missing.gguf", foreign, empty, tmp_path):
        with pytest.raises(pannier.ModelError, match=path.name):
            pannier.Model(path)


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_raise(pannier, tmp_path, keep):
    data = GGUF.read_bytes()
    path = tmp_path / "short.gguf"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(pannier.ModelError):
        pannier.Model(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": ["NoSuch0"]}, "NoSuch0"),
        ({"tensor_overrides": [("attn", "NoSuchBuffer")]}, "NoSuchBuffer"),
        ({"tensor_overrides": [("(", "CPU")]}, "regular expression"),
        ({"load_mode": "fast"}, "fast"),
        ({"experts": "disk"}, "disk"),
        ({"n_cpu_moe": -1}, "-1"),
    ],
)
def test_wrong_options_name_the_value(pannier, options, words):
    with pytest.raises(pannier.ArgumentError, match=words):
        pannier.Model(GGUF, **options)


def test_tokens_outside_the_vocabulary_raise(pannier, model):
    for token in (-1, model.n_vocab, 2**31 - 1):
        with pytest.raises(pannier.ArgumentError):
            model.piece(token)
        assert not model.is_eog(token)


def test_the_log_goes_to_logging(pannier, caplog):
    with caplog.at_level(logging.DEBUG, logger="pannier.engine"):
        pannier.Model(GGUF).close()
    assert any("qwen3next" in record.message for record in caplog.records)
    assert all("\n" not in record.message for record in caplog.records)


def test_random_bytes_tokenize(model):
    rng = random.Random(0)
    for _ in range(50):
        data = rng.randbytes(rng.randrange(1, 60))
        assert model.tokenize(data, add_special=False)
