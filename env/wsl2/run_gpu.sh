#!/usr/bin/env bash
# Runs Python on the NVIDIA GPU of this machine, or says what is missing: for WSL2, and any other Linux.
#
#   env/wsl2/run_gpu.sh [--torch-lib] ARGUMENTS...      ARGUMENTS go to Python: a script, -m module, -c code
#
# It looks at Python, torch and the driver before anything starts, sets three thread limits unless they are set, and
# becomes Python. It is not an installer: env/README.md says what to install.
#
# Why it does not set LD_LIBRARY_PATH. A compiled extension such as selective_scan_cuda asks the loader for libc10.so
# and carries no path to it. `import torch` loads that file, and what is loaded is not searched for again; so an
# extension that is imported after torch finds it, and mamba_ssm imports torch in its first lines. A program that loads
# the extension first can say --torch-lib: then the folder of the torch that this very Python imports goes in front, for
# this one process. In a shell's start file it does harm: it goes before the paths that libraries carry themselves, so
# that another environment would load half of this torch.
set -euo pipefail

usage() {
  cat <<EOF
usage: ${0##*/} [--torch-lib] ARGUMENTS...

Look at Python, torch and the driver, then run Python with ARGUMENTS (a script, -m module or -c code) on the NVIDIA GPU.

  --torch-lib  put torch's libraries on LD_LIBRARY_PATH for this process: only for a program that loads a compiled
               extension before it imports torch
  --help       this text

  PYTHON       the interpreter (default: of the active virtual environment, else .venv of this repository, else python3)
  OMP_NUM_THREADS, MKL_NUM_THREADS, OPENBLAS_NUM_THREADS
               threads for arithmetic on the CPU (default: 1, so that processes that load data do not share out every
               core several times over)
EOF
}

stop() { # what was found and expected, then what to do, each on a line of its own
  printf 'error: %s\n' "$1" >&2
  shift
  printf '       %s\n' "$@" >&2
  exit 1
}

torch_lib=
case "${1-}" in
  --help | -h)
    usage
    exit 0
    ;;
  --torch-lib)
    torch_lib=yes
    shift
    ;;
esac
if [ $# -eq 0 ]; then
  usage >&2
  exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -n "${PYTHON-}" ]; then
  python=$PYTHON
elif [ -n "${VIRTUAL_ENV-}" ]; then
  python=$VIRTUAL_ENV/bin/python
elif [ -x "$root/.venv/bin/python" ]; then
  python=$root/.venv/bin/python
else
  python=python3
fi
if ! "$python" -c '' 2>/dev/null; then
  stop "'$python' does not run as Python." \
    'Activate a virtual environment, or name one: PYTHON=/path/to/.venv/bin/python' \
    'To make one: python3.11 -m venv .venv'
fi

# Where torch is, without importing it: a torch that fails to import is found too.
torch=$("$python" -c '
import importlib.util, os
found = importlib.util.find_spec("torch")
print(os.path.dirname(found.origin) if found and found.origin else "")')
install="See the head of $root/env/wsl2/current.txt for the install, in its order."
if [ -z "$torch" ]; then
  stop "'$python' has no torch." "$install"
elif [ ! -e "$torch/lib/libc10.so" ]; then
  stop "torch in $torch is not whole: lib/libc10.so is missing." \
    "$python -m pip install --force-reinstall --no-deps torch==VERSION"
elif [ ! -e "$torch/lib/libc10_cuda.so" ]; then
  stop "torch in $torch is a CPU build: lib/libc10_cuda.so is missing." \
    "Uninstall it and install a CUDA build. $install"
fi

# The driver's library is asked for by name, as CUDA and Triton do. WSL2 keeps it in a folder of its own, which some
# distributions leave out of the loader's list (triton-lang/triton#1981, microsoft/WSL#8587).
wsl_lib=${WSL_LIB-/usr/lib/wsl/lib}
prepend() { export LD_LIBRARY_PATH="$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; }
if ! "$python" -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
  if [ ! -e "$wsl_lib/libcuda.so.1" ]; then
    stop "the NVIDIA driver's libcuda.so.1 was not found, neither by the loader nor in $wsl_lib." \
      'WSL2:  install the NVIDIA driver in Windows, none inside WSL; then, in Windows: wsl --shutdown' \
      'WSL1:  it has no GPU; in Windows: wsl --set-version DISTRIBUTION 2' \
      'Linux: install the NVIDIA driver, and look whether nvidia-smi lists the GPU'
  fi
  prepend "$wsl_lib"
  export TRITON_LIBCUDA_PATH=${TRITON_LIBCUDA_PATH-$wsl_lib}
fi
if [ -n "$torch_lib" ]; then
  prepend "$torch/lib"
fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS-1} MKL_NUM_THREADS=${MKL_NUM_THREADS-1}
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS-1}
exec "$python" "$@"
