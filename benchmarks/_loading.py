"""What it takes to load a file, in a process of its own: ``python _loading.py FILE`` prints milliseconds and MiB."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

_LOADS = 5


def loading(path: Path) -> dict[str, float]:
    """Milliseconds to load a file, and MiB that it then holds (Linux)."""
    ran = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _load(path: str) -> dict[str, float]:
    from tabkd.runtime import OnnxPredictor

    OnnxPredictor(path)  # once, for the libraries
    before, taken, kept = _resident(), [], []
    for _ in range(_LOADS):
        start = time.perf_counter()
        kept.append(OnnxPredictor(path))
        taken.append(time.perf_counter() - start)
    return {"load_ms": sorted(taken)[_LOADS // 2] * 1e3, "memory_mib": (_resident() - before) / _LOADS}


if __name__ == "__main__":
    print(json.dumps(_load(sys.argv[1])))
