"""Faulty headers and marks: repaired where one reading makes sense, each repair named, the file untouched."""

import hashlib
import io
import struct
import time

import edfio
import mne
import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from helpers.eeg import CANONICAL, RecordingError, preprocess, read_recording, repairs, seizures

LABELS = [f"EEG {name}-REF" for name in CANONICAL]
SAMPLES = {"": 100}  # of a channel in each record of 0.5 s


def field(text, width):
    return (text if isinstance(text, bytes) else text.encode("latin-1")).ljust(width)[:width]


def hand_made(records=24, labels=LABELS, samples=SAMPLES, marks=None, units=b"uV", seed=1, **fields):
    """The bytes of an EDF+ written field by field: 24 records of 0.5 s; `marks` has the bytes of each one's marks."""
    random, rows = np.random.default_rng(seed), len(labels) + 1
    marks = marks or [b""] * records
    begin = fields.get("begin", 0)
    stamped = [b"+%g\x14\x14\0" % (begin + 0.5 * number) + text for number, text in enumerate(marks)]
    room = fields.get("room") or 2 * ((max(map(len, stamped)) + 2) // 2)
    sizes = [samples.get(label, samples[""]) for label in labels]
    head = {"version": (b"0", 8), "patient": ("X X X X", 80), "recording": ("Startdate X X X X", 80)}
    head |= {"date": ("14.03.21", 8), "time": ("09.01.17", 8), "size": (256 * (rows + 1), 8), "kind": ("EDF+C", 44)}
    head |= {"records": (records, 8), "seconds": ("0.5", 8), "signals": (rows, 4)}
    head = {name: (fields.get(name, value), width) for name, (value, width) in head.items()}
    columns = [([*labels, "EDF Annotations"], 16), ([fields.get("transducer", "")] * rows, 80)]
    columns += [([units] * len(labels) + [""], 8)]
    columns += [([fields.get("low", "-3276.7")] * rows, 8), ([fields.get("high", "3276.7")] * rows, 8)]
    columns += [([-32767] * rows, 8), ([32767] * rows, 8), ([""] * rows, 80), ([*sizes, room // 2], 8)]
    columns += [([fields.get("reserved", "")] * rows, 32)]
    parts = [field(value if isinstance(value, bytes) else str(value), width) for value, width in head.values()]
    for values, width in columns:
        parts += [field(value if isinstance(value, bytes) else str(value), width) for value in values]
    for stamp in stamped:
        parts += [random.integers(-900, 900, size).astype("<i2").tobytes() for size in sizes]
        parts.append(stamp.ljust(room, b"\0"))
    return b"".join(parts)


@pytest.fixture
def written(tmp_path):
    """Write bytes as a file, and see at the end that nobody changed it."""
    made = {}

    def write(content, name="night.edf"):
        path = tmp_path / name
        path.write_bytes(content)
        made[path] = hashlib.sha256(content).digest()
        return path

    yield write
    assert all(hashlib.sha256(path.read_bytes()).digest() == digest for path, digest in made.items())


def test_a_header_without_faults_is_not_repaired(written):
    raw = read_recording(written(hand_made()))
    assert repairs(raw) == ()
    assert not raw.preload
    assert raw.info["meas_date"].isoformat() == "2021-03-14T09:01:17+00:00"
    np.testing.assert_array_equal(read_recording(raw.filenames[0], repair=False).get_data(), raw.get_data())


TIME = "2021-03-14T09:01:17+00:00"
REPAIRS = {
    "colons in the time": ({"time": "09:01:17"}, "start time '09:01:17' read as 09.01.17"),
    "a short hour": ({"time": "9.01.17"}, "start time '9.01.17' read as 09.01.17"),
    "slashes in the date": ({"date": "14/03/21"}, "start date '14/03/21' read as 14.03.21"),
    "commas in seconds": ({"seconds": "0,5"}, "decimal commas in the header (seconds a record) read as points"),
    "commas in a range": (
        {"low": "-3276,7", "high": "3276,7"},
        "decimal commas in the header (physical minimum, physical maximum) read as points",
    ),
    "zeros for blanks": (
        {"patient": b"X X X X\0\0\0", "reserved": b"\0\0"},
        "bytes that are no text in the header (patient, reserved) read as blanks",
    ),
    "a name": (
        {"patient": "X F X Müller"},
        "characters beyond ASCII in the header (patient) read as Latin-1",
    ),
    "a reserved field": ({"reserved": b"\xe9\xff"}, "bytes that are no text in the header (reserved) read as blanks"),
    "too few records": ({"count": "9"}, "number of records 9 read as 24"),
    "records not counted": ({"count": "-1"}, "number of records -1 read as 24"),
}
UNITS = {"µV": "µV".encode(), "μV": "μV".encode(), "uv": b"uv", "microV": b"microV", "": b""}


@pytest.mark.parametrize("fault", REPAIRS)
def test_each_repair_is_named_and_right(written, fault):
    changed, said = REPAIRS[fault]
    changed = {"records" if name == "count" else name: value for name, value in changed.items()}
    good = hand_made(marks=[b"+2.25\x153.5\x14seizure\x14\0"] + [b""] * 23)
    content = bytearray(hand_made(marks=[b"+2.25\x153.5\x14seizure\x14\0"] + [b""] * 23, **{**changed, "records": 24}))
    content[236:244] = field(changed.get("records", "24"), 8)
    raw, expected = read_recording(written(bytes(content))), read_recording(written(good, "good.edf"))
    assert repairs(raw) == (said,)
    np.testing.assert_array_equal(raw.get_data(), expected.get_data())
    assert seizures(raw) == [(2.25, 5.75)]
    assert raw.info["meas_date"].isoformat() == TIME
    with pytest.raises(RecordingError, match=r"night\.edf: needs repair \(.*repair=True") as caught:
        read_recording(raw.filenames[0], repair=False)
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def bdf(synthetic, export, tmp_path_factory):
    return export(synthetic(11, marks=[(2.5, 3.25, "sz")]), tmp_path_factory.mktemp("bdf") / "a.bdf").read_bytes()


def test_a_bdf_is_repaired_too(written, bdf):
    content = bytearray(bdf)
    content[168:184], content[236:244] = b"14/03/2109:01:17", b"-1      "
    raw, expected = read_recording(written(bytes(content), "b.bdf")), read_recording(written(bdf, "good.bdf"))
    np.testing.assert_array_equal(raw.get_data(), expected.get_data())
    assert raw.info["meas_date"].isoformat() == TIME
    assert seizures(raw) == [(2.5, 5.75)]
    assert len(repairs(raw)) == 3


@pytest.mark.parametrize("unit", UNITS)
def test_microvolts_are_known_in_any_spelling(written, unit):
    """MNE takes a spelling that it doesn't know for volts: a million times too large."""
    raw, expected = (
        read_recording(written(hand_made(units=spelling), name))
        for spelling, name in [(UNITS[unit], "odd.edf"), (b"uV", "good.edf")]
    )
    np.testing.assert_array_equal(raw.get_data(), expected.get_data())
    assert 1e-6 < raw.get_data().std() < 1e-4
    assert repairs(raw) == (f"unit {unit!r} of {', '.join(LABELS)} read as uV",)


def test_micro_sign_in_latin_1_needs_no_repair(written):
    raw = read_recording(written(hand_made(units=b"\xb5V")))
    assert repairs(raw) == ()
    assert raw.get_data().std() < 1e-4


def test_a_blank_unit_of_a_small_range_is_volts(written):
    raw = read_recording(written(hand_made(units=b"", low="-0.00327", high="0.00327")))
    assert 1e-6 < raw.get_data().std() < 1e-4
    assert all(repair.endswith("read as V") for repair in repairs(raw))


def test_a_unit_that_is_none_of_voltage(written):
    with pytest.raises(RecordingError, match="EEG Fp1-REF is in 'cmH2O', expected uV, mV or V"):
        read_recording(written(hand_made(units=b"cmH2O")))


@pytest.mark.parametrize(("date", "time"), [("00.00.00", "09.01.17"), ("14.03.21", "25.61.00"), ("xx", "")])
def test_a_start_that_cannot_be_read_is_said(written, date, time):
    raw = read_recording(written(hand_made(date=date, time=time)))
    assert len(repairs(raw)) == (date != "14.03.21") + (time != "09.01.17")
    assert all("cannot be read" in repair for repair in repairs(raw))
    assert (raw.info["meas_date"] is None) == (date != "14.03.21")


def test_the_date_of_an_edf_plus_stands_in_another_field(written):
    raw = read_recording(written(hand_made(recording="Startdate 02-MAR-2019 X X X", date="00.00.00")))
    assert repairs(raw) == ()
    assert raw.info["meas_date"].year == 2019


@fuzz(20)
@given(faults=st.sets(st.sampled_from([fault for fault in REPAIRS if "records" not in fault]), min_size=1))
def test_repairs_add_up(written, faults):
    changed = {name: value for fault in sorted(faults) for name, value in REPAIRS[fault][0].items()}
    raw = read_recording(written(hand_made(**changed)))
    np.testing.assert_array_equal(raw.get_data(), read_recording(written(hand_made(), "good.edf")).get_data())
    said = " ".join(repairs(raw))
    for name, value in changed.items():
        if name in ("date", "time"):
            assert f"start {name} {value!r} read as" in said
    assert len(repairs(raw)) == len(set(repairs(raw)))


def test_repairs_stay_with_copies_crops_and_saved_files(written, tmp_path):
    raw = read_recording(written(hand_made(time="09:01:17", seconds="0,5")))
    raw.copy().crop(1, 5).save(tmp_path / "part_raw.fif", verbose="error")
    assert len(repairs(raw)) == 2
    assert repairs(mne.io.read_raw_fif(tmp_path / "part_raw.fif", verbose="error")) == repairs(raw)
    raw.info["description"] += "\nnoted by hand"
    assert len(repairs(raw)) == 2


def test_the_last_record_of_a_recorder_that_was_switched_off(written):
    content = bytearray(hand_made())
    content[236:244] = field("-1", 8)
    raw = read_recording(written(bytes(content[:-777])))
    assert repairs(raw) == ("number of records -1 read as 23, the last one is cut",)
    assert raw.n_times == 23 * 100
    path = written(bytes(content[: 256 * 21 + 50]), "empty.edf")
    with pytest.raises(RecordingError, match="no record follows"):
        read_recording(path)


# -- rates -------------------------------------------------------------------------------------------------------------


def test_faster_channels_are_left_out_so_that_electrodes_stay_as_recorded(written, tmp_path):
    random = np.random.default_rng(4)
    rates = {**dict.fromkeys(LABELS, 200), "ECG": 1000, "SpO2": 1}
    signals = [
        edfio.EdfSignal(random.normal(0, 30, 12 * rate), rate, label=label, physical_dimension="uV")
        for label, rate in rates.items()
    ]
    path = tmp_path / "mixed.edf"
    edfio.Edf(signals).write(path)
    raw = read_recording(path)
    assert raw.info["sfreq"] == 200
    assert raw.ch_names == [*LABELS, "SpO2"]
    assert repairs(raw) == ("channels faster than the electrodes left out: ECG (1000 Hz)",)
    stored = np.stack([signal.data for signal in signals[:19]]) * 1e-6
    np.testing.assert_allclose(raw.get_data(picks=LABELS), stored, atol=1e-12)
    assert preprocess(raw).shape == (19, 12 * 256)


def test_electrodes_of_different_rates(written):
    content = hand_made(samples={"": 100, LABELS[3]: 50, LABELS[11]: 50})
    with pytest.raises(
        RecordingError, match=r"different rates, 200 Hz: EEG Fp1-REF.*; 100 Hz: EEG P3-REF, EEG Fp2-REF"
    ):
        read_recording(written(content))


@pytest.mark.parametrize(("low", "high"), [("7", "7"), ("0", "0")])
def test_a_range_of_nothing(written, low, high):
    with pytest.raises(RecordingError, match=f"physical range of EEG Fp1-REF is {low} to {high}"):
        read_recording(written(hand_made(low=low, high=high)))


def test_one_label_on_two_channels_is_said(written):
    raw = read_recording(written(hand_made(labels=[*LABELS, LABELS[6]])))
    with pytest.raises(RecordingError, match=r"appear twice \(T3: EEG T3-REF-0, EEG T3-REF-1\)"):
        preprocess(raw)


# -- marks -------------------------------------------------------------------------------------------------------------


def test_marks_in_latin_1_and_over_two_lines(written):
    texts = ["Müdigkeit".encode("latin-1"), b"Augen\nzu"]
    marks = [b"+%d\x14%s\x14\0" % (1 + 2 * row, text) for row, text in enumerate(texts)]
    raw = read_recording(written(hand_made(marks=[*marks, b"+7.5\x152\x14Seizure\nleft\x14\0"] + [b""] * 21)))
    assert list(raw.annotations.description) == ["Müdigkeit", "Augen zu", "Seizure left"]
    assert repairs(raw) == ("text of marks is not UTF-8, read as Latin-1", "line breaks in marks read as blanks")


@pytest.mark.parametrize("onset", ["+13.5", "+99999", "-3"])
def test_a_mark_outside_is_named_and_a_seizure_outside_an_error(written, onset):
    def marked(text):
        mark = b"%s\x151.25\x14%s\x14\0" % (onset.encode(), text)
        return written(hand_made(marks=[b"+3\x14inside\x14\0" + mark] + [b""] * 23))

    raw = read_recording(marked(b"eyes open"))
    assert list(raw.annotations.description) == ["inside"]
    assert repairs(raw) == ("marks outside of the recording left out or cut: 1",)
    with pytest.raises(RecordingError, match=rf"a seizure is marked from {float(onset):g} to .* which lasts 12 s"):
        read_recording(marked(b"Seizure"))


def test_a_seizure_may_end_a_little_after_the_recording(written):
    raw = read_recording(written(hand_made(marks=[b"+11\x151.6\x14sz\x14\0"] + [b""] * 23)))
    assert seizures(raw) == [(11.0, 12.0)]


DAMAGED = [
    b"\xff\xfe",
    b"+\x14a\x14\0",
    b"1\x14a\x14\0",
    b"+1\x15\x14a\x14\0",
    b"+1\x14a\0",
    b"+1",
    b"+1\x15x\x14a\x14\0",
]


@pytest.mark.parametrize("mark", DAMAGED)
def test_a_mark_that_is_none_is_not_passed_over(written, mark):
    with pytest.raises(RecordingError, match="the marks are damaged: record 2 holds"):
        read_recording(written(hand_made(marks=[b"", mark] + [b"+9\x14b\x14\0"] * 22)))


@pytest.mark.parametrize("begin", [0.25, 0.9])
def test_a_recording_that_begins_within_a_second_has_no_gap(written, begin):
    """The header's start has whole seconds; the marks, and the first record, count from there."""
    mark = b"+%g\x152\x14seizure\x14\0" % (3 + begin)
    raw = read_recording(written(hand_made(marks=[b"", mark, *[b""] * 22], kind="EDF+D", begin=begin)))
    np.testing.assert_allclose(seizures(raw), [(3.0, 5.0)], atol=1e-9)


def test_a_mark_that_nothing_ends(written):
    """It fills its record; MNE would read on into the next one's samples."""
    marks = [b"+3\x14eyes open\x14", *[b""] * 23]
    assert list(read_recording(written(hand_made(marks=marks))).annotations.description) == ["eyes open"]
    with pytest.raises(RecordingError, match="the marks are damaged: record 1 holds"):
        read_recording(written(hand_made(marks=[b"+3\x14eyes open!!\x14", *[b""] * 23], room=20)))


def test_marks_that_would_take_a_pattern_for_ever_take_no_time(written):
    """MNE's pattern looks for an end from each of the onsets: minutes for a megabyte of them."""
    content = hand_made(marks=[b"+1" * 200_000] + [b""] * 23)
    began = time.process_time()
    with pytest.raises(RecordingError, match="the marks are damaged"):
        read_recording(written(content))
    assert time.process_time() - began < 5  # s; measured: 0.2


# -- anything at all ---------------------------------------------------------------------------------------------------


@fuzz(60)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 400), kind=st.sampled_from(["noise", "flips", "header"]))
@pytest.mark.filterwarnings("error")
def test_any_body_gives_samples_or_the_one_error(written, seed, cut, kind):
    content, random = (
        bytearray(hand_made(marks=[b"+3\x152\x14seizure\x14\0"] + [b""] * 23)),
        np.random.default_rng(seed),
    )
    size = 256 * 21
    if kind == "noise":
        content[size:] = random.bytes(len(content) - size)
    else:
        low, high = (size, len(content)) if kind == "flips" else (0, size)
        for place in random.integers(low, high, 30):
            content[place] = random.integers(256)
    if seed % 3 == 0:
        content = content[: len(content) - cut]
    path = written(bytes(content))
    fault = None
    try:
        samples = preprocess(read_recording(path))
    except RecordingError as caught:
        fault = str(caught)
    assert np.isfinite(samples).all() if fault is None else "night.edf" in fault and "\n" not in fault


@pytest.mark.parametrize("seconds", ["0.0001", "1e-99", "99999999"])
def test_rates_that_no_amplifier_has(written, seconds):
    with pytest.raises(RecordingError, match=r"night\.edf: the (rate is|recording lasts)"):
        preprocess(read_recording(written(hand_made(seconds=seconds, marks=[b""] * 24))))


def test_values_that_overflow(written):
    with pytest.raises(RecordingError, match=r"header is damaged \('-9\.9e307' is no finite number\)"):
        read_recording(written(hand_made(units=b"V", low="-9.9e307", high="9.9e307")))


# -- what the system does ----------------------------------------------------------------------------------------------


def test_a_file_that_goes_away_before_it_is_read(written):
    path = written(hand_made())
    raw = read_recording(path)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(RecordingError, match=r"night\.edf: the samples cannot be read"):
        preprocess(raw)
    path.write_bytes(content)


def test_a_file_that_may_not_be_read(written, monkeypatch):
    path = written(hand_made())

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(RecordingError, match=r"night\.edf: may not be read \(Permission denied\)"):
        read_recording(path)
    monkeypatch.undo()


def test_a_name_that_no_system_takes(tmp_path):
    for name in ("x" * 300 + ".edf", "a\0b.edf"):
        with pytest.raises(RecordingError):
            read_recording(tmp_path / name)


def test_hand_made_is_what_edfio_reads():
    """The writer above against a reader that is neither MNE nor ours."""
    edf = edfio.read_edf(io.BytesIO(hand_made(marks=[b"+3\x152\x14seizure\x14\0"] + [b""] * 23)))
    assert edf.labels == tuple(LABELS)
    assert [(mark.onset, mark.duration, mark.text) for mark in edf.annotations] == [(3.0, 2.0, "seizure")]
    assert struct.calcsize("<h") * len(edf.signals[0].data) == 2 * 24 * 100
