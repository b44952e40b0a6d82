"""Every error that entrack raises on purpose.

One family, so that `except EntrackError` catches what a user can mend and nothing else. A message
says what was wrong with the offending value, what is allowed, and what to do: it is written for the
person who typed the value."""


class EntrackError(Exception):
    """Parent of all errors below; raised itself nowhere."""


class TaskError(EntrackError):
    """A scene, example, word list or desideratum that cannot exist (number of boxes, format, split,
    word).
    """


class AlignmentError(EntrackError):
    """Tokens do not stand where an experiment needs them: a word of two tokens, unequal lengths, an
    unknown role.
    """


class SiteError(EntrackError):
    """A head, layer or group that the model does not have, or that cannot be read from the text
    given.
    """


class HookError(EntrackError):
    """A hook was asked for on a module, or for a tensor, that is not there."""


class NotFiredError(HookError):
    """An edit was registered and the forward pass never came past it: the result would silently be
    the clean run.
    """


class ModelError(EntrackError):
    """A model, family or adapter that is unknown, damaged or of another architecture than Llama."""


class DataError(EntrackError):
    """A stored file that is damaged, or a folder that cannot be written to."""


class ConfigError(EntrackError):
    """An experiment's settings contradict each other or lie outside their range."""


class FigureError(EntrackError):
    """A figure, table or glued number that a reader could not understand or could not load."""


class ChapterError(EntrackError):
    """A chapter that cannot be read, executed or shown: a cell that failed, outputs that are not
    fresh.
    """


class ParameterError(ChapterError):
    """A chapter, a parameter or a value that was asked for and does not exist; refused before
    anything runs.
    """


class StampError(EntrackError):
    """The record of how a notebook was executed is damaged or contradicts its source."""
