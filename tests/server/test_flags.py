"""The flags of `pannier serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pannier.errors import ModelError
from pannier.server.cli import configure, find_model
from pannier.server.config import EngineConfig
from pannier.server.flags import read_config


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pannier serve")
    configure(parser)
    return parser


def config_of(*argv: str) -> EngineConfig:
    return read_config(make_parser().parse_args(["m.gguf", *argv]), "m.gguf", "engine")


def test_defaults_are_the_configurations() -> None:
    assert config_of() == EngineConfig(model="m.gguf", engine="engine")


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
    ],
)
def test_wrong_values(argv: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["m.gguf", *argv.split()])
    assert ended.value.code == 2
    assert says.replace("'", "") in capsys.readouterr().err.replace("'", "")


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# comment\nthird\n\nfourth\n")
    args = make_parser().parse_args(["--api-key", "a,b", "--api-key-file", str(file)])
    assert (args.api_key, args.api_key_file) == (("a", "b"), ("third", "fourth"))
    file.write_text("# nothing\n")
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--api-key-file", str(file)])


def test_every_flag_is_explained() -> None:
    """Each has a help text, and llama-server's names are all there."""
    parser = make_parser()
    page = parser.format_help()
    for action in parser._actions:
        assert action.help, action.option_strings
        for name in action.option_strings:
            assert name in page
    names = (
        "-m -c -np -ngl -t -tb -b -ub -ctk -ctv -fa -ot -cmoe -ncmoe -kvu -no-kvu -dev -a "
        "--moe-cache-mib --swa-full --mlock --no-mmap --host --port --api-key --api-key-file "
        "--alias --demo --backend"
    )
    assert set(names.split()) <= set(parser._option_string_actions)


def test_one_model(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    for argv in ([str(file)], ["-m", str(file)]):
        assert find_model(make_parser().parse_args(argv)) == file
    for argv in ([], ["a.gguf", "-m", "b.gguf"], ["a.gguf", "--demo"]):
        with pytest.raises(ModelError, match="name one model"):
            find_model(make_parser().parse_args(argv))
    with pytest.raises(ModelError, match=r"no\.gguf is not a file"):
        find_model(make_parser().parse_args([str(tmp_path / "no.gguf")]))
