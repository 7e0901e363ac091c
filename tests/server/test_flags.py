"""The flags of `pannier serve`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from pannier.cli import make_parser
from pannier.errors import ArgumentError, ModelError
from pannier.sampling import SamplingParams
from pannier.server.chat_settings import ChatSettings
from pannier.server.cli import check_biases
from pannier.server.config import EngineConfig
from pannier.server.flags.given import Given
from pannier.server.flags.parser import read_given
from pannier.server.flags.settings import (
    engine_config,
    http_settings,
    log_settings,
    server_settings,
    unescaped,
)
from pannier.server.flags.table import GROUPS, by_name, flags_of
from pannier.server.http_settings import HttpSettings
from pannier.server.logs import LogSettings
from pannier.server.named_model import find_model
from pannier.server.settings import ServerSettings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LLAMA_")]:
        monkeypatch.delenv(name)


def parse(*argv: str) -> argparse.Namespace:
    return make_parser().parse_args(["serve", *argv])


def given(*argv: str) -> Given:
    return read_given(parse(*argv), GROUPS)


def config_of(*argv: str) -> EngineConfig:
    return engine_config(given("m.gguf", *argv), "m.gguf", "engine")


def settings_of(*argv: str) -> ServerSettings:
    return server_settings(given(*argv), "m.gguf")


def test_defaults_are_those_of_the_parts() -> None:
    assert config_of() == EngineConfig(model="m.gguf", engine="engine")
    build = settings_of().build_info
    assert settings_of() == ServerSettings(model_path="m.gguf", build_info=build)
    assert (http_settings({}), log_settings({})) == (HttpSettings(), LogSettings())


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        ("-c 4096", "n_ctx", 4096),
        ("--ctx-size 0", "n_ctx", 0),
        ("-np 8", "n_parallel", 8),
        ("--parallel -1", "n_parallel", 4),
        ("-ngl 99", "n_gpu_layers", 99),
        ("--gpu-layers all", "n_gpu_layers", -1),
        ("--n-gpu-layers auto", "n_gpu_layers", -1),
        ("-t 3", "n_threads", 3),
        ("-tb 5", "n_threads_batch", 5),
        ("-b 64", "n_batch", 64),
        ("-ub 32", "n_ubatch", 32),
        ("-ctk q8_0", "cache_type_k", "q8_0"),
        ("--cache-type-v iq4_nl", "cache_type_v", "iq4_nl"),
        ("-fa on", "flash_attn", "on"),
        ("-ot a=CPU,b.*=CUDA0 -ot c=d=CPU", "tensor_overrides",
         (("a", "CPU"), ("b.*", "CUDA0"), ("c=d", "CPU"))),
        ("-cmoe", "experts", "cpu"),
        ("--n-cpu-moe 3", "n_cpu_moe", 3),
        ("--moe-cache-mib 512", "moe_cache_mib", 512),
        ("-no-kvu", "kv_unified", False),
        ("-no-kvu -kvu", "kv_unified", True),
        ("-dev CUDA0,CUDA1", "devices", ("CUDA0", "CUDA1")),
        ("--spec-type ngram-simple", "spec_type", "ngram-simple"),
        ("--spec-ngram-simple-size-n 3", "spec_size_n", 3),
        ("--spec-ngram-simple-size-m 16", "spec_size_m", 16),
        ("--swa-full", "swa_full", True),
        ("--mlock", "load_mode", "mlock"),
        ("--no-mmap", "load_mode", "none"),
        ("-lm mmap+mlock", "load_mode", "mmap+mlock"),
        ("--ctx_size 64", "n_ctx", 64),
        ("-t -1", "n_threads", 0),
        ("-fa 1", "flash_attn", "on"),
        ("--rope-scale 4", "rope_freq_scale", 0.25),
        ("--yarn-ext-factor 0.5", "yarn_ext_factor", 0.5),
        ("-ts 3,1", "tensor_split", (3.0, 1.0)),
        ("-ts 3/1", "tensor_split", (3.0, 1.0)),
        ("-sm row", "split_mode", "row"),
        ("-nkvo", "offload_kqv", False),
        ("--no-op-offload", "op_offload", False),
        ("-nr", "repack", False),
        ("-C 0x5 -Cr 8-9", "cpus", (0, 2, 8, 9)),
        ("-Crb 1-2", "cpus_batch", (1, 2)),
        ("--prio -1", "prio", -1),
        ("--poll-batch 0", "poll_batch", 0),
        ("--no-warmup", "warmup", False),
        ("-cram -1", "cache_ram_mib", 1 << 40),
        ("-np 2 --kv-unified-per-slot 100", "n_ctx", 200),
        ("-np 2 -c 64 --kv-unified-per-slot 100", "n_ctx", 64),
        ("-ncffn 2", "tensor_overrides",
         ((r"blk\.([01])\.ffn_(up|down|gate)\.", "CPU"),)),
        ("--experts cpu:0-3,8|gpu:4-7", "experts", "cpu:0-3,8|gpu:4-7"),
        ("--override-kv a=int:3,b=bool:true --override-kv c=str:x:y", "kv_overrides",
         (("a", "int", "3"), ("b", "bool", "true"), ("c", "str", "x:y"))),
        ("--spec-type none,ngram-simple", "spec_type", "ngram-simple"),
        ("-v", "verbosity", 5),
    ],
)  # fmt: skip
def test_values(argv: str, field: str, value: object) -> None:
    assert getattr(config_of(*argv.split()), field) == value


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("-c -5", "'-5' is not a whole number of at least 0"),
        ("-np 0", "'0' is not a whole number of at least 1"),
        ("-ngl some", "'some' is not a whole number"),
        ("-ctk f8", "f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1"),
        ("-fa maybe", "on, off, auto"),
        ("-ot a", "'a' is not PATTERN=BUFFER"),
        ("--port 99999", "'99999' is not a port"),
        ("--api-key-file /no/such/file", "cannot read '/no/such/file'"),
        ("--backend abacus", "invalid choice: 'abacus'"),
        ("--ctx 5", "unrecognized arguments: --ctx 5"),
        ("--rope-scale 0", "'0' is not a number above 0"),
        ("--temp nan", "'nan' is not a number"),
        ("--repeat-penalty -1", "'-1' is not a number above 0"),
        ("-l 5", "'5' is not TOKEN+BIAS"),
        ("--samplers top_k;foo", "invalid choice: 'foo'"),
        ("--sampler-seq kz", "invalid choice: 'z'"),
        ("--spec-type draft-mtp", "use ngram-simple or none"),
        ("--override-kv a=b", "'a=b' is not KEY=TYPE:VALUE"),
        ("--override-kv a=int:x", "'x' is not a whole number"),
        ("--override-kv a=str:" + 128 * "x", "longer than 127 bytes"),
        ("-ts 0,0", "gives no device a share"),
        ("-Cr 9-2", "'9-2' is not a range of CPUs"),
        ("-C zz", "'zz' is not a hexadecimal mask"),
        ("-C 0", "'0' is not a hexadecimal mask"),
        ("--api-prefix /a/", "'/a/' is not a path"),
        ("--seed -2", "'-2' is not a whole number from -1 to 4294967295"),
        ("--grammar-file /no/such/file", "cannot read '/no/such/file'"),
        ("--ssl-key-file /no/such/file", "'/no/such/file' is no file"),
        ("--path /no/such/folder", "'/no/such/folder' is no folder"),
        ("--chat-template-kwargs [1]", "'[1]' is not a JSON object"),
        ("--cors-origins a\x7fb", "cannot stand in a header"),
        ("--host ,", "',' names nothing"),
        ("--mmproj x", "no images"),
        ("--cache-reuse 5", "leave it out"),
        ("--reasoning maybe", "'maybe' (choose from on"),
        ("--chat-template-file /nowhere", "/nowhere"),
        ("--reasoning-budget -2", "'-2' is not a whole number of at least -1"),
    ],
)
def test_wrong_values(argv: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("m.gguf", *argv.split())
    assert ended.value.code == 2
    assert says.replace("'", "") in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        ("--temp -1", "temperature", 0.0),
        ("--top-k -5", "top_k", -5),
        ("-s -1", "seed", 0xFFFFFFFF),
        ("--samplers top-k;temp", "samplers", ("top_k", "temperature")),
        ("--sampler-seq kt", "samplers", ("top_k", "temperature")),
        ("--dry-base 0.5", "dry_base", 1.0),
        ("--dry-sequence-breaker a --dry-sequence-breaker b", "dry_sequence_breakers", ("a", "b")),
        (r"--dry-sequence-breaker \n", "dry_sequence_breakers", ("\n",)),
        (r"--no-escape --dry-sequence-breaker \n", "dry_sequence_breakers", (r"\n",)),
        ("--dry-sequence-breaker none", "dry_sequence_breakers", ()),
        ("-l 5+1.5 -l 6-inf", "logit_bias", {5: 1.5, 6: float("-inf")}),
        ("--ignore-eos", "ignore_eos", True),
        ("--mirostat 2", "mirostat", 2),
        ("--grammar root::=x", "grammar", "root::=x"),
    ],
)
def test_sampling_of_requests_that_say_nothing(argv: str, field: str, value: object) -> None:
    changed = SamplingParams().with_changes(**settings_of(*argv.split()).sampling)
    assert getattr(changed, field) == value


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        ("-n 5", "n_predict", 5),
        ("--keep -1", "n_keep", -1),
        (r"-r a\tb -r c", "stops", ("a\tb", "c")),
        ("-sp", "special", True),
        ("--no-cache-prompt", "cache_prompt", False),
        ("--sse-ping-interval -1", "ping_interval_s", -1),
        ("--context-shift", "overflow", "shift"),
        ("--context-shift --no-context-shift", "overflow", "stop"),
        ("--no-slots", "slots_endpoint", False),
        ("-a b,a", "aliases", ("b", "a")),
        ("--tags x,y", "tags", ("x", "y")),
        ("--hang-timeout 3", "hang_timeout_s", 3.0),
    ],
)
def test_what_endpoints_are_told(argv: str, field: str, value: object) -> None:
    assert getattr(settings_of(*argv.split()), field) == value


def test_escapes_are_those_that_llama_server_reads() -> None:
    assert unescaped(r"a\n\r\t\'\"\\\x41\q") == "a\n\r\t'\"\\A\\q"


def test_tls_needs_both_files_and_an_address(tmp_path: Path) -> None:
    file = tmp_path / "pem"
    file.touch()
    with pytest.raises(ArgumentError, match="go together"):
        http_settings(given("--ssl-key-file", str(file)))
    both = ("--ssl-key-file", str(file), "--ssl-cert-file", str(file))
    assert http_settings(given(*both)).ssl_cert_file == str(file)
    with pytest.raises(ArgumentError, match="no TLS"):
        http_settings(given(*both, "--host", "a.sock"))


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# comment\nthird\n\nfourth\n")
    settings = settings_of("--api-key", "a,b", "--api-key-file", str(file))
    assert settings.api_keys == ("a", "b", "third", "fourth")
    file.write_text("# nothing\n")
    with pytest.raises(SystemExit):
        given("--api-key-file", str(file))


def test_tokens_of_biases_are_the_models() -> None:
    check_biases(settings_of("-l", "9+1"), 10)
    with pytest.raises(ArgumentError, match="names token 10; this model has 0 to 9"):
        check_biases(settings_of("-l", "10+1"), 10)


def test_every_flag_is_explained() -> None:
    for flag in flags_of(GROUPS):
        assert flag.help or flag.refused, flag.names
        assert not (flag.help and flag.refused), flag.names


def test_no_name_is_given_twice() -> None:
    names = [name for flag in flags_of(GROUPS) for name in flag.all_names]
    assert sorted(set(names)) == sorted(names)
    variables = [flag.env for flag in flags_of(GROUPS) if flag.env]
    assert sorted(set(variables)) == sorted(variables)


def test_what_a_flag_sets_is_there() -> None:
    """Flags without a default that anybody names must set a field all the same."""
    parts = {
        "engine": EngineConfig(model=""),
        "server": ServerSettings(model_path=""),
        "http": HttpSettings(),
        "log": LogSettings(),
        "sampling": SamplingParams(),
        "chat": ChatSettings(),
    }
    for flag in flags_of(GROUPS):
        part, _, field = flag.sets.partition(".")
        assert part in ("", "start") or hasattr(parts[part], field), flag.sets
        assert bool(flag.sets) != bool(flag.refused) or "--offline" in flag.names


def test_help_is_short_and_help_all_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    pages = []
    for option in ("--help", "--usage", "--help-all"):
        with pytest.raises(SystemExit) as ended:
            parse(option)
        assert ended.value.code == 0
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1]
    assert "--moe-cache-mib" in pages[0] and "--mirostat" not in pages[0]
    assert all(name in pages[2] for name in by_name(GROUPS))
    assert "refused" in pages[2] and "refused" not in pages[0]


def test_one_model(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")

    def found(*argv: str) -> Path:
        return find_model(parse(*argv).model, given(*argv))

    for argv in ([str(file)], ["-m", str(file)]):
        assert found(*argv) == file
    for argv in ([], ["a.gguf", "-m", "b.gguf"], ["a.gguf", "--demo"]):
        with pytest.raises(ModelError, match="name one model"):
            found(*argv)
    with pytest.raises(ModelError, match=r"no\.gguf is not a file"):
        found(str(tmp_path / "no.gguf"))
