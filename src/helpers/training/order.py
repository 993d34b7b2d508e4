"""Which windows are in which batch: a function of the seed, the epoch and the step, and of nothing else.

So a training can go on from any step, with any number of devices, and sees what it would have seen. Reading the windows
is in `helpers.training.data`.
"""

import numpy as np

from helpers.eeg import build_manifest, check_disjoint, split_subjects
from helpers.eeg.labels import ictal_share
from helpers.training.errors import TrainingError

__all__ = ["WindowOrder"]


class WindowOrder:
    """The batches of a whole training, numbered by step from 0.

    Every epoch is a balanced set of the training subjects' windows (`Manifest.balanced`), drawn anew and shuffled; what
    does not fill a batch is left out of that epoch.

    Parameters
    ----------
    config : TrainingConfig
    store : Store

    Attributes
    ----------
    splits : dict of str to tuple of str
        Subjects of each split; none is in two.
    steps_per_epoch, total_steps : int
    ictal_share : float
        Of the samples in the balanced set of the first epoch.

    Raises
    ------
    StoreError
        As `split_subjects` and `Manifest.balanced`.
    TrainingError
        If an epoch has less than one batch.
    """

    def __init__(self, config, store):
        self.splits = split_subjects(store, config.fractions, config.seed)
        check_disjoint(self.splits)
        self._config, self._store = config, store
        self._manifest = build_manifest(store).of(self.splits["train"])
        self._drawn = None
        drawn = len(self._epoch(0)[1])
        self.steps_per_epoch = drawn // config.batch_size
        if not self.steps_per_epoch:
            raise TrainingError(
                f"{store.path}: {drawn} windows an epoch, fewer than the {config.batch_size} of one batch. Prepare "
                "more recordings, or lower batch_size."
            )
        self.total_steps = config.epochs * self.steps_per_epoch
        self.ictal_share = self._ictal_share()

    def windows(self, step):
        """The windows of one batch.

        Parameters
        ----------
        step : int
            From 0 to `total_steps`.

        Returns
        -------
        list of (id, start)
            `batch_size` of them.
        """
        epoch, batch = divmod(step, self.steps_per_epoch)
        windows, order = self._epoch(epoch)
        size = self._config.batch_size
        return [windows[index] for index in order[batch * size : (batch + 1) * size]]

    def _epoch(self, number):
        """The windows of an epoch, and the order in which they come; the last epoch asked for is kept."""
        if self._drawn is None or self._drawn[0] != number:
            draw, shuffle = np.random.SeedSequence([self._config.seed, number]).generate_state(2).tolist()
            windows = self._manifest.balanced(draw)
            order = np.random.default_rng(shuffle).permutation(len(windows))
            self._drawn = number, windows, order[: self._config.windows_per_epoch]
        return self._drawn[1:]

    def _ictal_share(self):
        windows, _ = self._epoch(0)
        shares = [
            ictal_share(windows.recordings[index].seizures, windows.start[windows.recording == index])
            for index in np.unique(windows.recording)
        ]
        return float(np.concatenate(shares).mean())
