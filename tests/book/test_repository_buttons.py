"""Buttons to the repository: there where its address is set, absent where it is not."""

from types import SimpleNamespace

import pytest
from sphinx.errors import ConfigError

from entrack.book.chapters import project

ADDRESS = "https://github.com/somebody/entrack"


@pytest.fixture
def options(monkeypatch):
    """The theme's options, given what `BOOK_REPOSITORY` is set to; None: not at all."""
    monkeypatch.syspath_prepend(project().root / "book" / "_ext")
    import repository_buttons

    def made(address):
        monkeypatch.delenv("BOOK_REPOSITORY", raising=False)
        if address is not None:
            monkeypatch.setenv("BOOK_REPOSITORY", address)
        config = SimpleNamespace(html_theme_options={"repository_url": "https://elsewhere.org"})
        repository_buttons.set_buttons(None, config)
        return config.html_theme_options

    return made


def test_without_an_address_no_button_leads_anywhere(options):
    found = options(None)
    assert found["repository_url"] == "" and found["launch_buttons"] == {}
    assert not any(found[f"use_{name}_button"] for name in ("repository", "issues", "source"))


def test_with_an_address_all_of_them_lead_there(options):
    found = options(f"{ADDRESS}/")
    assert found["repository_url"] == ADDRESS and found["repository_branch"] == "main"
    assert all(found[f"use_{name}_button"] for name in ("repository", "issues", "source"))
    assert found["launch_buttons"] == {"colab_url": "https://colab.research.google.com"}
    assert options("https://example.org/book")["launch_buttons"] == {}, "Colab reads GitHub"


def test_an_address_that_is_none_stops_the_build(options):
    with pytest.raises(ConfigError, match="BOOK_REPOSITORY 'somebody/entrack'; an address that"):
        options("somebody/entrack")
