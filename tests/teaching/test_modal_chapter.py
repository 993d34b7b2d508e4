"""Chapter 03: its labs break for the reason that they give, and what it draws and prints is what was recorded."""

import matplotlib.pyplot as plt
import pytest
from test_chapter_labs import labs, run

from helpers.environment import Lab, LabError

pytest.importorskip("modal")

from helpers.cloud.local.containers import why_no_containers
from helpers.teaching.modal_lab import checkout, label, layers_figure, modal_run

CHAPTER = "03_modal_image"
MENDED = {  # lab: what stands in its cells, and what takes the cause away
    "local-last": {
        'modal_run(lab, "run", "last.py"': "lab.write('last.py', LAST.replace("
        '\'"/root/settings.txt"\', \'"/root/settings.txt", copy=True\')); modal_run(lab, "run", "last.py"'
    },
    "build-tools": {'note.dockerfile("exchanged")[-2:]': 'note.dockerfile("as_noted")[-2:-1]'},
    "compiler": {"    build()": "    build(CC='gcc', CXX='g++')"},
    "timeout": {'"run", "-q", "long.py"': '"run", "-q", "first.py"'},
    "required-keys": {'{"KEY": "made-up"}': '{"STORAGE_KEY": "made-up"}'},
}
IN_A_CONTAINER = {
    "wheel": {'modal_run(lab, "run", "wheel.py")': 'modal_run(lab, "run", "first.py")'},
    "package-data": {
        'modal_run(lab, "run", "data.py")': "lab.write('data.py', DATA.replace("
        '\'"scales")\', \'"scales", ignore=[])\')); modal_run(lab, "run", "data.py")'
    },
}
runs = pytest.mark.skipif(bool(why_no_containers()), reason=str(why_no_containers()))


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


def test_every_lab_is_mended_here():
    assert labs(CHAPTER) == {*MENDED, *IN_A_CONTAINER}


@pytest.mark.parametrize("lab", MENDED)
def test_without_its_cause_a_lab_turns_red(lab):
    with pytest.raises(AssertionError, match=r"the block ran without an error, expected \w+ matching"):
        run(CHAPTER, lab, MENDED[lab])


@runs
@pytest.mark.parametrize("lab", IN_A_CONTAINER)
def test_without_its_cause_a_lab_of_a_container_turns_red(lab):
    with pytest.raises(AssertionError, match=r"the block ran without an error, expected \w+ matching"):
        run(CHAPTER, lab, IN_A_CONTAINER[lab])


def test_the_app_is_found_from_any_folder_of_the_checkout(lab, monkeypatch, tmp_path):
    assert (checkout(lab) / "env" / "modal" / "app.py").is_file()
    (tmp_path / "env" / "modal").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "env" / "modal" / "app.py").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert checkout(lab) == tmp_path


APP = """
    import modal

    app = modal.App("test")

    @app.function()
    def double(x):
        print("at", __file__)
        return 2 * x

    @app.local_entrypoint()
    def main(x: int):
        print("got", double.remote(x))
"""


@runs
def test_what_a_container_says_is_shown_and_progress_is_not(lab, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a notebook's kernel
    lab.write("app.py", APP)
    modal_run(lab, "run", "app.py", "--x", "4")
    assert capsys.readouterr().out == "at ~/app.py\ngot 8\n"


def test_a_run_that_was_only_recorded_says_so_unless_that_was_asked_for(lab, capsys, monkeypatch):
    lab.write("app.py", APP)
    asked = modal_run(lab, "run", "app.py", "--x", "4", run=False)
    assert asked.dockerfile("double")[0].startswith("FROM python:")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("helpers.cloud.local.server.why_no_containers", lambda: "no unshare on the PATH")
    modal_run(lab, "run", "app.py", "--x", "4")
    assert capsys.readouterr().out == "Recorded, not run: no unshare on the PATH.\n"


def test_a_failure_is_told_without_the_traceback_of_the_client(lab):
    lab.write("app.py", APP)
    with pytest.raises(LabError, match=r"No such option '--y'") as caught:
        modal_run(lab, "run", "app.py", "--y", "4")
    assert caught.value.returncode == 2


@runs
def test_an_error_of_a_container_is_told_in_its_last_line(lab):
    lab.write("app.py", APP.replace("return 2 * x", 'open("/root/table.toml")'))
    with pytest.raises(LabError) as caught:
        modal_run(lab, "run", "app.py", "--x", "4")
    assert str(caught.value).splitlines()[-1] == (
        "FileNotFoundError: [Errno 2] No such file or directory: '~/table.toml'"
    )
    assert "synchronizer.py" not in str(caught.value)


WHEELS = "https://example.org/v1/{}-1.0+cu12torch2.10cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
LAYERS = [
    {"commands": ["FROM python:3.11", "RUN apt-get update", 'CMD ["sleep"]'], "gpu": None},
    {"commands": ["FROM base", "RUN python -m pip install a==1 b==2 c==3 d==4 e==5 --constraint /c.txt"], "gpu": None},
    {"commands": ["FROM base", f"RUN python -m pip install {WHEELS.format('x')} {WHEELS.format('y')}"], "gpu": None},
    {"commands": ["FROM base", f'RUN python -c "{"import torch; " * 20}"'], "gpu": "H100"},
    {"commands": ["FROM base", "ENV A=1", "ENV B=2"], "gpu": None},
]


def test_a_layer_in_one_line():
    assert [label(layer) for layer in LAYERS[:3]] == [
        "FROM python:3.11 (1 of 3 commands)",
        "pip install a==1 b==2 … e==5 (5 packages)",
        "pip install x-1.0 y-1.0, for cu12torch2.10cxx11abiTRUE-cp311",
    ]
    assert label(LAYERS[3]).startswith('on H100: python -c "import torch')
    assert label(LAYERS[3]).endswith("…")
    assert label(LAYERS[4]) == "ENV A=1 (1 of 2 commands)"


@pytest.mark.parametrize(("changed", "built", "sent"), [(None, 0, 0), (0, 5, 1), (3, 2, 1), (5, 0, 1)])
def test_the_picture_marks_a_changed_layer_and_all_that_follow(changed, built, sent):
    figure = layers_figure(LAYERS, "our files", changed)
    words = [text.get_text() for text in figure.axes[0].texts]
    plt.close(figure)
    assert words[::2] == [*map(label, LAYERS), "our files"]
    assert words.count("built again") == built
    assert words.count("sent again") == sent
    assert words[1::2][: len(LAYERS) - built] == ["kept"] * (len(LAYERS) - built)
