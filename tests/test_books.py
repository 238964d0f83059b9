"""tools/books: cells of the three kinds of books, shortened training, and a small book run to its table."""

import json
import sys

import pytest

from tools.books import __main__ as command
from tools.books import cells
from tools.books.compare import compare, numbers, unit
from tools.books.standins import archives

PAGE = """
# A page
```{.python .input}
%%tab mxnet
import mxnet
```

```{.python .input}
%%tab pytorch, jax
%matplotlib inline
import torch
```

```{.python .input}
%%tab all
num_epochs = 30
if tab.selected('pytorch'):
    x = torch.arange(4.0)
x
```

```{.python .input}
only = 'of the first framework'
```
"""
OLD_PAGE = "```{.python .input}\nimport mxnet\n```\n\n```{.python .input}\n#@tab pytorch\nimport torch\n```\n"
SCRIPT = '"""\nTitle\n"""\n# %%\n# Words.\nimport torch\n\n####################\nprint(torch.ones(2).sum(), """\n# %%\n""")\n'


def sections_of(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return {section.name: section.cells for section in cells.sections(folder)}


def test_cells_of_every_kind_of_book(tmp_path):
    notebook = json.dumps(
        {"cells": [{"cell_type": "markdown", "source": ["#"]}, {"cell_type": "code", "source": ["a = 1\n", "a"]}]}
    )
    found = sections_of(tmp_path, new_md=PAGE, old_md=OLD_PAGE, book_ipynb=notebook, script_py=SCRIPT)
    assert [cell.strip() for cell in found["new.md"]] == [
        "pass\nimport torch",
        "num_epochs = 2\nif tab.selected('pytorch'):\n    x = torch.arange(4.0)\nx",
    ]
    assert found["old.md"] == ["import torch"]
    assert found["book.ipynb"] == ["a = 1\na"]
    assert [cell.splitlines()[-1] for cell in found["script.py"]] == ["import torch", '""")']


@pytest.mark.parametrize(
    "long, short",
    [
        ("epochs = 100", "epochs = 2"),
        ("lr, num_epochs = 0.1, 10", "lr, num_epochs = 0.1, 2"),
        ("def train(net, num_epochs=50): pass", "def train(net, num_epochs=50): pass".replace("50", "2")),
        ("batch_size, n = 128, 128", "batch_size, n = 8, 128"),
        ("n_iters = 100_000; print_every = 5000", "n_iters = 20; print_every = 5000"),
        ("for i in range(300):\n    'µ', i", "for i in range(20):\n    'µ', i"),
        ("'µ'; num_epochs = 30", "'µ'; num_epochs = 2"),
        ("x = [i for i in range(1000)]", "x = [i for i in range(1000)]"),
        ("num_steps, num_epochs = 32, 1", "num_steps, num_epochs = 32, 1"),
        ("not python (", "not python ("),
    ],
)
def test_shortened_training(long, short):
    assert cells.shorten(long) == short


def test_only_what_is_no_python_is_a_command_of_the_notebook():
    assert cells.without_magic("print('%d'\n      % 3)") == "print('%d'\n      % 3)"
    assert cells.without_magic("!pip install d2l\nx = 1") == "pass\nx = 1"
    assert cells.without_magic("%matplotlib inline") == ""


def test_numbers_are_compared_to_their_last_digit():
    def records(*texts, error=""):
        return [{"cell": i, "error": error, "text": text} for i, text in enumerate(texts)]

    assert numbers("tensor([1., nan]) 3x3 <f at 0x7f00> v1.5 -inf 2e-3") == ["1.", "nan", "-inf", "2e-3"]
    assert unit("1.25e-03") == pytest.approx(1e-5)
    assert compare(records("loss 0.123"), records("loss 0.124")).agrees
    assert not compare(records("loss 0.123"), records("loss 0.125")).agrees
    assert not compare(records("a 1 2"), records("a 1")).agrees
    assert not compare(records("ran"), records("", error="ValueError: no")).agrees
    assert compare(records("", error="NameError"), []).cells == 0
    timed = compare(records("took 0.5, loss 2.0"), records("took 0.1, loss 2.0"), records("took 0.8, loss 2.0"))
    assert (timed.agrees, timed.numbers, timed.unsteady) == (True, 1, 1)


@pytest.mark.parametrize("name", archives.FILES)
def test_files_that_stand_in_are_the_same_each_time(name):
    if name.split(".")[0] in ("banana-detection", "VOCtrainval_11-May-2012", "hotdog", "celeba", "faces", "pokemon"):
        pytest.skip("pictures, which take a second; the form is that of the smaller ones")
    pytest.importorskip("PIL")
    assert archives.FILES[name]()


def test_a_book_run_to_its_table(tmp_path):
    """Both sides are flambeau here: what is tested is the way from a page to the table."""
    book = tmp_path / "book"
    book.mkdir()
    broken = "```{.python .input}\n#@tab pytorch\nimport torch\ntorch.zeros(2) @ torch.zeros(3)\n```\n"
    sections_of(book, page_md=PAGE, broken_md=broken, script_py=SCRIPT)
    python = f"{sys.executable} -m flambeau run"
    page = tmp_path / "books.md"
    arguments = [
        str(book),
        "--torch",
        python,
        "--flambeau",
        python,
        "--work",
        str(tmp_path / "work"),
        "--table",
        str(page),
    ]
    assert command.main(arguments) == 0
    text = page.read_text()
    assert "2 of 2 sections agree" in text
    assert "| page.md | 2 of 2 | 4 of 4 |" in text and "| script.py | 2 of 2 | 1 of 1 |" in text
    assert "PyTorch does not run it here: RuntimeError" in text
