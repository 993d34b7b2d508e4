"""The errors of `helpers.eeg`. Each names the file, what was found, what was expected and what to do."""

__all__ = ["DownloadError", "RecordingError", "StoreError"]


class RecordingError(ValueError):
    """A recording cannot be used as it is."""


class DownloadError(RecordingError):
    """A recording could not be fetched."""


class StoreError(ValueError):
    """A store, or a choice of its windows or subjects, cannot be used as it is."""
