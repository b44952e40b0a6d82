"""What the course refuses, in the tree of `errors`. Apart from it, because every result stands on
that module and none on the course.
"""

from entrack.errors import EntrackError


class ExerciseError(EntrackError):
    """An exercise of a chapter that cannot be taught as it is written: a label without checks, an
    answer that is not one function, a solution that would reach the students.
    """


class CheckFailed(EntrackError):
    """A check of an exercise that an answer does not pass yet; its message is one sentence."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]
