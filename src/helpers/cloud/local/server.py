"""The model as a whole: a gRPC server on loopback, the environment that leads a client to it, and what was recorded.

Each kind of request has its own module; a request that none of them knows is answered UNIMPLEMENTED and listed.
"""

import asyncio
import collections
import contextlib
import inspect
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto.api_grpc import ModalClientBase

from helpers.cloud.local.apps import Apps
from helpers.cloud.local.calls import Calls
from helpers.cloud.local.containers import Containers, why_no_containers
from helpers.cloud.local.files import Files
from helpers.cloud.local.functions import Functions
from helpers.cloud.local.images import Images

__all__ = ["LocalModal"]

_SHORTEST_SECRET = 6  # characters; shorter values are found everywhere by chance


class LocalModal:
    """A model of Modal's service, from ``with`` to the end of the block.

    Parameters
    ----------
    secrets : dict of str to dict of str to str, optional
        The Secrets that the workspace has: their values by key. None exist without.
    buckets : dict of str to Path, optional
        Folders that stand for S3 buckets, by the bucket's name.
    volumes : str or Path, optional
        Folder that holds the Volumes, one folder each. Without, they vanish at the end.
    run : bool
        Run the Functions that are called. Otherwise each call ends with an error that says it was recorded only.
    time_scale : float
        Seconds of this machine for each second of a Function's ``timeout``: with 2.6e-5, 24 hours take 2.2 s.
    clock : callable, optional
        What time it is for timeouts, in s, in place of this machine's scaled clock: a test can let time pass by what
        has happened.
    builder : str
        Version of the image builder that the made-up workspace has.

    Attributes
    ----------
    refused : str or None
        Why no Function runs.
    calls : list of tuple
        Every request, ``(name, message)``, in order.
    missing : list of str
        Requests that this model does not know.
    attempts : list of dict
        One for each container: ``function``, ``attempt`` (from 0) and ``status``: ``running``, ``ok``, ``error``,
        ``timeout``, ``recorded``, or ``died`` with the exit code.
    logs : list of str
        What the containers printed, line by line.
    """

    def __init__(
        self,
        secrets=None,
        buckets=None,
        volumes=None,
        run=True,
        time_scale=1.0,
        clock=None,
        builder="2025.06",
    ):
        self.refused = why_no_containers() if run else "it was asked to record only"
        self.calls, self.missing = [], []
        self._folder = Path(tempfile.mkdtemp(prefix="local-modal-"))
        self._ids = collections.Counter()
        self._apps = Apps(self._new_id, builder)
        self._files = Files(self._new_id, secrets or {}, volumes or self._folder / "volumes")
        self._images = Images(self._new_id, builder)
        self._functions = Functions(self._new_id)
        containers = Containers(
            self._folder,
            self._files,
            self._images,
            {name: Path(folder) for name, folder in (buckets or {}).items()},
            clock or (lambda: time.monotonic() / time_scale),
            self._apps.log,
            self.client_environment,
            self.refused,
        )
        self._calls = Calls(self._new_id, self._functions, containers)
        self.attempts, self.logs = containers.attempts, self._apps.lines
        self._containers, self._services = (
            containers,
            [
                self._apps,
                self._files,
                self._images,
                self._functions,
                self._calls,
            ],
        )

    def __enter__(self):
        self._loop, ready = asyncio.new_event_loop(), threading.Event()

        def serve():
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._start())
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        if not ready.wait(30):
            raise RuntimeError("the model of Modal did not start within 30 s. Is loopback (127.0.0.1) usable here?")
        return self

    def __exit__(self, *fault):
        async def stop():
            self._containers.kill()
            self._server.close()
            await self._server.wait_closed()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start(self):
        handlers = {name: self._handler(name) for name in ModalClientBase.__abstractmethods__}
        self._server = Server([type("Service", (ModalClientBase,), handlers)()])
        await self._server.start("127.0.0.1", 0)
        self._port = self._server._server.sockets[0].getsockname()[1]

    def _handler(self, name):
        answers = [getattr(service, name) for service in self._services if hasattr(service, name)]

        async def handle(_, stream):
            request = await stream.recv_message()
            self.calls.append((name, request))
            if not answers:
                self.missing.append(name)
                raise GRPCError(Status.UNIMPLEMENTED, f"[model] there is no {name} in this model of Modal")
            reply = answers[0](request)
            if inspect.isasyncgen(reply):
                async for message in reply:
                    await stream.send_message(message)
            else:
                await stream.send_message(await reply if inspect.isawaitable(reply) else reply)

        return handle

    def _new_id(self, prefix):
        self._ids[prefix] += 1
        return f"{prefix}-{self._ids[prefix]:06d}"

    def client_environment(self):
        """The variables that lead a client here: this server, made-up tokens, no file of the user's.

        Returns
        -------
        dict of str to str
        """
        return {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self._port}",
            "MODAL_TOKEN_ID": "ak-model",
            "MODAL_TOKEN_SECRET": "as-model",
            "MODAL_CONFIG_PATH": str(self._folder / "none.toml"),
            "MODAL_LOGS_TIMEOUT": "2",
        }

    def environment(self):
        """The environment for a command such as ``modal run``: this process', leading here.

        Returns
        -------
        dict of str to str
        """
        return os.environ | self.client_environment() | {"NO_COLOR": "1"}

    def requests(self, name):
        """All requests of one kind, in order.

        Parameters
        ----------
        name : str
            Such as ``"VolumeCommit"``.

        Returns
        -------
        list of protobuf messages
        """
        return [request for found, request in self.calls if found == name]

    def layers(self, function):
        """The layers of the image of a Function, from its base.

        Parameters
        ----------
        function : str

        Returns
        -------
        list of dict
            ``commands`` (list of str), ``gpu`` (str or None) and ``secrets`` (list of str), as recorded.
        """
        layers = self._images.layers(self._functions.named(function).image_id)
        return [layer | {"secrets": [self._files.secret_name(id) for id in layer["secrets"]]} for layer in layers]

    def dockerfile(self, function):
        """The commands of all layers of the image of a Function, in order, as one flat Dockerfile.

        Parameters
        ----------
        function : str

        Returns
        -------
        list of str
        """
        return [line for layer in self.layers(function) for line in layer["commands"] if line != "FROM base"]

    def files(self, function):
        """The files that a container of a Function begins with.

        Parameters
        ----------
        function : str

        Returns
        -------
        list of str
            Absolute paths.
        """
        return self._files.mounted(self._functions.named(function).mount_ids)

    def report(self):
        """What was recorded, for JSON.

        Returns
        -------
        dict
            ``functions`` (for each ``gpu``, ``cores``, ``memory`` in MiB, ``timeout`` in s, ``retries``,
            ``single_use``, ``layers``, ``files``, ``volumes``, ``buckets``, ``secrets``), ``attempts``, ``requests``
            counted, ``missing``, ``leaks`` and ``refused``.
        """
        return {
            "model": "recorded by a model of Modal on this machine; Modal was not asked",
            "refused": self.refused,
            "requests": dict(collections.Counter(name for name, _ in self.calls)),
            "missing": self.missing,
            "attempts": self.attempts,
            "leaks": self.leaks(),
            "functions": {name: self._described(name) for name in self._functions.names()},
        }

    def _described(self, name):
        function = self._functions.named(name)
        buckets = {
            mount.mount_path: {
                "bucket": f"{mount.bucket_name}/{mount.key_prefix}",
                "read_only": mount.read_only,
                "secret": self._files.secret_name(mount.credentials_secret_id),
            }
            for mount in function.cloud_bucket_mounts
        }
        return {
            "gpu": self._functions.gpus(name),
            "cores": function.resources.milli_cpu / 1000,
            "memory": function.resources.memory_mb,
            "timeout": function.timeout_secs,
            "retries": function.retry_policy.retries,
            "single_use": function.single_use_containers,
            "layers": self.layers(name),
            "files": self.files(name),
            "volumes": {mount.mount_path: self._files.volume_name(mount.volume_id) for mount in function.volume_mounts},
            "buckets": buckets,
            "secrets": [self._files.secret_name(id) for id in function.secret_ids],
        }

    def leaks(self):
        """Where the value of a Secret was seen outside of it.

        Returns
        -------
        list of str
            Image layers, mounted files, what containers printed, what Functions gave back, files of Volumes. Values
            under 6 characters are not looked for.
        """
        values = {value.encode() for value in self._files.secret_values() if len(value) >= _SHORTEST_SECRET}
        places = [
            *self._images.contents(),
            *self._files.contents(),
            ("what a container printed", "".join(self.logs).encode()),
            *((f"the result of {name}", content) for name, content in self._containers.results),
        ]
        return sorted({place for place, content in places if any(value in content for value in values)})

    def write_report(self, path):
        """Write `report` as JSON.

        Parameters
        ----------
        path : str or Path
        """
        Path(path).write_text(json.dumps(self.report(), indent=1) + "\n", encoding="utf-8")
