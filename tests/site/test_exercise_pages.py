"""Exercises on the site: in the contents, linked, with hints that fold."""

import pytest
from built import chrome, html, named, opened, toc

from minidiff import check

SOLVED = [name for name in toc() if "/solutions/" in name]


def test_each_link_of_the_list_lands_on_its_exercise(html):
    listed = (html / "book" / "exercises.html").read_text(encoding="utf-8")
    pages = {
        name: (html / f"{name}.html").read_text(encoding="utf-8")
        for name in toc()
    }
    for exercise_id in check.subjects():
        place = "exercise-" + exercise_id.lower().replace(".", "-")
        links = [
            part.split('"')[0]
            for part in listed.split('href="../')
            if part.split('"')[0].endswith(f"#{place}")
        ]
        assert len(links) == 1, (exercise_id, links)
        page = links[0].split(".html")[0]
        assert f'id="{place}"' in pages[page], exercise_id


def test_a_link_brings_the_exercise_into_sight(html, chrome):
    tab = opened(chrome, html / "book" / "exercises.html", 1440)
    tab.locator('a[href$="#exercise-3-2"]').click()
    tab.wait_for_function(
        """() => {
          const place = document.getElementById('exercise-3-2');
          const y = place ? place.getBoundingClientRect().y : -1;
          return document.querySelector('mjx-container') && y >= 0 && y < 300;
        }"""
    )
    assert tab.url.endswith("03_differential_attention.html#exercise-3-2")
    contents = tab.locator("#pst-secondary-sidebar")
    assert contents.get_by_text("Exercise 3.2").is_visible()
    tab.close()


@pytest.mark.parametrize("exercise_id", ["3.2", "P1.2"])
def test_hints_and_the_solution_fold_out(html, chrome, exercise_id):
    name = "exercises/part_1" if exercise_id[0] == "P" else named("03")
    tab = opened(chrome, html / f"{name}.html", 390)
    said = [
        *check.hints(exercise_id),
        check.solution_source(exercise_id).split("\n")[-2],
    ]
    places = ["Hint 1 of 3 for", "Hint 2 of 3 for", "Hint 3 of 3 for"]
    for line, text in zip([*places, "Solution of"], said, strict=True):
        fold = tab.locator(
            f'details:has(> summary:text("{line} {exercise_id}"))'
        )
        inside = fold.locator("p, pre").last
        assert not inside.is_visible()
        fold.locator("summary").click()
        assert inside.is_visible()
        shown = " ".join(inside.inner_text().split())
        assert " ".join(text.replace("`", "").split()) in shown
    tab.close()


def test_a_solved_set_has_no_hints_and_stands_apart(html):
    solved = (html / f"{SOLVED[0]}.html").read_text(encoding="utf-8")
    chapter = (html / f"{named('03')}.html").read_text(encoding="utf-8")
    for fold in ("Hint 1 of 3 for", "Solution of"):
        assert f"<summary>{fold}" in chapter.split("<article")[1]
        assert f"<summary>{fold}" not in solved.split("<article")[1]
    sidebar = chapter.split('class="bd-links')[1].split("</nav>")[0]
    folded = sidebar.split("solutions.html")[1].split("<details")[1]
    for name in SOLVED:
        link = f'href="../{name}.html"'
        assert sidebar.count(link) == folded.count(link) == 1


@pytest.mark.parametrize(
    "query, page, excerpt",
    [
        ("headwise", "03", "headwise"),
        ("rooflines", "13", "roofline"),
    ],
)
def test_search_shows_excerpts_of_the_text(html, chrome, query, page, excerpt):
    """Also of a site that is opened as a file."""
    tab = chrome.new_page()
    tab.goto((html / "search.html").as_uri() + f"?q={query}")
    result = tab.locator(f'#search-results li:has(a[href*="{named(page)}"])')
    shown = result.first.locator("p.context")
    shown.wait_for()
    assert excerpt in shown.inner_text().lower()
    assert shown.locator("mark").count() > 0
    assert tab.locator("#search-results p.context").count() > 2
    tab.close()


def test_no_excerpt_gives_a_solution_away(html):
    told = (html / "_static" / "excerpts.js").read_text(encoding="utf-8")
    assert check.hints("3.2")[0].split(".")[0] not in told
    assert "the headwise norm" in told
