"""Containers: one process for one input, which sees the mounted files and nothing else of this machine's users.

Its root is made of bind mounts in a private mount namespace, which vanishes with the process: the system's folders,
the interpreter and its packages, the files that the app mounted, Volumes and buckets at their paths. It is no
protection from what runs inside.
"""

import asyncio
import collections
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from modal_proto import api_pb2 as pb

__all__ = ["Containers", "why_no_containers"]

_OK, _FAILED, _TIMED_OUT = (
    getattr(pb.GenericResult, f"GENERIC_STATUS_{name}") for name in ("SUCCESS", "FAILURE", "TIMEOUT")
)
# What a container borrows from this machine. /tmp and /root are its own.
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "usr", "opt", "var", "run", "proc", "dev", "sys")
_INHERITED = ("PATH", "LANG", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_HERE = "/.model"  # where a container finds its task
_TICK = 0.02  # s between two looks at the clock
_AT_ONCE = max(1, os.cpu_count() or 1)


def why_no_containers():
    """Why this machine cannot run Functions in containers of their own.

    Returns
    -------
    str or None
        None where it can.
    """
    if sys.platform != "linux":
        return f"this is {sys.platform}, and containers need Linux's mount namespaces"
    if lacking := [name for name in ("unshare", "mount", "chroot", "sh") if shutil.which(name) is None]:
        return f"no {', '.join(lacking)} on the PATH"
    tried = subprocess.run([*_unshare(), "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if tried.returncode:
        return (
            f"this machine refuses mount namespaces ({(tried.stderr.strip().splitlines() or ['no reason given'])[-1]})"
        )
    return None


def _unshare():
    return ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]


class Containers:
    """Runs one input after another, each in its own container, killed at its timeout.

    Attributes
    ----------
    attempts : list of dict
    results : list of tuple
        Name of the Function and what it gave back, pickled.
    """

    def __init__(self, folder, files, images, buckets, clock, log, client_environment, refused):
        self.folder, self.files, self.images, self.buckets = folder, files, images, buckets
        self.clock, self.log, self.client_environment, self.refused = clock, log, client_environment, refused
        self.attempts, self.results, self.running = [], [], set()
        self.places = asyncio.Semaphore(_AT_ONCE)

    def kill(self):
        """End all containers."""
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def run(self, function, parameters, input, attempt):
        """One attempt at one input: its result, and whether another attempt would be the same."""
        note = {"function": function.function_name, "attempt": attempt, "status": "running"}
        self.attempts.append(note)
        if self.refused:
            note["status"] = "recorded"
            words = f"[model] {function.function_name} was recorded, not run: {self.refused}"
            return pb.GenericResult(status=_FAILED, exception=words), True
        async with self.places:
            box = Path(tempfile.mkdtemp(prefix="container-", dir=self.folder))
            try:
                return await self._run(function, parameters, input, box, note), False
            finally:
                shutil.rmtree(box, ignore_errors=True)

    async def _run(self, function, parameters, input, box, note):
        command = ["sh", "-ec", self._script(function, parameters, input, box)]
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"HOME": "/root"} | self.images.environment(function.image_id)
        environment |= self.files.secret_environment(function.secret_ids)
        environment |= {"PYTHONPATH": "/root"} | self.client_environment()
        if not function.resources.gpu_config.gpu_type:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # who asks for no GPU has none at Modal
        process = await asyncio.create_subprocess_exec(
            *_unshare(),
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,  # so that a timeout ends all of it
        )
        self.running.add(process.pid)
        tail = collections.deque(maxlen=5)
        printing = asyncio.ensure_future(self._print(process.stdout, tail))
        try:
            in_time = await self._within(function.timeout_secs, process)
            with contextlib.suppress(ProcessLookupError):  # what it left running, or all of it
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        finally:
            self.running.discard(process.pid)
            await printing
        if not in_time:
            note["status"] = "timeout"
            words = f"[model] {function.function_name} reached its timeout of {function.timeout_secs} s"
            return pb.GenericResult(status=_TIMED_OUT, exception=words)
        if not (box / "task" / "result").exists():
            note["status"] = f"died {process.returncode}"
            words = f"[model] the container ended with {process.returncode}: {''.join(tail)}"
            return pb.GenericResult(status=_FAILED, exception=words)
        status, _, content = (box / "task" / "result").read_bytes().partition(b"\0")
        note["status"] = status.decode()
        self.results.append((function.function_name, content))
        if status == b"ok":
            return pb.GenericResult(status=_OK, data=content)
        return pb.GenericResult(status=_FAILED, data=content, exception="the Function raised")

    async def _within(self, timeout, process):
        """Wait for a process; whether it ended before its time was over."""
        end = self.clock() + timeout
        while process.returncode is None:
            if self.clock() >= end:
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), _TICK)
        return True

    async def _print(self, stream, tail):
        async for line in stream:
            tail.append(line.decode(errors="replace"))
            self.log(tail[-1])

    def _script(self, function, parameters, input, box):
        """What the shell does in the namespace: put the root together, and become Python in it."""
        task, files, root = box / "task", box / "files", box / "root"
        for folder in (task, files / "root", files / "tmp", root):
            folder.mkdir(parents=True)
        self.files.place(function.mount_ids, files)
        (task / "arguments").write_bytes(input.args)
        (task / "pickled").write_bytes(function.function_serialized)
        (task / "main.py").write_text(Path(__file__).with_name("container_main.py").read_text(encoding="utf-8"))
        described = {
            "module": function.module_name,
            "function": function.function_name,
            "method": input.method_name,
            "parameters": parameters.hex(),
            "dependencies": len(function.object_dependencies),
            "pickled": f"{_HERE}/pickled" if function.function_serialized else "",
            "arguments": f"{_HERE}/arguments",
            "result": f"{_HERE}/result",
        }
        (task / "task.json").write_text(json.dumps(described), encoding="utf-8")
        binds = {path: path for path in _interpreter() if Path(path).parts[1] not in _SYSTEM}
        read_only = set(binds)
        binds |= {f"/{folder.name}": str(folder) for folder in files.iterdir()}
        binds[_HERE] = str(task)
        for mount in function.volume_mounts:
            binds[mount.mount_path] = str(self.files.volume_folder(mount.volume_id))
        for mount in function.cloud_bucket_mounts:
            if mount.bucket_name not in self.buckets:
                raise LookupError(
                    f"no folder stands for the bucket {mount.bucket_name}; give one (--bucket NAME=FOLDER)"
                )
            binds[mount.mount_path] = str(self.buckets[mount.bucket_name] / mount.key_prefix)
            read_only |= {mount.mount_path} if mount.read_only else set()
        if wrong := [path for path in binds if Path(path).parts[1] in _SYSTEM]:
            raise LookupError(f"this model cannot place files at {', '.join(wrong)}; choose another path")
        return "\n".join(_mounts(root, binds, read_only))


def _interpreter():
    """Folders of the running interpreter and of its installed packages, on this machine."""
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, *packages)} | {sys.prefix, *packages}


def _mounts(root, binds, read_only):
    """Lines of shell."""
    quoted = shlex.quote
    yield f"root={quoted(str(root))}"
    yield 'mount -t tmpfs none "$root"'
    yield f"for name in {' '.join(_SYSTEM)}; do"
    yield '  if [ -h "/$name" ]; then cp -P "/$name" "$root/"'
    yield '  elif [ -d "/$name" ]; then mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; fi'
    yield "done"
    for path in sorted(binds):  # a folder before those in it
        yield f'mkdir -p "$root"{quoted(path)}'
        yield f'mount --bind {quoted(binds[path])} "$root"{quoted(path)}'
        if path in read_only:
            yield f'mount -o remount,bind,ro "$root"{quoted(path)}'
    python = f"cd /root && exec {quoted(sys.executable)} -P {_HERE}/main.py {_HERE}/task.json"
    yield f'exec chroot "$root" sh -c {quoted(python)}'
