"""Annotations from five kinds of file: the spans that are written, or an error; never a seizure less."""

from itertools import pairwise

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from helpers.eeg import RecordingError, read_annotations, read_recording, seizures_of

TUSZ = """\
# version = csv_v1.0.0
# bname = aaaaaaac_s001_t000
# duration = {duration} secs
# montage_file = $NEDC_NFC/lib/nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
"""
SZCORE = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
SUMMARY = """\
Data Sampling Rate: 256 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7
Channel 2: F7-T7

"""


def paragraph(name, spans, numbered):
    """One file in a summary; where there are several seizures, some cases number them and some don't."""
    lines = [f"File Name: {name}", "File Start Time: 11:42:54", "File End Time: 12:42:54"]
    lines += [f"Number of Seizures in File: {len(spans)}"]
    for number, (onset, end) in enumerate(spans, 1):
        which = f"Seizure {number}" if numbered else "Seizure"
        lines += [f"{which} Start Time: {onset} seconds", f"{which} End Time: {end} seconds"]
    return "\n".join(lines) + "\n\n"


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture(scope="module")
def edf(synthetic, export, tmp_path_factory):
    """The bytes of a plain EDF, without room for marks, and of an EDF+ with one seizure and without; 61 s each."""
    folder, made = tmp_path_factory.mktemp("edf"), {}
    for name, marks in {"none": [], "one": [(7.5, 3.25, "seizure"), (20.0, 0.0, "eyes open")]}.items():
        made[name] = export(synthetic(61, marks=marks), folder / f"{name}.edf").read_bytes()
    made["plain"] = made["none"].replace(b"EDF Annotations ", b"SpO2            ")
    made["point"] = export(synthetic(61, marks=[(7.5, 0.0, "Seizure")]), folder / "point.edf").read_bytes()
    return made


# -- TUSZ --------------------------------------------------------------------------------------------------------------


def test_terms_of_tusz(file):
    rows = "TERM,0.0000,36.8868,bckg,1.0000\nTERM,36.8868,183.3055,seiz,0.9900\nTERM,183.3055,301.0,bckg,1.0000\n"
    assert read_annotations(file("a_s001_t000.csv_bi", TUSZ.format(duration="301.00") + rows)) == [(36.8868, 183.3055)]


def test_channels_of_tusz_are_united(file):
    rows = [("FP1-F7", 36.8868, 112, "cpsz"), ("F7-T3", 36.2, 110, "fnsz"), ("T3-T5", 200, 210.5, "gnsz")]
    rows += [
        ("F7-T3", 40, 50, "seiz"),
        ("FP1-F7", 112, 120.25, "tcsz"),
        ("C3-CZ", 0, 301, "bckg"),
        ("P3-O1", 250, 260, "nesz"),
    ]
    text = TUSZ.format(duration="301.00") + "".join(f"{a},{b},{c},{d},1.0\n" for a, b, c, d in rows)
    assert read_annotations(file("a.csv", text)) == [(36.2, 120.25), (200, 210.5)]


@pytest.mark.parametrize("label", ["seiz", "fnsz", "gnsz", "cpsz", "absz", "spsz", "tcsz", "tnsz", "mysz", "SEIZ "])
def test_every_kind_of_seizure_in_tusz(file, label):
    text = TUSZ.format(duration="20") + f"TERM,3,9.5,{label},1\n"
    assert read_annotations(file("a.csv", text)) == [(3, 9.5)]


def test_label_that_tusz_does_not_have(file):
    path = file("a.csv", TUSZ.format(duration="20") + "TERM,0,3,bckg,1\nTERM,3,9,siez,1\n")
    with pytest.raises(RecordingError, match=r"a\.csv, line 8: the label 'siez' is unknown\. Known: seiz, fnsz.*bckg"):
        read_annotations(path)


# -- SzCORE and BIDS ---------------------------------------------------------------------------------------------------


def test_events_of_szcore(file):
    rows = "3.5\t2.25\tsz_foc_ia_nm\t0.5\tn/a\t2021-03-14 09:01:17\t61.00\n"
    rows += "30.0\t10\tsz\tn/a\tn/a\tn/a\t61.00\n1\t1\timpd\tn/a\tn/a\tn/a\tn/a\n"
    assert read_annotations(file("a_events.tsv", SZCORE + rows)) == [(3.5, 5.75), (30.0, 40.0)]
    assert read_annotations(file("b.tsv", SZCORE + "0.0\t61.0\tbckg\tn/a\tn/a\tn/a\t61.00\n")) == []


def test_label_that_szcore_does_not_have(file):
    path = file("a.tsv", SZCORE + "3.5\t2.25\tseizure\tn/a\tn/a\tn/a\t61\n")
    with pytest.raises(RecordingError, match=r"a\.tsv, line 2: the label 'seizure' is unknown\. Known: sz, sz_…, bckg"):
        read_annotations(path)


def test_events_of_bids_are_free_text(file):
    rows = "onset\tduration\ttrial_type\n5\t2\tSeizure\n7\tn/a\teyes open\n20.5\t1.5\tsz\n30\t2\tsz_gen\n"
    assert read_annotations(file("a_events.tsv", rows)) == [(5, 7), (20.5, 22.0), (30, 32)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SZCORE, "no rows"),
        ("", "column onset, duration is missing"),
        ("onset\tduration\n3\t4\n", "no column eventType"),
        ("begin\tduration\teventType\n3\t4\tsz\n", "column onset is missing; found begin, duration, eventType"),
        (SZCORE + "3.5\t2.25\tsz\n", "line 2: 3 fields, expected the 7"),
        (SZCORE + "3.5\t2.25\tsz\tn/a\tn/a\tn/a\t61\tmore\n", "line 2: 8 fields, expected the 7"),
        (SZCORE + "n/a\t2.25\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: 'n/a' is no time"),
        (SZCORE + "1_0\t2.25\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: '1_0' is no time"),
        (SZCORE + "nan\t2.25\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: 'nan' is no time"),
        (SZCORE + "3\t-1\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: from 3 to 2 s"),
        (SZCORE + "-3\t9\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: from -3 to 6 s"),
        (SZCORE + "3\t0\tsz\tn/a\tn/a\tn/a\t61\n", "line 2: from 3 to 3 s"),
        (SZCORE + "3\t2\tsz\tn/a\tn/a\tn/a\t" + "6" * 200_000 + "\n", "is no table"),
        (b"\xff\xfe\x00", "is no text"),
    ],
)
def test_damaged_events(file, text, words):
    with pytest.raises(RecordingError) as caught:
        read_annotations(file("a_events.tsv", text))
    assert "a_events.tsv" in str(caught.value)
    assert words in str(caught.value)


# -- CHB-MIT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbered", [True, False])
def test_summaries_in_both_spellings(file, numbered):
    content = {"chb09_06.edf": [], "chb09_08.edf": [(2951, 3030), (9196, 9267)], "chb09_19.edf": [(5299, 5361)]}
    path = file("chb09-summary.txt", SUMMARY + "".join(paragraph(*item, numbered) for item in content.items()))
    for name, spans in content.items():
        assert read_annotations(path, name) == spans
        assert read_annotations(path, f"/somewhere/{name.upper()}") == spans


def test_a_seizure_whose_end_is_numbered_wrongly(file):
    """As in the summary of chb09: paired by number, the first seizure would last until the end of the second."""
    text = paragraph("chb09_08.edf", [(2951, 3030), (9196, 9267)], True).replace("Seizure 2 End", "Seizure 1 End")
    assert read_annotations(file("chb09-summary.txt", SUMMARY + text)) == [(2951, 3030), (9196, 9267)]


def test_a_summary_that_does_not_say(file):
    path = file("chb01-summary.txt", SUMMARY + paragraph("chb01_01.edf", [], False) + paragraph("b.edf", [], False))
    with pytest.raises(RecordingError, match=r"says nothing about chb01_02\.edf; it lists 2 files: chb01_01\.edf, b"):
        read_annotations(path, "chb01_02.edf")
    with pytest.raises(RecordingError, match="speaks of several recordings"):
        read_annotations(path)


def test_a_summary_whose_numbers_do_not_agree(file):
    text = paragraph("chb01_03.edf", [(2996, 3036)], False)
    for old, new in [("File: 1", "File: 2"), ("Seizure End Time: 3036 seconds\n", ""), ("3036", "x"), ("3036", "29")]:
        with pytest.raises(RecordingError, match=r"chb01-summary\.txt"):
            read_annotations(file("chb01-summary.txt", SUMMARY + text.replace(old, new)))


# -- anything at all ---------------------------------------------------------------------------------------------------

WHOLE = {
    "a_events.tsv": SZCORE + "3.5\t2.25\tsz\t0.5\tn/a\tn/a\t61.00\n30\t10\tsz\tn/a\tn/a\tn/a\t61\n",
    "a.csv": TUSZ.format(duration="301.00") + "FP1-F7,36.8868,112.0,cpsz,1.0\nF7-T3,36.2,112.0,cpsz,1.0\n",
    "a.csv_bi": TUSZ.format(duration="301.00") + "TERM,36.8868,183.3055,seiz,1.0\n",
    "chb01-summary.txt": SUMMARY + paragraph("chb01_03.edf", [(2996, 3036), (3100, 3101)], True),
}


@fuzz(200)
@given(data=st.data())
def test_any_text_gives_spans_or_the_one_error(file, data):
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    content = bytearray(WHOLE[name].encode())
    kind = data.draw(st.sampled_from(["flipped", "cut", "text", "doubled"]))
    if kind == "flipped":
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
            content[place] = data.draw(st.integers(0, 255))
    elif kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "text":
        content = bytearray(data.draw(st.text()).encode("utf-8", "surrogatepass"))
    else:
        place = data.draw(st.integers(0, len(content)))
        content = content[:place] + content[data.draw(st.integers(0, place)) :]
    path, fault = file(name, bytes(content)), None
    try:
        spans = read_annotations(path)
    except RecordingError as caught:
        fault = str(caught)
    if fault is None:
        assert all(0 <= onset < end < np.inf for onset, end in spans)
        assert all(before[1] < after[0] for before, after in pairwise(spans))
    else:
        assert name in fault
        assert "\n" not in fault


def test_many_empty_lines_take_no_time(file):
    text = "\n \t" * 200_000 + paragraph("chb01_03.edf", [(1, 2)], True) + "\t" * 200_000
    assert read_annotations(file("chb01-summary.txt", text)) == [(1, 2)]


def test_files_that_are_none(file, tmp_path):
    with pytest.raises(RecordingError, match=r"b\.tsv: cannot be read \(No such file"):
        read_annotations(tmp_path / "b.tsv")
    with pytest.raises(RecordingError, match=r"a\.json: no annotations known by this name"):
        read_annotations(file("a.json", "{}"))
    (tmp_path / "c.tsv").mkdir()
    with pytest.raises(RecordingError, match=r"c\.tsv: cannot be read \(Is a directory"):
        read_annotations(tmp_path / "c.tsv")


# -- of a recording ----------------------------------------------------------------------------------------------------


def test_the_first_kind_beside_a_recording_counts(file, edf):
    """The marks inside, then each kind of file is added, and wins over all before it."""
    path = file("chb01_03_eeg.edf", edf["one"])
    assert seizures_of(path) == read_annotations(path) == [(7.5, 10.75)]
    file("chb00-summary.txt", SUMMARY + paragraph("chb00_03_eeg.edf", [], False))
    file("chb01-summary.txt", SUMMARY + paragraph("chb01_03_eeg.edf", [(1, 2)], False))
    assert seizures_of(path) == [(1, 2)]
    for name, text, found in [
        ("chb01_03_eeg.csv", TUSZ.format(duration="61.00") + "F7-T3,2,3,cpsz,1\n", (2, 3)),
        ("chb01_03_eeg.csv_bi", TUSZ.format(duration="61.00") + "TERM,3,4,seiz,1\n", (3, 4)),
        ("chb01_03_eeg.tsv", SZCORE + "4\t1\tsz\tn/a\tn/a\tn/a\t61\n", (4, 5)),
        ("chb01_03_events.tsv", SZCORE + "5\t1\tsz\tn/a\tn/a\tn/a\tn/a\n", (5, 6)),
    ]:
        file(name, text)
        assert seizures_of(path) == seizures_of(read_recording(path)) == [found]


def test_no_annotations_are_not_no_seizures(file, edf, synthetic):
    assert seizures_of(file("none.edf", edf["none"])) == []
    path = file("plain.edf", edf["plain"])
    with pytest.raises(RecordingError, match=r"plain\.edf: no annotations, .* one row of bckg if there are none"):
        seizures_of(path)
    file("plain_events.tsv", SZCORE + "0.0\t61.0\tbckg\tn/a\tn/a\tn/a\t61.00\n")
    assert seizures_of(path) == []
    with pytest.raises(RecordingError, match="recording: no annotations"):
        seizures_of(synthetic(11))


def test_a_seizure_without_an_end(file, edf):
    with pytest.raises(RecordingError, match=r"point\.edf: the mark 'Seizure' at 7\.5 s has no duration"):
        seizures_of(file("point.edf", edf["point"]))


@pytest.mark.parametrize("span", [(60.5, 90), (61, 61.5), (500, 510)])
def test_annotations_outside_the_recording(file, edf, span):
    path = file("a.edf", edf["none"])
    file("a.csv", TUSZ.format(duration="61.00") + f"F7-T3,{span[0]},{span[1]},cpsz,1\n")
    with pytest.raises(
        RecordingError, match=rf"a\.csv: a seizure is annotated from {span[0]:g} to {span[1]:g} s, the "
    ):
        seizures_of(path)


def test_annotations_may_end_in_the_second_after_the_recording(file, edf):
    file("a.csv", TUSZ.format(duration="61.5") + "F7-T3,50,62,cpsz,1\n")
    assert seizures_of(file("a.edf", edf["none"])) == [(50, 61)]


@pytest.mark.parametrize("name", ["a.csv", "a_events.tsv"])
def test_annotations_of_a_recording_of_another_length(file, edf, name):
    path = file("a.edf", edf["none"])
    tusz, szcore = TUSZ.format(duration="301.00"), SZCORE + "0\t301\tbckg\tn/a\tn/a\tn/a\t301\n"
    file(name, tusz if name == "a.csv" else szcore)
    with pytest.raises(RecordingError, match=rf"{name}: is about 301 s, the recording a\.edf lasts 61 s"):
        seizures_of(path)


def test_the_real_recording(absence):
    spans = seizures_of(absence)
    marked = [(1380.51, 1384.25), (1416.90, 1422.84), (1476.93, 1483.27)]
    np.testing.assert_allclose(spans, marked, atol=0.01)  # as many digits as its page has
