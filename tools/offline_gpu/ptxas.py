#!/usr/bin/env python3
"""What NVIDIA's assembler says of kernels that naga has written as HLSL: registers, spilled bytes, workgroup memory.

    tools/offline_gpu/run nvidia FOLDER [NAME..]      (makes the kernels, and calls this)

The way is HLSL, CUDA by Slang, PTX and machine code by nvcc, for one GPU (HUMDINGER_CUDA_ARCH, sm_90 where nothing else is said: H100 and H200).
It is not the way that a driver takes, which begins with SPIR-V, but it ends in the same assembler.
"""

import collections
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import own_environment

CUDA = [f"nvidia-{part}==13.5.37" for part in ("cuda-nvcc", "cuda-crt", "cuda-runtime", "nvvm")]
own_environment.enter("nvidia", ["slangpy==0.43.1", "numpy==2.4.6", "typing_extensions==4.16.0", *CUDA], __file__)

import nvidia
import slangpy

# From slang.h: SLANG_CUDA_SOURCE, SLANG_SOURCE_LANGUAGE_HLSL, SLANG_STAGE_COMPUTE.
CUDA_SOURCE, HLSL, COMPUTE = 17, 2, 6
ARCHITECTURE = os.environ.get("HUMDINGER_CUDA_ARCH", "sm_90")


class Slang:
    """Slang's C interface, as far as it is needed: slangpy itself wants a GPU."""

    def __init__(self):
        library = next(pathlib.Path(slangpy.__file__).parent.glob("libslang-compiler.so*"))
        self.slang = ctypes.CDLL(str(library))
        for name, result in {
            "spCreateSession": ctypes.c_void_p,
            "spCreateCompileRequest": ctypes.c_void_p,
            "spGetDiagnosticOutput": ctypes.c_char_p,
            "spGetEntryPointSource": ctypes.c_char_p,
        }.items():
            getattr(self.slang, name).restype = result
        self.session = ctypes.c_void_p(self.slang.spCreateSession(None))

    def cuda(self, hlsl):
        """The text in CUDA of a compute shader whose entry point is `main`."""
        request = ctypes.c_void_p(self.slang.spCreateCompileRequest(self.session))
        self.slang.spSetCodeGenTarget(request, CUDA_SOURCE)
        unit = self.slang.spAddTranslationUnit(request, HLSL, b"kernel")
        self.slang.spAddTranslationUnitSourceString(request, unit, b"kernel.hlsl", hlsl.encode())
        entry = self.slang.spAddEntryPoint(request, unit, b"main", COMPUTE)
        if self.slang.spCompile(request) < 0:
            sys.exit(f"Slang: {self.slang.spGetDiagnosticOutput(request).decode()}")
        text = self.slang.spGetEntryPointSource(request, entry).decode()
        self.slang.spDestroyCompileRequest(request)
        return text


def toolkit():
    """The folder of nvcc, which the packages of PyPI lay below `nvidia`."""
    for folder in nvidia.__path__:
        for nvcc in pathlib.Path(folder).glob("*/bin/nvcc"):
            return nvcc.parent.parent
    sys.exit("nvcc is not installed: tools/offline_gpu/run nvidia installs it")


def assembled(cuda, root, folder):
    """Registers, bytes spilled, bytes of workgroup memory."""
    source, binary = folder / "kernel.cu", folder / "kernel.cubin"
    source.write_text(cuda)
    nvcc = [root / "bin/nvcc", "-cubin", f"-arch={ARCHITECTURE}", "-Xptxas", "-v", "-std=c++17", "-w", "-o", binary, source]
    done = subprocess.run(nvcc, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"nvcc: {said}")
    find = lambda pattern: int(found[1]) if (found := re.search(pattern, said)) else 0
    return find(r"Used (\d+) registers"), find(r"(\d+) bytes spill stores"), find(r"(\d+) bytes smem")


def extent(numbers):
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def main():
    slang, root = Slang(), toolkit()
    kernels = collections.defaultdict(list)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.hlsl")):
        plan, name, _ = path.stem.rsplit(".", 2)
        with tempfile.TemporaryDirectory() as folder:
            kernels[plan, name].append(assembled(slang.cuda(path.read_text()), root, pathlib.Path(folder)))
        print(f"{path.stem}: {kernels[plan, name][-1]}", file=sys.stderr)
    for plan in dict.fromkeys(plan for plan, _ in kernels):
        print(f"\nPlans `{plan}`; {ARCHITECTURE}, nvcc, {slangpy.__name__} {slangpy.__version__}\n")
        print("| kernel | variants | registers | spilled | workgroup memory |\n|---|---|---|---|---|")
        for (of, name), found in kernels.items():
            if of == plan:
                print(f"| {name} | {len(found)} | " + " | ".join(extent(column) for column in zip(*found)) + " |")


if __name__ == "__main__":
    main()
