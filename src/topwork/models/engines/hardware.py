"""Properties of this machine's hardware that affect which engine is fastest or what it computes."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from multiprocessing import current_process
from pathlib import Path

from topwork.core.digests import text_digest
from topwork.workers import cores, is_worker

_CPU_INFO = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia/version")


@cache
def begin_worker() -> None:
    """Let torch use a worker's share of the machine: its threads, and one of several GPUs."""
    import torch

    if is_worker():
        torch.set_num_threads(cores())
        if torch.cuda.device_count() > 1:  # the engine of the cluster has given this process no device of its own
            torch.cuda.set_device(device_for(current_process().name, torch.cuda.device_count()))


def device_for(process: str, devices: int) -> int:
    """Number of the GPU for a worker with this name (`LokyProcess-3`): neighbours get different ones."""
    number = re.search(r"\d+$", process)
    return (int(number[0]) - 1) % devices if number else 0


@cache
def machine_name() -> str:
    """Digest (16 digits) of the processor, the allowed cores and the graphics driver; it does not import torch."""
    processor = [platform.system(), platform.machine(), platform.processor()]
    if _CPU_INFO.exists():
        kept = ("model name", "flags", "Features", "CPU part")
        processor += sorted({line for line in _CPU_INFO.read_text().splitlines() if line.startswith(kept)})
    graphics = _NVIDIA.read_text() if _NVIDIA.exists() else ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    parts = [*processor, str(cores()), graphics, visible if graphics else ""]
    return text_digest("\n".join(parts))[:16]


def accelerator() -> str:
    """The device on which torch computes: `cuda` or `mps` if available, else `cpu`."""
    import torch

    for kind, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if module.is_available():
            return kind
    return "cpu"


def native_formats() -> tuple[str, ...]:
    """Number formats shorter than float32 that the hardware multiplies natively."""
    import torch

    kind = accelerator()
    if kind == "cuda":
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bfloat16", "float16") if bfloat16 else ("float16",)
    capabilities = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return ("bfloat16",) if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else ()
