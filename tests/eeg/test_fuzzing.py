"""A sample of `fuzz_recordings.py`, and that it sees what it looks for."""

import pytest
from fuzz_recordings import DAMAGES, attempt, campaign, write_whole


@pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/statm').exists()", reason="limits memory by /proc")
def test_damaged_files_give_samples_or_the_one_error(tmp_path):
    counts, faults, most = campaign(tmp_path, 10 * len(DAMAGES), seed=3)
    assert faults == []
    assert {outcome for _, outcome in counts} == {"samples", "RecordingError"}
    assert most["megabytes"] < 50


def test_whole_files_give_samples(tmp_path):
    assert [attempt(path) for path in write_whole(tmp_path)] == ["samples", "samples"]


@pytest.mark.parametrize("how", ["raise KeyError(7)", "bytearray(2**31)", "while True: pass", "warnings.warn('late')"])
def test_what_the_campaign_is_for_is_found(tmp_path, monkeypatch, how):
    monkeypatch.setattr("fuzz_recordings.SECONDS", 1)

    def fault(raw):
        if "damaged" in raw.filenames[0].name:
            exec(f"import warnings\n{how}")

    monkeypatch.setattr("fuzz_recordings.seizures_of", fault)
    _, faults, _ = campaign(tmp_path, 14, seed=3)
    assert faults
    assert "signal" in faults[0] if "while" in how else "an exception" in faults[0]
