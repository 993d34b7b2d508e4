"""The layout of eeghdf: marks in pairs become seizures, units become volts, what does not fit is the one error."""

import h5py
import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from helpers.eeg import CANONICAL, RecordingError, preprocess, read_recording, seizures, seizures_of

MARKS = [(2.5, "SZ START"), (4.0, "eyes open"), (6.25, "SZ END"), (8.0, "SZ START"), (9.5, "SZ END")]


@pytest.fixture
def file(tmp_path):
    """Write 11 s at 200 Hz; every second channel in mV."""

    def write(marks=MARKS, seed=1, name="a.h5"):
        random, path = np.random.default_rng(seed), tmp_path / name
        text = h5py.string_dtype("utf-8")
        with h5py.File(path, "w") as out:
            record = out.create_group("record-0")
            record.attrs["sample_frequency"] = 200.00000000000003
            record["signal_labels"] = np.array([f"EEG {name}" for name in CANONICAL], dtype=object).astype(text)
            record["physical_dimensions"] = np.array(["uV", "mV"] * 9 + ["uV"], dtype=object).astype(text)
            record["signals"] = random.integers(-2000, 2000, (19, 2200)).astype("int16")
            for end, value in [("mins", -1), ("maxs", 1)]:
                record[f"signal_digital_{end}"] = np.full(19, 32767 * value)
                record[f"signal_physical_{end}"] = np.where(np.arange(19) % 2, 0.0032767, 3.2767) * 1000 * value
            record["edf_annotations/starts_100ns"] = np.array([round(onset * 1e7) for onset, _ in marks])
            record["edf_annotations/texts"] = np.array([text for _, text in marks], dtype=object).astype(text)
        return path

    return write


def test_what_is_read(file):
    raw = read_recording(file())
    with h5py.File(raw.filenames[0]) as stored:
        steps = stored["record-0/signals"][:]
    np.testing.assert_allclose(raw.get_data(), steps * 1e-7, atol=1e-15)  # 0.1 µV a step
    assert raw.info["sfreq"] == 200.0
    assert seizures(raw) == seizures_of(raw) == [(2.5, 6.25), (8.0, 9.5)]
    assert len(raw.annotations) == 7


@pytest.mark.parametrize(
    "marks",
    [[(2.5, "SZ START")], [(2.5, "SZ END"), (4, "SZ START")], [(2.5, "SZ START"), (12, "SZ END")], [(99, "SZ START")]],
)
def test_a_start_without_its_end(file, marks):
    with pytest.raises(
        RecordingError, match=r"a\.h5: cannot be read as H5 \(SZ START at .* s of 11 s has its SZ END at"
    ):
        read_recording(file(marks))


FAULTS = {
    "signal_labels": [np.arange(19), np.array([b"EEG Fp1"] * 7)],
    "physical_dimensions": [np.array([b"uV"] * 3)],
    "signals": [np.zeros((18, 50), "int16"), np.zeros(9), np.zeros((0, 0)), np.full((19, 2200), np.nan)],
    "signal_digital_mins": [np.full(19, 32767), np.zeros(3)],
    "signal_digital_maxs": [np.full(19, np.nan)],
    "signal_physical_maxs": [np.full(19, 1e300), np.full(19, np.inf)],
    "edf_annotations/starts_100ns": [np.zeros(2), np.full(5, -(10**12))],
    "edf_annotations/texts": [np.arange(5)],
}


@pytest.mark.parametrize(
    ("name", "at"), [(name, at) for name, values in FAULTS.items() for at in range(-1, len(values))]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of infinity minus infinity
def test_parts_that_are_missing_or_do_not_fit(file, name, at):
    path = file(name="b.h5")
    with h5py.File(path, "a") as stored:
        del stored[f"record-0/{name}"]
        if at >= 0:
            stored[f"record-0/{name}"] = FAULTS[name][at]
    with pytest.raises(RecordingError, match=r"b\.h5"):
        preprocess(read_recording(path))


@pytest.mark.parametrize("rate", [0.0, -200.0, np.nan, np.inf, "fast"])
def test_rates_that_are_none(file, rate):
    path = file(name="b.h5")
    with h5py.File(path, "a") as stored:
        stored["record-0"].attrs["sample_frequency"] = rate
    with pytest.raises(RecordingError, match=r"b\.h5"):
        preprocess(read_recording(path))


@fuzz(25)
@given(share=st.floats(0, 0.999))
def test_cut_anywhere(file, share):
    path = file(name="b.h5")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(RecordingError, match=r"b\.h5"):
        read_recording(path)
