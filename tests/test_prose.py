"""The checker of `make lint` finds planted habits of grammar, passes correct English, and finds nothing in the repository."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).parents[1] / "docs" / "prose.py"
spec = importlib.util.spec_from_file_location("prose", CHECKER)
assert spec
assert spec.loader
prose = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prose)


@pytest.mark.parametrize(
    ("sentence", "remedy"),
    [
        ("Draw one row a setting.", 'write "per"'),
        ("One figure a file: the report reads all.", 'write "per"'),
        ("Attacks run 1,000 iterations a stage and four starts.", 'write "per"'),
        ("one panel a training stage and protocol", 'write "per"'),
        ("The exact forms take minutes a round on two cores.", 'write "per"'),
        ("It uses batch norm in the\n    place of group norm.", 'write "instead of"'),
        ("x.npz is no file of MedMNIST", 'write "is not a"'),
        ("These are no part of the study.", 'write "is not a"'),
        ("An update that is not finite is\nno example.", 'write "is not a"'),
        ("Whoever asks for files gets these cells.", "begin with the actor"),
        ("It is sealed. Whatever they pass on agrees with a manifest.", "begin with the actor"),
        ("The noise is drawn once. What was pruned stays zero.", "begin with the actor"),
        ("What is left of a constant image is rounding error.", "begin with the actor"),
        ("It runs last. Who reads it gets a copy.", "begin with the actor"),
    ],
)
def test_a_habit_is_named_with_its_remedy(sentence, remedy):
    assert [found for _, found in prose.habits(sentence)] == [remedy]


@pytest.mark.parametrize(
    "sentence",
    [
        "Draw one row per setting.",
        "(Yin et al., CVPR 2021, compare a network's features.)",
        "It looks once a second, one victim at a time.",
        "Two rounds of a client share a network.",
        "Each of the images a client holds is used in two steps on a batch of it.",
        "One gives a figure, the other a table; one command mends a study.",
        "A seed in place of a file, put in the place where it belongs.",
        "There is no file of that name, and there\nare no parts of it.",
        "The cell is no longer part of the study and is no better.",
        "What does it cost? It costs nothing. Who pays for it?",
        "What the server sees of each victim, and the sealed truth.",
        "What is needed to rebuild an architecture.",
        "Whatever its age, a finished cell stays.",
        "It depends on what is left, which is a number, and on who reads it.",
    ],
)
def test_correct_english_passes(sentence):
    assert list(prose.habits(sentence)) == []


def test_docstrings_comments_and_strings_of_python_are_read_with_their_lines(tmp_path):
    file = tmp_path / "planted.py"
    file.write_text(
        '"""Draw one row a setting."""\n'
        "\n"
        "# Images stand in the\n"
        "# place of labels.\n"
        "one_row_a_setting = 1\n"
        'error = f"{error} is no "\\\n'
        '    f"number"\n'
    )
    assert list(prose.check(file)) == [
        f'{file}:3: in the place of: write "instead of"',
        f'{file}:1: one row a setting: write "per"',
        f'{file}:6: is no number: write "is not a"',
    ]


@pytest.mark.parametrize("name", ["page.md", "study.yaml", "rule.smk"])
def test_other_files_are_read_whole_and_their_comments_without_marks(tmp_path, name):
    file = tmp_path / name
    file.write_text("first: 1\n\n# Images stand in the\n# place of labels.\n")
    assert list(prose.check(file)) == [f'{file}:3: in the place of: write "instead of"']


def test_a_list_item_and_a_table_cell_begin_a_sentence_of_their_own(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("- It runs\n- What runs is measured\n\n| What is claimed | is measured |\n")
    assert list(prose.check(file)) == [f"{file}:2: What runs is measured: begin with the actor"]


def test_the_repository_has_none_of_the_habits():
    run = subprocess.run([sys.executable, CHECKER], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr
