"""Which kinds of GPU this machine has, asked of the system without any driver library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .cache import cache_directory
from .toolchain import which

SOFTWARE_DRIVERS = frozenset({"vgem", "vkms", "simpledrm", "simple-framebuffer"})
"""Kernel drivers of render nodes without a GPU behind them."""
AMD_VENDOR = "0x1002"


def nvidia_card() -> str | None:
    """What says that an NVIDIA card is there, or None."""
    for sign in ("/proc/driver/nvidia/gpus/*", "/dev/nvidia[0-9]*"):
        if found := sorted(Path("/").glob(sign.lstrip("/"))):
            return f"NVIDIA card at {found[0]}"
    return "NVIDIA card" if compute_capabilities() else None


def amd_card() -> str | None:
    """What says that an AMD card with compute support is there, or None."""
    if not Path("/dev/kfd").exists():
        return None
    for vendor in sorted(Path("/sys/class/drm").glob("renderD*/device/vendor")):
        if vendor.read_text().strip() == AMD_VENDOR:
            return f"AMD card at {vendor.parent}"
    return None


def vulkan_card() -> str | None:
    """What says that a GPU with a render node is there, or None."""
    for node in sorted(Path("/dev/dri").glob("renderD*")):
        driver = Path("/sys/class/drm", node.name, "device", "driver")
        name = driver.resolve().name if driver.exists() else ""
        if name and name not in SOFTWARE_DRIVERS:
            return f"GPU at {node} (driver {name})"
    return nvidia_card()


def metal_card() -> str | None:
    """Every Mac that llama.cpp runs on has one."""
    return "macOS" if sys.platform == "darwin" else None


def compute_capabilities() -> tuple[str, ...]:
    """The CUDA architectures of the cards found, such as ("89", "90"); empty without nvidia-smi.

    Asking takes up to seconds on a card that nobody uses, so the answer is kept
    for as long as the kernel lists the same cards.
    """
    signature = _card_signature()
    kept = cache_directory() / "cuda-cards.json"
    try:
        known = json.loads(kept.read_text())
        if signature and known["cards"] == signature:
            return tuple(known["capabilities"])
    except (OSError, ValueError, KeyError):
        pass
    found = _ask_nvidia_smi()
    if signature and found:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"cards": signature, "capabilities": found}))
    return found


def _card_signature() -> str:
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    try:
        return "\n".join(path.read_text() for path in files)
    except OSError:
        return ""


def _ask_nvidia_smi() -> tuple[str, ...]:
    program = which("nvidia-smi")
    if program is None:
        return ()
    result = subprocess.run(
        [program, "--query-gpu=compute_cap", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    lines = {line.strip().replace(".", "") for line in result.stdout.splitlines()}
    return tuple(sorted(line for line in lines if line.isdigit()))
