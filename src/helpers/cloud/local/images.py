"""Images: each layer's recipe is kept, and none is built."""

import hashlib

from modal_proto import api_pb2 as pb

from helpers.cloud.local.functions import gpu_as_written

__all__ = ["Images"]


class Images:
    """Answers what concerns images. The same recipe has the same id, as with Modal's cache of layers."""

    def __init__(self, new_id, builder):
        self.new_id, self.builder, self.recipes = new_id, builder, {}

    def layers(self, image_id):
        """Layers of an image from its base; the ids of Secrets under ``secrets``."""
        found = []
        while image_id:
            recipe = self.recipes[image_id]
            commands = list(recipe.dockerfile_commands)
            if recipe.HasField("build_function"):
                commands = ["# a Function that is called while the image is built"]
            found.append(
                {
                    "commands": commands,
                    "gpu": gpu_as_written(recipe.gpu_config) or None,
                    "secrets": list(recipe.secret_ids),
                }
            )
            image_id = recipe.base_images[0].image_id if recipe.base_images else ""
        return found[::-1]

    def environment(self, image_id):
        """What the ENV lines of an image set, taken literally; PATH apart, which is this machine's."""
        lines = [line for layer in self.layers(image_id) for line in layer["commands"] if line.startswith("ENV ")]
        pairs = (line[4:].partition("=") for line in lines)
        return {key: value.strip("'") for key, _, value in pairs if key != "PATH"}

    def contents(self):
        """Every layer: what it is, and all that was recorded of it."""
        for recipe in self.recipes.values():
            shown = recipe.dockerfile_commands[-1] if recipe.dockerfile_commands else "no command"
            yield f"the image layer {shown.split(' ')[0]}", recipe.SerializeToString()

    def ImageGetOrCreate(self, request):
        digest = hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()
        image_id = f"im-{digest[:16]}"
        built = image_id in self.recipes
        self.recipes[image_id] = request.image
        result = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS) if built else pb.GenericResult()
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=result, metadata=self._metadata())

    async def ImageJoinStreaming(self, request):
        for command in self.recipes[request.image_id].dockerfile_commands:
            line = pb.TaskLogs(data=f"[model, not run] {command}\n", file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)
            yield pb.ImageJoinStreamingResponse(entry_id=self.new_id("log"), task_logs=[line])
        result = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)
        yield pb.ImageJoinStreamingResponse(result=result, metadata=self._metadata(), eof=True)

    def _metadata(self):
        return pb.ImageMetadata(image_builder_version=self.builder, python_version_info="Python 3.11.12")
