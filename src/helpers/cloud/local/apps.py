"""Apps and their logs."""

import asyncio

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

__all__ = ["Apps"]

_PAGE = "http://127.0.0.1/model-of-modal"


class Apps:
    """Answers what concerns workspaces, apps and log lines.

    Attributes
    ----------
    lines : list of str
        All that was printed.
    """

    def __init__(self, new_id, builder):
        self.new_id, self.builder = new_id, builder
        self.lines, self.waiting = [], asyncio.Queue()

    def log(self, line):
        """Take a line that a container printed."""
        self.lines.append(line)
        self.waiting.put_nowait(line)

    def EnvironmentGetOrCreate(self, request):
        settings = pb.EnvironmentSettings(image_builder_version=self.builder, webhook_suffix="")
        metadata = pb.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    def ClientHello(self, request):
        return pb.ClientHelloResponse()

    def AppCreate(self, request):
        return pb.AppCreateResponse(app_id=self.new_id("ap"), app_page_url=_PAGE)

    def AppGetOrCreate(self, request):
        return pb.AppGetOrCreateResponse(app_id=self.new_id("ap"))

    def AppGetByDeploymentName(self, request):
        return pb.AppGetByDeploymentNameResponse()

    def AppPublish(self, request):
        return pb.AppPublishResponse(url=_PAGE)

    def AppHeartbeat(self, request):
        return Empty()

    def AppClientDisconnect(self, request):
        self.waiting.put_nowait(None)
        return Empty()

    async def AppGetLogs(self, request):
        while (line := await self.waiting.get()) is not None:
            item = pb.TaskLogs(data=line, file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)
            yield pb.TaskLogsBatch(entry_id=self.new_id("log"), items=[item])
        yield pb.TaskLogsBatch(app_done=True)  # without it the client waits for more, 10 s
