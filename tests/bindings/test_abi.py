"""_ffi.py says what pannier.h says: every struct field and every function, in order."""

import ctypes
import re
from pathlib import Path

import pytest

from pannier import _ffi, native

HEADER = (Path(native.__file__).parent / "pannier.h").read_text()
CODE = re.sub(r"//.*", "", HEADER)

C_TYPES = {
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "const char *": ctypes.c_char_p,
    "const char * const *": ctypes.POINTER(ctypes.c_char_p),
    "const int32_t *": ctypes.POINTER(ctypes.c_int32),
    "int32_t *": ctypes.POINTER(ctypes.c_int32),
    "const int8_t *": ctypes.POINTER(ctypes.c_int8),
    "const float *": ctypes.POINTER(ctypes.c_float),
    "float *": ctypes.POINTER(ctypes.c_float),
    "void *": ctypes.c_void_p,
    "const struct pannier_rope_params *": ctypes.POINTER(_ffi.rope_params),
    "const struct pannier_thread_params *": ctypes.POINTER(_ffi.thread_params),
    "pannier_progress_callback": _ffi.PROGRESS_CALLBACK,
}
STRUCTS = dict(re.findall(r"struct pannier_(\w+) \{(.*?)\n\};", CODE, re.DOTALL))
FUNCTIONS = dict(re.findall(r"PANNIER_API\s+[\w\s*]*?pannier_(\w+)\((.*?)\);", CODE, re.DOTALL))


def fields(body):
    for line in body.split(";"):
        if match := re.fullmatch(r"\s*([\w\s*]+?)\s*(\w+)\s*", line):
            ctype, name = match.groups()
            yield name, C_TYPES[re.sub(r"\s*\*", " *", re.sub(r"\s+", " ", ctype))]


@pytest.mark.parametrize("name", STRUCTS)
def test_structs(name):
    assert list(fields(STRUCTS[name])) == list(getattr(_ffi, name)._fields_)


def test_every_struct_is_there():
    assert set(STRUCTS) == {cls.__name__ for cls in _ffi.Struct.__subclasses__()}


def test_functions_have_their_number_of_arguments():
    expected = {
        name: 0 if arguments.strip() == "void" else arguments.count(",") + 1
        for name, arguments in FUNCTIONS.items()
    }
    assert expected == {name: len(argtypes) for name, _, argtypes in _ffi.PROTOTYPES}


def test_version():
    assert f"#define PANNIER_ABI_VERSION {_ffi.ABI_VERSION}" in HEADER


def test_a_struct_of_another_size_is_an_error_not_a_crash(pannier):
    lib = _ffi.library()
    raw = _ffi.device()
    raw.size += 8
    with pytest.raises(pannier.EngineError, match="rebuild"):
        lib.check(lib.device_get(0, _ffi.byref(raw)))


def test_null_is_an_error_not_a_crash(pannier):
    lib = _ffi.library()
    handle = _ffi.Handle()
    for call in (
        lambda: lib.model_load(None, None, None),
        lambda: lib.model_get_info(handle, None),
        lambda: lib.context_create(handle, None, None),
        lambda: lib.context_step(handle, None, None),
        lambda: lib.seq_remove(handle, 0, 0, 0, None),
        lambda: lib.context_memory(handle, None, 0, None),
    ):
        with pytest.raises(pannier.ArgumentError, match="NULL"):
            lib.check(call())
    lib.model_free(handle)
    lib.context_free(handle)
    lib.context_interrupt(handle)
