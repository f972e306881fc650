"""Links to the repository, all made from one address in pyproject.toml.

The address is `Repository` under `[project.urls]`. While its host ends with
`.invalid` there is no repository yet, and the site has none of these links.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
BRANCH = "main"
HOSTS = {"github.com": "github", "gitlab.com": "gitlab"}


@dataclass(frozen=True)
class Address:
    """A repository on GitHub or GitLab."""

    url: str
    provider: str

    @property
    def pages(self) -> str:
        """Return the address of the site on GitHub Pages or GitLab Pages."""
        owner, name = urlsplit(self.url).path.strip("/").rsplit("/", 1)
        return f"https://{owner}.{self.provider}.io/{name}/"


def read(project: Path = ROOT / "pyproject.toml") -> Address | None:
    """Return the repository's address, or None where it is a placeholder.

    Raises ValueError if it is on a host that the theme has no links for.
    """
    text = project.read_text(encoding="utf-8")
    url = tomllib.loads(text)["project"]["urls"]["Repository"].rstrip("/")
    host = urlsplit(url).hostname or ""
    if host.endswith(".invalid"):
        return None
    if host not in HOSTS:
        raise ValueError(
            f"pyproject.toml, project.urls.Repository: got {url}, expected "
            f"an address on {' or '.join(HOSTS)}"
        )
    return Address(url, HOSTS[host])


# A notebook is generated: who edits a page edits its source.
SOURCE = (
    "{{ file_name | replace('notebooks/', 'book/chapters/')"
    " | replace('exercises/solutions/', 'book/problems/')"
    " | replace('exercises/part', 'book/problems/part')"
    " | replace('.ipynb', '.py') }}"
)


def configure(config: Any, address: Address | None) -> None:
    """Switch on the theme's links, and the page addresses of link previews."""
    options = config.html_theme_options
    for link in ("repository", "edit_page", "issues"):
        options[f"use_{link}_button"] = address is not None
    options["launch_buttons"] = {}
    if address is None:
        options["repository_url"] = ""
        return
    options["repository_url"] = address.url
    options["repository_branch"] = BRANCH
    edit = "/-/edit/" if address.provider == "gitlab" else "/edit/"
    config.html_context["edit_page_provider_name"] = address.provider
    config.html_context["edit_page_url_template"] = (
        f"{address.url}{edit}{BRANCH}/{SOURCE}"
    )
    options["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
    }
    if address.provider == "github":  # Colab opens notebooks of no other host
        options["launch_buttons"]["colab_url"] = (
            "https://colab.research.google.com"
        )
    config.html_baseurl = address.pages
