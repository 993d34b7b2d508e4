"""Files that the client sends, Secrets and Volumes."""

import hashlib
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

__all__ = ["Files"]

_BLOBS = {}  # content by sha256, for all models of this process: what was sent once is not sent again, as with Modal


class Files:
    """Answers what concerns mounted files, Secrets and Volumes, and keeps them.

    A Volume is a folder: what a container writes is there at once, before ``commit()``. Files of 4 MiB and more come by
    another way, which this model does not know.
    """

    def __init__(self, new_id, secrets, volumes):
        self.new_id, self.workspace, self.folder = new_id, secrets, Path(volumes)
        self.blobs, self.mounts = _BLOBS, {}  # (sha256, mode) by path, by mount
        self.secrets, self.volumes = {}, {}  # (name, values) and name, by id

    def mounted(self, mount_ids):
        """Paths of the files in some mounts."""
        return sorted(name for mount in mount_ids for name in self.mounts.get(mount, {}))

    def place(self, mount_ids, folder):
        """Write the files of some mounts below a folder, which stands for the container's root."""
        for mount in mount_ids:
            for name, (digest, mode) in self.mounts.get(mount, {}).items():
                path = folder / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.blobs[digest])
                path.chmod(mode or 0o644)

    def volume_name(self, volume_id):
        """Name of a Volume."""
        return self.volumes[volume_id]

    def volume_folder(self, volume_id):
        """Folder of a Volume on this machine; made if needed."""
        folder = self.folder / self.volumes[volume_id]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def secret_name(self, secret_id):
        """Name of a Secret; None for none."""
        return self.secrets[secret_id][0] if secret_id else None

    def secret_environment(self, secret_ids):
        """What some Secrets add to a container's environment."""
        return {key: value for id in secret_ids for key, value in self.secrets[id][1].items()}

    def secret_values(self):
        """All values of all Secrets, those of the workspace that nothing asked for included."""
        tables = [*self.workspace.values(), *(values for _, values in self.secrets.values())]
        return {value for table in tables for value in table.values()}

    def contents(self):
        """Every file that was sent or lies in a Volume: what it is, and its bytes."""
        for mount in self.mounts.values():
            yield from ((f"the mounted file {name}", self.blobs[digest]) for name, (digest, _) in mount.items())
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield f"the Volume file {path.relative_to(self.folder)}", path.read_bytes()

    def MountBatchedCheckExistence(self, request):
        lacking = [digest for digest in request.sha256_hex_hashes if digest not in self.blobs]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=lacking)

    def MountPutFile(self, request):
        if request.WhichOneof("data_oneof") == "data":
            if hashlib.sha256(request.data).hexdigest() != request.sha256_hex:
                raise GRPCError(Status.INVALID_ARGUMENT, "[model] a file's content is not that of its checksum")
            self.blobs[request.sha256_hex] = request.data
        return pb.MountPutFileResponse(exists=request.sha256_hex in self.blobs)

    def MountGetOrCreate(self, request):
        mount_id = self.new_id("mo")
        self.mounts[mount_id] = {file.filename: (file.sha256_hex, file.mode) for file in request.files}
        checksum = hashlib.sha256(request.deployment_name.encode()).hexdigest()
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    def SecretGetOrCreate(self, request):
        name, values = request.deployment_name, dict(request.env_dict)
        if name:
            if name not in self.workspace:
                raise GRPCError(
                    Status.NOT_FOUND, f"[model] no Secret {name} here. Create one: modal secret create {name} KEY=VALUE"
                )
            values = self.workspace[name]
            if lacking := [key for key in request.required_keys if key not in values]:
                raise GRPCError(Status.INVALID_ARGUMENT, f"[model] the Secret {name} lacks {', '.join(lacking)}")
        secret_id = self.new_id("st")
        self.secrets[secret_id] = name or "(from the app)", values
        metadata = pb.SecretMetadata(name=name, keys=list(values))
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=metadata)

    def SecretList(self, request):
        items = [
            pb.SecretListItem(
                label=name, secret_id=f"st-{name}", metadata=pb.SecretMetadata(name=name, keys=list(values))
            )
            for name, values in self.workspace.items()
        ]
        return pb.SecretListResponse(environment_name="main", items=items)

    def VolumeGetOrCreate(self, request):
        known = {name: id for id, name in self.volumes.items()}
        volume_id = known.get(request.deployment_name) or self.new_id("vo")
        self.volumes[volume_id] = request.deployment_name or volume_id
        metadata = pb.VolumeMetadata(name=request.deployment_name)
        return pb.VolumeGetOrCreateResponse(volume_id=volume_id, metadata=metadata)

    def VolumeCommit(self, request):
        return pb.VolumeCommitResponse(skip_reload=True)

    def VolumeReload(self, request):
        return Empty()

    async def VolumeListFiles(self, request):
        volume = self.volume_folder(request.volume_id)
        place = volume / request.path.strip("/")
        if not place.exists():
            raise GRPCError(Status.NOT_FOUND, f"[model] no {request.path} in the Volume {volume.name}")
        found = sorted(place.rglob("*") if request.recursive else place.iterdir()) if place.is_dir() else [place]
        kinds = pb.FileEntry.FileType
        for path in found:
            facts, kind = path.stat(), kinds.DIRECTORY if path.is_dir() else kinds.FILE
            name = path.relative_to(volume).as_posix()
            entry = pb.FileEntry(path=name, type=kind, mtime=int(facts.st_mtime), size=facts.st_size)
            yield pb.VolumeListFilesResponse(entries=[entry])
