import pytest

from numpylm.__main__ import main
from numpylm.course import links as module
from numpylm.course.links import links, repository
from numpylm.errors import InputError

PATH = "notebooks/03_backward.ipynb"


def test_a_notebook_on_github_opens_in_colab_and_in_binder():
    assert links("https://github.com/ana/lm", PATH) == {
        "Colab": f"https://colab.research.google.com/github/ana/lm/blob/main/{PATH}",
        "Binder": f"https://mybinder.org/v2/gh/ana/lm/main?labpath={PATH}",
    }


def test_colab_opens_nothing_of_gitlab():
    binder = f"https://mybinder.org/v2/gl/ana%2Flm/main?labpath={PATH}"
    assert links("https://gitlab.com/ana/lm", PATH) == {"Binder": binder}


@pytest.mark.parametrize("address", ["github.com/ana/lm", "https://github.com/ana", "git@x:a/b"])
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(InputError, match=r"repository in pyproject.toml is .*github.com/OWNER"):
        links(address, PATH)


@pytest.mark.parametrize("written", ["https://github.com/ana/lm.git", "https://github.com/ana/lm/"])
def test_the_address_stands_in_one_place(tmp_path, written):
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.numpylm]\nrepository = "{written}"\n', encoding="utf-8"
    )
    assert repository(tmp_path) == "https://github.com/ana/lm"
    assert repository(tmp_path / "elsewhere") == "" and links("", PATH) == {}


def test_the_command_lists_every_notebook_or_says_where_to_write_the_address(monkeypatch, capsys):
    monkeypatch.setattr(module, "repository", lambda: "https://github.com/ana/lm")
    assert main(["links"]) == 0
    out = capsys.readouterr().out
    assert f"blob/main/{PATH}" in out and f"main?labpath={PATH}" in out
    monkeypatch.setattr(module, "repository", lambda: "")
    assert main(["links"]) == 2
    assert "write the address" in capsys.readouterr().err
