"""Which windows of a store there are, which hold a seizure, and a balanced choice of them for training.

The manifest is small and follows from the store alone; it is saved in it and made again whenever the store has changed.
No samples are read here, and no subject is assigned to a split (`helpers.eeg.splits`).
"""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.eeg.errors import StoreError
from helpers.eeg.labels import ictal_share
from helpers.eeg.windows import STRIDE, WINDOW, window_starts
from helpers.environment import replacing

__all__ = ["KINDS", "Manifest", "build_manifest"]

KINDS = ("none", "partial", "full")
"""Kinds of a window: no sample in a seizure, some, or at least 99 % of them."""

_FULL = 0.99
_RULES = f"1: {WINDOW} samples every {STRIDE}, the last one ends with the recording; full from {_FULL}"


@dataclass(frozen=True, eq=False, repr=False)
class Manifest(Sequence):
    """Windows of a store. As a sequence, it holds ``(id, start)`` of each: what `Store.batch` takes.

    Attributes
    ----------
    recordings : tuple of StoredRecording
        Those of the store.
    recording : (windows,) ndarray of int
        Index into `recordings`.
    start : (windows,) ndarray of int
        First sample, at 256 Hz.
    kind : (windows,) ndarray of str
        One of `KINDS`.
    """

    recordings: tuple
    recording: np.ndarray
    start: np.ndarray
    kind: np.ndarray

    def __repr__(self):
        counts = ", ".join(f"{number:,} {kind}" for kind, number in self.counts.items())
        return f"<Manifest of {len(np.unique(self.recording))} recordings: {counts}>"

    def __len__(self):
        return len(self.start)

    def __getitem__(self, index):
        """``(id, start)`` of one window; a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self.recordings[self.recording[index]].id, int(self.start[index])

    @property
    def counts(self):
        """Number of windows of each kind, as a dict."""
        return {kind: int((self.kind == kind).sum()) for kind in KINDS}

    @property
    def quotas(self):
        """Number of windows of each kind that `balanced` takes, where there are as many, as a dict."""
        partial = self.counts["partial"]
        return {"none": 5 * partial // 2, "partial": partial, "full": 3 * partial // 10}

    def of(self, subjects):
        """The windows of some subjects.

        Parameters
        ----------
        subjects : iterable of str

        Returns
        -------
        Manifest

        Raises
        ------
        StoreError
            If the store has no such subject.
        """
        wanted = set(subjects)
        unknown = sorted(wanted - {recording.subject for recording in self.recordings})
        if unknown:
            known = sorted({recording.subject for recording in self.recordings})
            raise StoreError(
                f"no recording of {', '.join(unknown)} in the store; expected subjects among {', '.join(known[:10])}"
                f"{', …' * (len(known) > 10)}. Check the split, or prepare their recordings too."
            )
        inside = np.array([recording.subject in wanted for recording in self.recordings], bool)
        return self._take(np.flatnonzero(inside[self.recording]))

    def balanced(self, seed):
        """All partial windows, 0.3 times as many full ones and 2.5 times as many without a seizure.

        Where there are fewer than that, all of them: a full window needs a seizure of a minute, and where seizures are
        shorter, as most of the synthetic ones are, there is hardly one. `quotas` beside `counts` tells. Drawn without
        replacement; the same seed draws the same.

        Parameters
        ----------
        seed : int

        Returns
        -------
        Manifest
            In the order of the recordings and starts.

        Raises
        ------
        StoreError
            If there is no partial window, with the likely causes.

        Notes
        -----
        The proportions are those of SeizureTransformer (Wu et al. 2025); its released code has others.
        """
        none, partial, full = (np.flatnonzero(self.kind == kind) for kind in KINDS)
        if len(partial) == 0:
            raise StoreError(self._no_partial())
        random, quotas = np.random.default_rng(seed), self.quotas
        chosen = [
            partial,
            random.permutation(full)[: quotas["full"]],
            random.permutation(none)[: quotas["none"]],
        ]
        return self._take(np.sort(np.concatenate(chosen)))

    def _take(self, indices):
        return Manifest(self.recordings, self.recording[indices], self.start[indices], self.kind[indices])

    def _no_partial(self):
        inside = [self.recordings[index] for index in np.unique(self.recording)]
        seizures = sum(len(recording.seizures) for recording in inside)
        found = f"no partial windows among {len(self):,} of {len(inside)} recordings, which have {seizures} seizures"
        if len(self) == 0:
            return f"{found}. Check that the split has subjects."
        if seizures:
            return (
                f"{found} ({self.counts['full']:,} full windows): each seizure fills its recording. Are recordings cut "
                "at the seizures' ends, or do marks span whole files? Prepare recordings with time before and after."
            )
        return (
            f"{found}. Likely: the marks are not beside the recordings (.csv, .csv_bi, *-summary.txt, *_events.tsv), "
            "use other words than seizure, or these subjects have none. Add the marks and run `workbook prepare` again."
        )


def build_manifest(store):
    """The manifest of a store: every window of 60 s, one each 10 s.

    It is read from ``manifest.npz`` in the store, if it was made of the same content by the same rules; else it is made
    and saved there. ``BGB_FORCE_MANIFEST_REBUILD=1`` in the environment makes it anew in any case.

    Parameters
    ----------
    store : Store

    Returns
    -------
    Manifest
    """
    path = store.path / "manifest.npz"
    arrays = None if os.environ.get("BGB_FORCE_MANIFEST_REBUILD") == "1" else _read(path, store.fingerprint)
    if arrays is None:
        arrays = _build(store)
        try:
            with replacing(path) as file:
                np.savez(file, fingerprint=store.fingerprint, rules=_RULES, **arrays)
        except OSError:  # a store that may only be read; the manifest is made in a moment
            pass
    return Manifest(store.recordings, **arrays)


def _build(store):
    recording, start, kind = [], [], []
    for index, stored in enumerate(store.recordings):
        starts = window_starts(stored.n_samples)
        share = ictal_share(stored.seizures, starts)
        recording.append(np.full(len(starts), index))
        start.append(starts)
        kind.append(np.where(share == 0, KINDS[0], np.where(share >= _FULL, KINDS[2], KINDS[1])))
    return {"recording": np.concatenate(recording), "start": np.concatenate(start), "kind": np.concatenate(kind)}


def _read(path, fingerprint):
    """The arrays of a saved manifest; None where it is missing, damaged, or not of this store and these rules."""
    try:
        with np.load(path) as saved:
            if (str(saved["fingerprint"]), str(saved["rules"])) != (fingerprint, _RULES):
                return None
            return {name: saved[name] for name in ("recording", "start", "kind")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
