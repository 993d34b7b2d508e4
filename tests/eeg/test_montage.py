"""Channel names: every spelling of the 19 electrodes, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.eeg import CANONICAL, RecordingError, canonical_name, pick_canonical

REFERENCES = ["REF", "Ref", "LE", "AR", "AVG", "Average", "A1", "A2", "A1A2", "A1+A2", "M1", "M2", "CLE", "CS2", "Vref"]
RENAMED = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


def test_canonical_order_is_that_of_szcore():
    order = "Fp1 F3 C3 P3 O1 F7 T3 T5 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6"
    assert " ".join(CANONICAL) == order


@settings(deadline=None, database=None)
@given(
    name=st.sampled_from([*CANONICAL, *RENAMED]),
    case=st.sampled_from([str.upper, str.lower, str.title, str]),
    before=st.sampled_from(["", "EEG ", "eeg ", "EEG-", "EEG_", "EEG:", "POL ", "  EEG  "]),
    after=st.sampled_from(
        ["", " ", "..", *(f"{sep}{reference}" for sep in ("-", "_", ":", " - ") for reference in REFERENCES)]
    ),
)
def test_every_spelling_of_an_electrode(name, case, before, after):
    assert canonical_name(before + case(name) + after) == RENAMED.get(name, name)


OUT_THERE = {"EEG Fp1-REF": "Fp1", "EEG FP1-LE": "Fp1", "fp1": "Fp1", "T7": "T3", "P8": "T6", "POL F3": "F3"}
OUT_THERE |= {"Fp1-A1A2": "Fp1", "EEG T5-AR": "T5", "FZ": "Fz"}
OUT_THERE |= {"FP1-CS2": "Fp1", "01": "O1", "Fc3.": None, "Fp1.": "Fp1", "Cz..": "Cz"}  # CHB-MIT, EEGMMI


@pytest.mark.parametrize(("label", "name"), OUT_THERE.items())
def test_spellings_that_are_out_there(label, name):
    assert canonical_name(label) == name


NO_ELECTRODE = ["", " ", "EEG", "REF", "A1", "EEG A2-REF", "M1", "ECG", "EKG1", "EOG LOC-A2", "T1", "FT9", "Fpz", "Oz"]
NO_ELECTRODE += [
    "FP1-F7",
    "EEG T3-T5",
    "Fp1-Fp1",
    "F",
    "F33",
    "Fp",
    "X3",
    "EEG Mark1",
    "EDF Annotations",
    "-REF",
    "F3 F4",
]


@pytest.mark.parametrize("label", NO_ELECTRODE)
def test_labels_that_are_no_electrode_of_the_19(label):
    assert canonical_name(label) is None


@settings(deadline=None, database=None, max_examples=50)
@given(label=st.text(max_size=20))
def test_any_text_has_an_answer(label):
    assert canonical_name(label) in {None, *CANONICAL}


def test_channels_come_in_canonical_order_and_keep_their_signals(synthetic):
    random = np.random.default_rng(7)
    old = {old: new for new, old in RENAMED.items()}
    labels = [f"EEG {old.get(name, name).upper()}-REF" for name in CANONICAL]
    names = [*random.permutation([*labels, "ECG", "EEG A1-REF"])]
    raw = synthetic(3, names=names)
    picked = pick_canonical(raw)
    assert tuple(picked.ch_names) == CANONICAL
    np.testing.assert_array_equal(picked.get_data(), raw.get_data(picks=labels))
    assert raw.ch_names == names


def test_missing_comes_before_twice(synthetic):
    raw = synthetic(3, names=[*CANONICAL[2:], "EEG C3-REF"])
    with pytest.raises(RecordingError, match="2 of the 19 channels are missing: Fp1, F3"):
        pick_canonical(raw)
    with pytest.raises(RecordingError, match=r"twice \(C3: C3, EEG C3-REF\)"):
        pick_canonical(synthetic(3, names=[*CANONICAL, "EEG C3-REF"]))
