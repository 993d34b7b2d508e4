"""The error of `helpers.training`. It says what was found, what was expected and what to do."""

__all__ = ["TrainingError"]


class TrainingError(ValueError):
    """A training cannot start, go on, or be read as it is."""
