"""The one exception of this package for what cannot be scored; it says what was found, where, and what to do."""

__all__ = ["ScoringError"]


class ScoringError(ValueError):
    """A file, a pair of files or an event that cannot be scored.

    Attributes
    ----------
    faults : tuple of str
        One message each; a folder is read to its end, so there may be many.
    """

    def __init__(self, *faults):
        super().__init__("\n".join(faults))
        self.faults = faults
