"""The commands of the course, for `entrack.cli`: thin words around `entrack.course`."""

import argparse
from pathlib import Path

from entrack.book.chapters import project
from entrack.course.editions import build_course, published_pages
from entrack.course.grade import DANGER, grade
from entrack.sessions.slides import build_slides


def make_course(options: argparse.Namespace) -> int:
    """Write the editions and the slides, and say where they lie."""
    book = project()
    pages = published_pages(book)
    folder = build_course(book, pages)
    build_slides(book, pages)
    print(folder)
    return 0


def grade_folder(options: argparse.Namespace) -> int:
    """Grade `options.folder` and say where the table lies."""
    print(grade(Path(options.folder), project()))
    return 0


def _grade_arguments(sub: argparse.ArgumentParser) -> None:
    sub.epilog = DANGER
    sub.add_argument("folder", help="of submissions: a notebook, or a folder of them, a student")


COURSE_COMMANDS = {
    "course": (
        make_course,
        lambda sub: None,
        "Prove the exercises; write editions and slides to _build/course.",
    ),
    "grade": (
        grade_folder,
        _grade_arguments,
        "Grade a folder of submissions, which executes the students' code.",
    ),
}
"""As `entrack.cli.COMMANDS`."""
