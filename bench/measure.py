"""Running a command and saying what it took; the machine it ran on."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BYTES_PER_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Run:
    """What one process took. `answer` is the JSON object it printed, where it prints one."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    answer: dict[str, Any]


def run(command: list[str], prints_json: bool = False, code: int = 0) -> Run:
    """Run a command to its end; raises RuntimeError with its messages when it ends with another exit code.

    This process stays small: a child's peak counts what its parent held when it was started.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = os.times().elapsed
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    with child.stdout as stream:
        printed = stream.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = os.times().elapsed - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != code:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{printed[-4000:]}")
    return Run(
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * BYTES_PER_PEAK_UNIT,
        json.loads(printed) if prints_json else {},
    )


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs one of this package's modules."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "polars": version("polars"),
    }


def _processor() -> str:
    """Name and clock of the processor where the system tells them."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or "unknown"
    pairs = [line.partition(":") for line in information.read_text(encoding="utf-8").splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    clock = f", {float(facts['cpu MHz']) / 1000:.1f} GHz" if "cpu MHz" in facts else ""
    return facts.get("model name", platform.processor() or "unknown") + clock
