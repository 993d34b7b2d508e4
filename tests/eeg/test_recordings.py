"""Files to recordings: what is read is what was written, and a file that is none gives one error that helps."""

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from helpers.detection import detect_by_rule
from helpers.eeg import CANONICAL, RecordingError, average_reference, read_recording, seizures


def refused(path, *words):
    """The one error of a bad file: it names the file, says each of `words`, and is one line with something to do."""
    with pytest.raises(RecordingError) as caught:
        detect_by_rule(read_recording(path))
    message = str(caught.value)
    assert path.name in message
    message = message.replace(str(path), path.name)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert len(message) > len(path.name) + 30
    return message


@pytest.fixture(scope="module")
def edf(synthetic, export, tmp_path_factory):
    """A synthetic EDF+ of 13 s with 20 channels and two marks."""
    raw = synthetic(13, names=[*CANONICAL, "ECG"], marks=[(2.5, 3.25, "seizure"), (7.0, 0.0, "eyes open")])
    return export(raw, tmp_path_factory.mktemp("edf") / "night.edf")


@pytest.fixture
def damaged(edf, tmp_path):
    """Write a copy of the EDF with other bytes at a place."""

    def write(place, content):
        whole = bytearray(edf.read_bytes())
        whole[place : place + len(content)] = content
        path = tmp_path / "damaged.edf"
        path.write_bytes(whole)
        return path

    return write


@pytest.mark.parametrize(("ending", "bits"), [("edf", 16), ("bdf", 24), ("EDF", 16)])
def test_round_trip_keeps_samples_names_rate_and_marks(synthetic, export, tmp_path, ending, bits):
    marks = [(2.5, 3.25, "seizure"), (7.125, 0.0, "eyes open"), (9.0, 1.5, "Spindle µ")]
    written = synthetic(17, sfreq=250.0, seed=3, marks=marks)
    path = export(written, tmp_path / f"a.{ending.lower()}").rename(tmp_path / f"b.{ending}")
    raw = read_recording(str(path))
    assert raw.ch_names == written.ch_names
    assert raw.info["sfreq"] == 250.0
    # EDF keeps steps of the range over 2^bits, and the header keeps the range to 8 characters
    step = np.ptp(written.get_data()) / 2**bits
    np.testing.assert_allclose(raw.get_data(), written.get_data(), atol=2 * step + 1e-9)
    assert [(mark["onset"], mark["duration"], mark["description"]) for mark in raw.annotations] == marks
    assert seizures(raw) == [(2.5, 5.75)]


def test_samples_of_an_edf_stay_on_disk_until_asked_for(edf):
    assert not read_recording(edf).preload


def test_seizures_are_found_by_label_and_duration_and_sorted(synthetic):
    marks = [
        (21.0, 2.0, "SZ"),
        (3.0, 4.0, " Seizure "),
        (9.0, 0.0, "seizure"),
        (12.0, 3.0, "artifact"),
        (14.5, 1.0, "seiz"),
    ]
    raw = synthetic(31, marks=marks)
    assert seizures(raw) == [(3.0, 7.0), (14.5, 15.5), (21.0, 23.0)]
    assert seizures(synthetic(31)) == []


def test_seizures_count_from_the_first_sample_of_a_cropped_recording(edf):
    raw = read_recording(edf)
    assert raw.info["meas_date"] is not None
    (onset, end), *none = seizures(raw.crop(1.25, 11))
    assert not none
    assert (onset, end) == pytest.approx((1.25, 4.5), abs=1e-6)


# -- no recording at all ----------------------------------------------------------------------------------------------


def test_a_path_that_is_no_file(tmp_path):
    refused(tmp_path / "missing.edf", "no such file", "check the path")
    refused(tmp_path, "a folder", "check the path")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.edf", b"", "0 bytes"),
        ("notes.edf", b"Patient asleep from 21:07 on.\n" * 40, "no EDF"),
        ("page.edf", b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>" * 9, "error page"),
        ("short.edf", b"0       X", "no EDF"),
        ("notes.bdf", b"\xff\xfeBIOSEMO" + b" " * 300, "no EDF or BDF"),
        ("notes.h5", b"no HDF5" * 99, "H5"),
        ("sleep.txt", b"0       ", "'.txt' is unknown"),
        ("sleep", b"0       ", "no ending"),
        ("sleep.edf.gz", b"\x1f\x8b" * 99, "'.gz' is unknown"),
    ],
)
def test_a_file_that_is_no_recording(tmp_path, name, content, word):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, word)


def test_hdf5_of_another_layout(tmp_path):
    import h5py

    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["record-0"] = np.arange(7)
    refused(path, "cannot be read as H5", "copy or download it again")


# -- damaged files ----------------------------------------------------------------------------------------------------


@fuzz(120)
@given(data=st.data())
def test_truncated_anywhere(edf, tmp_path, data):
    whole = edf.read_bytes()
    header = int(whole[184:192])
    cut = data.draw(st.one_of(st.integers(1, header - 1), st.integers(header, len(whole) - 1)))
    path = tmp_path / "cut.edf"
    path.write_bytes(whole[:cut])
    message = refused(path, "")
    if cut >= 256:
        assert "truncated" in message


def test_truncated_by_one_byte_says_how_much_is_there(edf, tmp_path):
    path = tmp_path / "cut.edf"
    path.write_bytes(edf.read_bytes()[:-1])
    refused(path, "13 records", "holds 12", "download it again")


@pytest.mark.parametrize("extra", [1, 777, 5_000])
def test_bytes_that_the_header_does_not_explain(edf, tmp_path, extra):
    path = tmp_path / "long.edf"
    path.write_bytes(edf.read_bytes() + b"\0" * extra)
    refused(path, "header is damaged", "13 records")


@pytest.mark.parametrize("count", [b"-1      ", b"9       "])
def test_a_record_count_that_was_never_updated_is_read_whole(edf, damaged, count):
    raw = read_recording(damaged(236, count))
    np.testing.assert_array_equal(raw.get_data(), read_recording(edf).get_data())


@pytest.fixture
def discontinuous(synthetic, export, tmp_path):
    """Write a file that says it is discontinuous, without some of its 13 records of 1 s."""

    def write(ending, left_out):
        whole = export(synthetic(13, names=CANONICAL, marks=[(10.0, 2.0, "seizure")]), tmp_path / f"whole{ending}")
        content, kept = whole.read_bytes(), [record for record in range(13) if record not in left_out]
        size = int(content[184:192])
        header, width = bytearray(content[:size]), (len(content) - size) // 13
        header[196:197], header[236:244] = b"D", f"{len(kept):<8d}".encode()
        path = tmp_path / f"pieces{ending}"
        path.write_bytes(header + b"".join(content[size + width * at : size + width * (at + 1)] for at in kept))
        return path, whole

    return write


@pytest.mark.parametrize("ending", [".edf", ".bdf"])
@pytest.mark.parametrize(("left_out", "gap", "after"), [({4, 5, 6}, 3, 4), ({1}, 1, 1), ({11}, 1, 11), ({0}, 1, 0)])
def test_a_gap_is_refused_and_said_where(discontinuous, ending, left_out, gap, after):
    refused(discontinuous(ending, left_out)[0], f"has a gap of {gap} s after {after} s", "Export it again as EDF+C")


@pytest.mark.parametrize("ending", [".edf", ".bdf"])
def test_a_discontinuous_file_without_gaps_is_read(discontinuous, ending):
    path, whole = discontinuous(ending, set())
    np.testing.assert_array_equal(read_recording(path).get_data(), read_recording(whole).get_data())


# place in the header; 21 signals with the annotations (Kemp 1992)
FIELDS = {"header bytes": 184, "records": 236, "seconds a record": 244, "signals": 252}
FIELDS |= {name: 256 + 21 * width + 8 * 3 for name, width in {"physical minimum": 104, "physical maximum": 112}.items()}
FIELDS |= {name: 256 + 21 * width + 8 * 3 for name, width in {"digital minimum": 120, "digital maximum": 128}.items()}
FIELDS["samples a record"] = 256 + 21 * 216 + 8 * 3


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("content", [b"x   ", b"    ", b"\xff\xfe\xfd\xfc", b"nan ", b"inf ", b"\0\0\0\0"])
def test_damaged_number_in_the_header(damaged, field, content):
    width = 4 if field == "signals" else 8
    refused(damaged(FIELDS[field], content.ljust(width)), "header is damaged", "Export the recording again")


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("header bytes", b"5631"),
        ("header bytes", b"0   "),
        ("signals", b"20  "),
        ("signals", b"0   "),
        ("signals", b"-5  "),
        ("seconds a record", b"0   "),
        ("seconds a record", b"-1  "),
        ("samples a record", b"-200"),
        ("samples a record", b"163 "),
    ],
)
def test_number_in_the_header_that_does_not_fit(damaged, field, content):
    message = refused(damaged(FIELDS[field], content.ljust(4 if field == "signals" else 8)), "header is damaged")
    if field in ("header bytes", "signals"):
        assert "bytes of header do not fit" in message


def test_decimal_commas_are_numbers(edf, damaged):
    point = edf.read_bytes()[FIELDS["physical maximum"] :][:8]
    assert b"." in point
    raw = read_recording(damaged(FIELDS["physical maximum"], point.replace(b".", b",")))
    np.testing.assert_array_equal(raw.get_data(), read_recording(edf).get_data())


def test_a_rate_too_low_for_eeg(damaged):
    refused(damaged(FIELDS["seconds a record"], b"100     "), "rate is 2 Hz", "at least 64 Hz")


def test_annotations_that_are_not_text(edf, damaged):
    whole = edf.read_bytes()
    refused(damaged(len(whole) - 40, b"\xff\xfe\xfd" * 9), "marks are damaged", "record 13", "download it again")


@fuzz(120)
@given(places=st.lists(st.integers(0, 5631), min_size=1, max_size=20), values=st.binary(min_size=20, max_size=20))
@pytest.mark.filterwarnings("error")
def test_any_bytes_in_the_header_give_a_recording_or_the_one_error(edf, tmp_path, places, values):
    whole = bytearray(edf.read_bytes())
    for place, value in zip(places, values, strict=False):
        whole[place] = value
    path = tmp_path / "flipped.edf"
    path.write_bytes(whole)
    try:
        detection = detect_by_rule(read_recording(path))
    except RecordingError:
        refused(path, "")
    else:
        assert np.isfinite(detection.scores).all()


# -- recordings that cannot be used -----------------------------------------------------------------------------------


def test_missing_channels_are_named(synthetic, export, tmp_path):
    names = [name for name in CANONICAL if name not in ("T3", "Pz")]
    path = export(synthetic(13, names=[*names, "ECG"]), tmp_path / "few.edf")
    message = refused(path, "2 of the 19 channels are missing: T3, Pz.", "ECG", "interpolate_missing")
    assert "bipolar" not in message


def test_bipolar_recording_is_called_bipolar(synthetic, export, tmp_path):
    pairs = ["FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP2-F8", "F8-T8", "T8-P8", "P8-O2", "FZ-CZ", "CZ-PZ"]
    refused(
        export(synthetic(13, names=pairs), tmp_path / "chain.edf"), "all 19 channels are missing", "bipolar (FP1-F7"
    )


def test_channels_that_are_there_twice(synthetic, export, tmp_path):
    refused(export(synthetic(13, names=[*CANONICAL, "T7"]), tmp_path / "two.edf"), "T3: T3, T7", "drop_channels")


def test_flat_channel(synthetic, export, tmp_path):
    raw = synthetic(13)
    raw.apply_function(lambda x: 0 * x + 3e-6, picks=["C4"])
    refused(export(raw, tmp_path / "flat.edf"), "channel C4", "flat", "interpolate")


def test_channel_that_is_flat_in_more_than_half_of_the_recording(synthetic, export, tmp_path):
    def loose(x, share):
        return np.where(np.arange(len(x)) < share * len(x), -7e-6, x)

    raw = synthetic(17, seed=5)
    path = export(raw.copy().apply_function(loose, picks=["O1", "Fz"], share=0.6), tmp_path / "loose.edf")
    refused(path, "channels O1, Fz", "flat")
    path = export(raw.copy().apply_function(loose, picks=["O1", "Fz"], share=0.4), tmp_path / "usable.edf")
    assert len(detect_by_rule(read_recording(path)).scores) == 16


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_channel_with_samples_that_are_no_numbers(synthetic, value):
    raw = synthetic(13)
    raw._data[7, 1234] = value
    with pytest.raises(RecordingError, match=f"recording: channel {CANONICAL[7]}: holds NaN or infinite samples"):
        average_reference(raw)


def test_channels_that_are_all_alike(synthetic):
    raw = synthetic(13)
    raw._data[:] = raw._data[4]
    with pytest.raises(RecordingError, match="nothing left after the average reference"):
        average_reference(raw)


@pytest.mark.parametrize("seconds", [1, 5, 9])
def test_too_short(synthetic, export, tmp_path, seconds):
    refused(export(synthetic(seconds), tmp_path / "short.edf"), f"lasts {seconds}.0 s", "at least 10 s")


# -- the real recording -----------------------------------------------------------------------------------------------


def test_absence_is_the_recording_that_its_page_describes(absence):
    assert len(absence.ch_names) == 36
    assert absence.info["sfreq"] == 200.0
    assert absence.n_times == 362_200
    marked = [(1380.51, 1384.25), (1416.90, 1422.84), (1476.93, 1483.27)]
    np.testing.assert_allclose(seizures(absence), marked, atol=0.01)  # as many digits as the page has


def test_absence_is_in_volts(absence):
    referenced = average_reference(absence)
    spread = 1e6 * referenced.get_data().std(axis=1)  # µV
    blinks = np.isin(referenced.ch_names, ["Fp1", "Fp2"])
    assert ((spread > 27) & (spread < 66))[~blinks].all()  # measured: 27.9 to 64.8
    assert ((spread > 115) & (spread < 135))[blinks].all()  # measured: 119 and 129
