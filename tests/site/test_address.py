"""Links to the repository come from one address, in pyproject.toml."""

import struct
from types import SimpleNamespace

import jinja2
import pytest
from committed import ROOT
from website import address, preview

GITHUB = "https://github.com/someone/minidiff"


def read(tmp_path, url):
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[project.urls]\nRepository = "{url}"\n')
    return address.read(project)


def configured(found):
    config = SimpleNamespace(
        html_theme_options={}, html_context={}, html_baseurl=""
    )
    address.configure(config, found)
    return config


def test_a_placeholder_gives_no_links(tmp_path):
    found = read(tmp_path, "https://example.invalid/minidiff")
    assert found is None
    options = configured(found).html_theme_options
    assert options["repository_url"] == "" and not options["launch_buttons"]
    assert not any(options[f"use_{x}_button"] for x in ("issues", "edit_page"))


def test_an_address_gives_every_link(tmp_path):
    config = configured(read(tmp_path, GITHUB + "/"))
    options = config.html_theme_options
    assert options["repository_url"] == GITHUB
    assert all(
        options[f"use_{link}_button"]
        for link in ("repository", "edit_page", "issues")
    )
    assert {"binderhub_url", "colab_url"} <= set(options["launch_buttons"])
    assert config.html_baseurl == "https://someone.github.io/minidiff/"


@pytest.mark.parametrize(
    "page, source",
    [
        ("notebooks/03_x.ipynb", "book/chapters/03_x.py"),
        ("exercises/part_1.ipynb", "book/problems/part_1.py"),
        ("exercises/solutions/part_1.ipynb", "book/problems/part_1.py"),
        ("book/glossary.md", "book/glossary.md"),
    ],
)
def test_who_edits_a_page_edits_its_source(tmp_path, page, source):
    config = configured(read(tmp_path, GITHUB))
    template = config.html_context["edit_page_url_template"]
    url = jinja2.Template(template).render(file_name=page)
    assert url == f"{GITHUB}/edit/main/{source}"


def test_a_host_without_links_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Repository.*example\.org"):
        read(tmp_path, "https://example.org/someone/minidiff")


def test_a_preview_has_a_picture_where_the_site_has_an_address():
    base = "https://someone.github.io/minidiff/"
    made = preview.tags('A "title"', "A sentence.", "book/intro.html", base)
    assert f'"og:image" content="{base}_static/preview.png"' in made
    assert f'"og:url" content="{base}book/intro.html"' in made
    width, height = preview.PICTURE_SIZE
    assert f'"og:image:width" content="{width}"' in made
    assert f'"og:image:height" content="{height}"' in made
    assert '"twitter:card" content="summary_large_image"' in made
    assert "A &quot;title&quot;" in made
    assert "og:image" not in preview.tags("A", "A sentence.", "x", "")


def test_the_picture_has_the_size_that_the_tags_say():
    head = (ROOT / "book" / preview.PICTURE).read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:24]) == preview.PICTURE_SIZE
