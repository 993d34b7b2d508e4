"""Batches for training and validation, read from a store on the way; nothing is kept or copied on disk.

The training loader has a state, the number of batches that were taken from it, so that a training goes on with the next
one. (Without a state, Lightning's trainer starts the epoch again from its first batch.)
"""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from helpers.eeg import SFREQ, WINDOW, labels_of, window_starts
from helpers.training.errors import TrainingError
from helpers.training.stopping import leave_signals_to_the_parent, signals_held

__all__ = ["RATE", "DetectionData", "ResumableLoader"]

RATE = int(SFREQ)
"""Samples a second, to count with."""


class DetectionData(LightningDataModule):
    """The windows of a `WindowOrder`, and those that cover the validation subjects' recordings once.

    Batches are dicts: ``eeg`` (batch, 19, 15360) float32 and ``labels`` (batch, 15360) bool; in training also ``step``,
    in validation ``rows``, where in `validation_windows` the windows stand.

    Parameters
    ----------
    config : TrainingConfig
    store : Store
    order : WindowOrder

    Attributes
    ----------
    validation : tuple of StoredRecording
        Those of the validation subjects that are at least one window long.
    validation_windows : list of (id, start)
        One after the other, and one that ends with the recording's last whole second. Detection averages over windows
        that start every 10 s; to compare epochs, one pass is enough and takes a sixth of the time.

    Raises
    ------
    TrainingError
        If the validation recordings hold no seizure.
    """

    def __init__(self, config, store, order):
        super().__init__()
        self._config, self._store, self._order = config, store, order
        subjects = order.splits["validation"]
        self.validation = tuple(one for one in store.recordings if one.subject in subjects and one.n_samples >= WINDOW)
        if not any(one.seizures for one in self.validation):
            raise TrainingError(
                f"{store.path}: no seizure in the recordings of the validation subjects ({', '.join(subjects)}); "
                "without one there is no sensitivity. Prepare more recordings, or choose another seed."
            )
        self.validation_windows = [
            (one.id, int(start))
            for one in self.validation
            for start in window_starts(one.n_samples // RATE * RATE, stride=WINDOW)
        ]

    def train_dataloader(self):
        """`ResumableLoader` of this device's share of every batch."""
        size, devices = self._config.batch_size, self.trainer.world_size
        if size % devices:
            raise TrainingError(f"batch_size {size} cannot be shared by {devices} devices; choose a multiple")
        batches = _TrainingBatches(self._store, self._order, slice(self.trainer.global_rank, None, devices))
        return ResumableLoader(batches, len(batches), **self._options())

    def val_dataloader(self):
        """This device's share of the validation windows, in order."""
        devices = self.trainer.world_size
        rows = list(range(len(self.validation_windows)))
        rows += (rows * devices)[: -len(rows) % devices]  # as many on each device: they wait for one another
        rows = rows[self.trainer.global_rank :: devices]
        size = self._config.batch_size // devices
        batches = [rows[first : first + size] for first in range(0, len(rows), size)]
        return _Loader(
            _ValidationBatches(self._store, self.validation_windows, batches), batch_size=None, **self._options()
        )

    def _options(self):
        return {
            "num_workers": self._config.workers,
            "worker_init_fn": leave_signals_to_the_parent,
            "pin_memory": self.trainer.strategy.root_device.type == "cuda",
        }


class _Loader(DataLoader):
    """A loader whose processes are born deaf to what ends a training; see `leave_signals_to_the_parent`."""

    def __iter__(self):
        with signals_held():
            return super().__iter__()


class ResumableLoader(_Loader):
    """A loader of whole batches that goes on where its state says; in order, by any number of workers.

    Parameters
    ----------
    batches : Dataset
        Its item k is batch k.
    total : int
        Batches in all.
    **options
        Of `torch.utils.data.DataLoader`.
    """

    def __init__(self, batches, total, **options):
        super().__init__(batches, batch_size=None, sampler=_From(total), **options)

    def __iter__(self):
        for batch in super().__iter__():
            self.sampler.first += 1  # counts what was taken, not what the workers have read ahead
            yield batch

    def state_dict(self):
        """``{"taken": batches that were taken}``."""
        return {"taken": self.sampler.first}

    def load_state_dict(self, state):
        """Go on after so many batches; before iteration begins."""
        self.sampler.first = state["taken"]


class _From(Sampler):
    def __init__(self, total):
        self.first, self.total = 0, total

    def __iter__(self):
        return iter(range(self.first, self.total))

    def __len__(self):
        return self.total  # of all steps: Lightning adds those before a checkpoint to what it counts


class _TrainingBatches(Dataset):
    def __init__(self, store, order, share):
        self.store, self.order, self.share = store, order, share

    def __len__(self):
        return self.order.total_steps

    def __getitem__(self, step):
        return _read(self.store, self.order.windows(step)[self.share]) | {"step": step}


class _ValidationBatches(Dataset):
    def __init__(self, store, windows, batches):
        self.store, self.windows, self.batches = store, windows, batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        rows = self.batches[index]
        return _read(self.store, [self.windows[row] for row in rows]) | {"rows": torch.tensor(rows)}


def _read(store, windows):
    labels = [labels_of(store[id].seizures, start) > 0 for id, start in windows]
    return {
        "eeg": torch.from_numpy(store.batch(windows)),  # (batch, 19, 15360)
        "labels": torch.stack([torch.from_numpy(label) for label in labels]),  # (batch, 15360)
    }
