"""Sphinx hook: buttons that lead to the repository, where its address is set, and none where it is
not.

`BOOK_REPOSITORY` is the address, such as a GitHub page; `BOOK_BRANCH` the branch, "main" unless it
is set. Without an address the theme's buttons would point at a repository of somebody else."""

import os
from urllib.parse import urlsplit

from sphinx.errors import ConfigError

COLAB = "https://colab.research.google.com"


def set_buttons(app, config):
    """Fill in the theme's options before any page is made."""
    options = dict(config.html_theme_options)
    address = os.environ.get("BOOK_REPOSITORY", "").rstrip("/")
    shown = bool(address)
    if shown and urlsplit(address).scheme != "https":
        raise ConfigError(
            f"BOOK_REPOSITORY {address!r}; an address that begins with https:// is needed. Set it"
            " to that of the repository, or unset it."
        )
    options |= {
        "repository_url": address,
        "repository_branch": os.environ.get("BOOK_BRANCH", "main"),
        "use_repository_button": shown,
        "use_issues_button": shown,
        "use_source_button": shown,
        "launch_buttons": {"colab_url": COLAB} if "//github.com/" in address else {},
    }
    config.html_theme_options = options


def setup(app):
    app.connect("config-inited", set_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
