"""What llama.cpp's code for an architecture assumes, by its name (`models/*.cpp`)."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NO_MODEL = {
    "clip": "it is a projector for another model",
    "dflash": "it is a draft for another model",
    "eagle3": "it is a draft for another model",
    "gemma4-assistant": "it is a draft for another model",
}
UNEQUAL_HEADS = _names(
    "bailingmoe3 deepseek2 deepseek2-ocr deepseek32 dots3note glm-dsa glm5-next hy_v4 kimi-k3 "
    "kimi-linear mimo2 minicpm3 mistral4 plm step35"
)
"""Architectures whose keys and values may differ in length; in the others llama.cpp asserts it."""
WITHOUT_ATTENTION = _names(
    "bailingmoe3 deci glm5-next granitehybrid graniteswitch jamba kimi-k3 kimi-linear lfm2 lfm2moe "
    "nemotron_h nemotron_h_moe plamo2"
)
"""Architectures of whose layers some have no keys; the others attend in all."""
SOME_WITHOUT_EXPERTS = _names("granite_swa nemotron_h nemotron_h_moe")
"""Architectures that count the experts of each layer, 0 where there are none."""
WHOLE_ROPE = _names(
    "apertus arcee arctic baichuan chameleon codeshell cogvlm cohere2moe dbrx deci deepseek dots1 "
    "dream ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon granite granite_swa "
    "graniteswitch granitemoe grok grovemoe hunyuan-moe hunyuan-dense hunyuan_vl hy_v3 internlm2 "
    "jais2 llada llada-moe llama llama-embed llama4 maincoder mellum minicpm "
    "mistral3 olmo olmo2 olmoe orion paddleocr pangu-embedded plamo pockettts "
    "qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe rnd1 seed_oss smallthinker smollm3 "
    "starcoder2 talkie xverse"
)
"""Architectures that rotate whole heads; llama.cpp asserts it."""
HEADS_OF_STATE = _names(
    "falcon-h1 granitehybrid mamba2 nemotron_h nemotron_h_moe qwen35 qwen35moe qwen3next "
    "qwen4exp clef"
)
"""Architectures whose `ssm.time_step_rank` is a number of heads."""

SQUARE_STATE = _names("qwen35 qwen35moe qwen3next qwen4exp clef")
"""Architectures whose state is a square matrix for each of those heads."""
DOUBLE_WIDTH = _names("granitehybrid jamba")
"""Architectures whose recurrent layers are twice as wide as the model."""

LATENT = _names("deepseek2 deepseek32 glm-dsa kimi-linear mistral4")
"""Architectures with latent attention (MLA)."""
