"""Programs that PyTorch compiled ahead of time, kept on disk: later processes load them and do not compile.

The graph says all that a program computes, so that its text, the shapes of its inputs and the machine name the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Programs:
    """Programs that were compiled before, one file each; deleting the folder compiles them anew.

    The files are shared libraries in an archive: they are this machine's, and must not come from elsewhere.
    """

    folder: Path

    def find(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        """Return the program of a graph, compiled now if it is not there; of several processes, one compiles it.

        inputs: tensors whose shapes and types the program is made for.
        """
        path = self.folder / f"{name(graph, inputs)}.pt2"
        with _locked(path.with_suffix(".lock")):
            if not path.exists():
                compile_graph(graph, inputs, path, self.folder / "compiler")
        from torch._inductor import aoti_load_package

        program: Callable[..., Any] = aoti_load_package(str(path), run_single_threaded=True)
        return program


def name(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> str:
    """Return a hash of what a program computes and of the machine that runs it.

    inputs: of these, shapes and types count, not the values.
    """
    shapes = [(tuple(value.shape), str(value.dtype)) for value in inputs]
    text = f"{graph.code}\n{shapes}\n{_machine(inputs[0].device)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compile_graph(
    graph: torch.fx.GraphModule, inputs: list[Tensor], path: Path, cache: Path
) -> None:
    """Compile a graph that returns a list of tensors into a file, which appears whole or not at all.

    inputs: tensors whose shapes and types the program is made for.

    Raises:
        RuntimeError: the compiler refuses the graph, or there is no compiler of C++.
    """
    import torch
    from torch._inductor import aoti_compile_and_package

    part = path.with_suffix(f".{os.getpid()}.part.pt2")
    with _compiler_cache(cache):
        try:
            exported = torch.export.export(_as_module(graph), tuple(inputs), strict=False)
            aoti_compile_and_package(exported, package_path=str(part))
        except Exception as error:
            # The exporter and the compiler raise errors of many kinds; an attack has other engines.
            raise RuntimeError(f"not compiled: {type(error).__name__}: {error}") from error
    part.replace(path)


def _as_module(graph: torch.fx.GraphModule) -> torch.nn.Module:
    """Return a module that returns a tuple, as the exporter wants it."""
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = graph

        def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.graph(*tensors))

    return Flat()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for another process that compiles the same program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _machine(device: torch.device) -> dict[str, Any]:
    """Return the properties of the machine that a program is made for."""
    import torch

    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "torch": torch.__version__}
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return {
        "device": platform.machine(),
        "flags": flags,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


@contextlib.contextmanager
def _compiler_cache(folder: Path) -> Iterator[None]:
    """Let the compiler keep its own files, above all compiled headers, in a folder of ours."""
    variable = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(variable)
    os.environ[variable] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before
