"""Flags of llama-server that would be ignored here, and what to do instead.

What they ask for by a value in `holds` is so anyway, and passes.
"""

from __future__ import annotations

from .flag import FALSEY, Flag, refused

NO_DOWNLOAD = "pannier downloads no models: get the file and name it with -m"
NO_DRAFT = "no draft models: use --spec-type ngram-simple, or none"
NO_ROUTER = "one server serves one model: start one for each"
NO_MEDIA = "text models only: no images, audio or video"
NO_UI = "the page has no settings: leave it out, or serve one of yours with --path"
NO_TOOLS = "the server runs no tools: the client does"
NO_ADAPTERS = "no control vectors: LoRA adapters are there, as --lora"
NOT_YET = "not supported yet: leave it out"
NO_CHECKPOINTS = "states are kept by value and not by count: see --prefix-sequences and --cache-ram"
REMOVED = "llama-server has it no more: use --spec-ngram-simple-size-n or -size-m"

PRESETS = (
    "embd-gemma fim-qwen-1.5b fim-qwen-3b fim-qwen-7b fim-qwen-30b gpt-oss-20b gpt-oss-120b "
    "vision-gemma-4b vision-gemma-12b"
)


def _each(why: str, *rows: tuple[str, str] | tuple[str, str, str]) -> tuple[Flag, ...]:
    """Flags refused for one reason: names, metavar, variable."""
    return tuple(refused(row[0], why, row[1], env=row[2] if len(row) > 2 else "") for row in rows)


REFUSED: tuple[Flag, ...] = (
    refused("--completion-bash", "pannier has no completion script: see pannier serve --help-all"),
    refused("-cl --cache-list", "pannier keeps no store of models: name a file with -m"),
    refused("--perf", "timings are always in the answers: leave it out", off="--no-perf",
            holds=(False,), env="LLAMA_ARG_PERF"),
    refused("-dt --defrag-thold", "llama.cpp defragments no more: leave it out", "N",
            env="LLAMA_ARG_DEFRAG_THOLD"),
    refused("--rpc", "no devices of other machines: use those of this one with -dev", "SERVERS",
            env="LLAMA_ARG_RPC"),
    refused("-fit --fit", "nothing is fitted to the device: give -c and -ngl, or --experts auto",
            "on|off", holds=FALSEY, env="LLAMA_ARG_FIT"),
    *_each("nothing is fitted to the device: give -c and -ngl, or --experts auto",
           ("-fitt --fit-target", "MIB,...", "LLAMA_ARG_FIT_TARGET"),
           ("-fitc --fit-ctx", "N", "LLAMA_ARG_FIT_CTX")),
    *_each(NO_ADAPTERS, ("--control-vector", "FILE"), ("--control-vector-scaled", "FILE:SCALE"),
           ("--control-vector-layer-range", "START")),
    *_each(NO_DOWNLOAD, ("-mu --model-url", "URL", "LLAMA_ARG_MODEL_URL"),
           ("-dr --docker-repo", "NAME", "LLAMA_ARG_DOCKER_REPO"),
           ("-hf -hfr --hf-repo", "NAME", "LLAMA_ARG_HF_REPO"),
           ("-hff --hf-file", "FILE", "LLAMA_ARG_HF_FILE"), ("-hft --hf-token", "TOKEN"),
           *((f"--{name}-default", "") for name in PRESETS.split()),
           ("--fim-qwen-7b-spec", ""), ("--fim-qwen-14b-spec", "")),
    refused("-bs --backend-sampling", "sampling runs on the CPU: leave it out",
            env="LLAMA_ARG_BACKEND_SAMPLING"),
    *_each(NO_DRAFT,
           ("--spec-draft-hf -hfd -hfrd --hf-repo-draft", "NAME", "LLAMA_ARG_SPEC_DRAFT_HF_REPO"),
           ("--spec-draft-model -md --model-draft", "FILE", "LLAMA_ARG_SPEC_DRAFT_MODEL"),
           ("--spec-draft-type-k -ctkd --cache-type-k-draft", "TYPE",
            "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K"),
           ("--spec-draft-type-v -ctvd --cache-type-v-draft", "TYPE",
            "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V"),
           ("--spec-draft-threads -td --threads-draft", "N"),
           ("--spec-draft-threads-batch -tbd --threads-batch-draft", "N"),
           ("--spec-draft-cpu-mask -Cd --cpu-mask-draft", "M"),
           ("--spec-draft-cpu-range -Crd --cpu-range-draft", "LO-HI"),
           ("--spec-draft-cpu-strict --cpu-strict-draft", "0|1"),
           ("--spec-draft-prio --prio-draft", "N"), ("--spec-draft-poll --poll-draft", "0|1"),
           ("--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft", "M"),
           ("--spec-draft-cpu-strict-batch --cpu-strict-batch-draft", "0|1"),
           ("--spec-draft-prio-batch --prio-batch-draft", "N"),
           ("--spec-draft-poll-batch --poll-batch-draft", "0|1"),
           ("--spec-draft-override-tensor -otd --override-tensor-draft", "PATTERN=BUFFER"),
           ("--spec-draft-cpu-moe -cmoed --cpu-moe-draft", "", "LLAMA_ARG_SPEC_DRAFT_CPU_MOE"),
           ("--spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed --n-cpu-moe-draft", "N",
            "LLAMA_ARG_SPEC_DRAFT_N_CPU_MOE"),
           ("--spec-draft-n-max", "N", "LLAMA_ARG_SPEC_DRAFT_N_MAX"),
           ("--spec-draft-n-min", "N", "LLAMA_ARG_SPEC_DRAFT_N_MIN"),
           ("--spec-draft-p-split --draft-p-split", "P", "LLAMA_ARG_SPEC_DRAFT_P_SPLIT"),
           ("--spec-draft-p-min --draft-p-min", "P", "LLAMA_ARG_SPEC_DRAFT_P_MIN"),
           ("--spec-draft-sampling", "KIND", "LLAMA_ARG_SPEC_DRAFT_SAMPLING"),
           ("--spec-draft-device -devd --device-draft", "NAMES"),
           ("--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft", "N",
            "LLAMA_ARG_N_GPU_LAYERS_DRAFT"),
           ("--spec-synth-len", "L", "LLAMA_ARG_SPEC_SYNTH_LEN"),
           ("--spec-synth-rates", "P,...", "LLAMA_ARG_SPEC_SYNTH_RATES"),
           ("--spec-default", ""),
           *((f"--spec-ngram-{kind}", "N")
             for kind in ("mod-n-min", "mod-n-max", "mod-n-match", "map-k-size-n", "map-k-size-m",
                          "map-k-min-hits", "map-k4v-size-n", "map-k4v-size-m",
                          "map-k4v-min-hits")),
           ("-lcs --lookup-cache-static", "FILE"), ("-lcd --lookup-cache-dynamic", "FILE")),
    refused("--spec-draft-backend-sampling", NO_DRAFT, off="--no-spec-draft-backend-sampling",
            holds=(False,), env="LLAMA_ARG_SPEC_DRAFT_BACKEND_SAMPLING"),
    refused("--spec-ngram-simple-min-hits", "the last place that fits is taken: leave it out", "N",
            holds=("1",)),
    *_each(REMOVED, ("--draft --draft-n --draft-max", "N", "LLAMA_ARG_DRAFT_MAX"),
           ("--draft-min --draft-n-min", "N", "LLAMA_ARG_DRAFT_MIN"),
           ("--spec-ngram-size-n", "N"), ("--spec-ngram-size-m", "N"),
           ("--spec-ngram-min-hits", "N")),
    *_each(NO_CHECKPOINTS,
           ("-ctxcp --ctx-checkpoints --swa-checkpoints", "N", "LLAMA_ARG_CTX_CHECKPOINTS"),
           ("-cms --checkpoint-min-step", "N", "LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT")),
    refused("--cache-idle-slots", "what slots leave behind is always kept while there is room: "
            "with --no-cache-prompt requests do not start from it", off="--no-cache-idle-slots",
            holds=(True,), env="LLAMA_ARG_CACHE_IDLE_SLOTS"),
    refused("--cache-reuse", "only prefixes are shared, because moved rows would change answers: "
            "leave it out", "N", holds=("0",), env="LLAMA_ARG_CACHE_REUSE"),
    refused("-cb --cont-batching", "requests always join a running batch: -np 1 runs one at a time",
            off="-nocb --no-cont-batching", holds=(True,), env="LLAMA_ARG_CONT_BATCHING"),
    refused("--embd-normalize", NOT_YET, "N", holds=("2",)),
    *_each(NO_MEDIA, ("-mm --mmproj", "FILE", "LLAMA_ARG_MMPROJ"),
           ("-mmu --mmproj-url", "URL", "LLAMA_ARG_MMPROJ_URL"),
           ("-mmdev --mmproj-device", "NAME"),
           ("--image-min-tokens", "N", "LLAMA_ARG_IMAGE_MIN_TOKENS"),
           ("--image-max-tokens", "N", "LLAMA_ARG_IMAGE_MAX_TOKENS"),
           ("--mtmd-batch-max-tokens", "N", "LLAMA_ARG_MTMD_BATCH_MAX_TOKENS"),
           ("--video-fps", "N", "LLAMA_ARG_VIDEO_FPS"),
           ("--video-timestamp-interval", "N", "LLAMA_ARG_VIDEO_TIMESTAMP_INTERVAL"),
           ("--video-ffmpeg-dir", "DIR", "LLAMA_ARG_VIDEO_FFMPEG_DIR"),
           ("--media-path", "DIR")),
    refused("--mmproj-auto", NO_MEDIA, off="--no-mmproj --no-mmproj-auto", holds=(False,),
            env="LLAMA_ARG_MMPROJ_AUTO"),
    refused("--mmproj-offload", NO_MEDIA, off="--no-mmproj-offload", holds=(False,),
            env="LLAMA_ARG_MMPROJ_OFFLOAD"),
    *_each(NO_UI, ("--ui-config --webui-config", "JSON", "LLAMA_ARG_UI_CONFIG"),
           ("--ui-config-file --webui-config-file", "FILE", "LLAMA_ARG_UI_CONFIG_FILE")),
    refused("--ui-mcp-proxy --webui-mcp-proxy", NO_TOOLS, holds=(False,),
            off="--no-ui-mcp-proxy --no-webui-mcp-proxy", env="LLAMA_ARG_UI_MCP_PROXY"),
    refused("-ag --agent", NO_TOOLS, off="-no-ag --no-agent", holds=(False,),
            env="LLAMA_ARG_AGENT"),
    *_each(NO_TOOLS, ("--tools", "NAME,...", "LLAMA_ARG_TOOLS"),
           ("--tools-runtime", "OPTION", "LLAMA_ARG_TOOLS_RUNTIME"),
           ("--mcp-servers-config", "FILE", "LLAMA_ARG_MCP_SERVERS_CONFIG"),
           ("--mcp-servers-json", "JSON", "LLAMA_ARG_MCP_SERVERS_JSON")),
    *_each(NO_ROUTER, ("--models-dir", "DIR", "LLAMA_ARG_MODELS_DIR"),
           ("--models-preset", "FILE", "LLAMA_ARG_MODELS_PRESET"),
           ("--models-max", "N", "LLAMA_ARG_MODELS_MAX")),
    refused("--models-autoload", NO_ROUTER, off="--no-models-autoload", holds=(False,),
            env="LLAMA_ARG_MODELS_AUTOLOAD"),
    refused("--sleep-idle-seconds", "the model stays loaded: stop the server instead", "N",
            holds=("-1",)),
    refused("--log-prompts-dir", "prompts are never written to disk: leave it out", "DIR"),
)  # fmt: skip
