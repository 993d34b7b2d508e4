"""The shared package of the Bi-Mamba-2 EEG Workbook. Import what you need from its packages:

`helpers.environment` (what is this machine), `helpers.models`, `helpers.eeg`, `helpers.scoring`, `helpers.detection`,
`helpers.cloud`, `helpers.teaching`. Importing `helpers` itself loads nothing.
"""


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version

        return version("bimamba-eeg-workbook")
    raise AttributeError(f"module 'helpers' has no attribute {name!r}")
