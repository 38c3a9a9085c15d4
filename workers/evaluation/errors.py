"""What can go wrong with an evaluation, in a line that says what to do about it."""


class EvaluationError(Exception):
    """The pictures, the pairs or the options do not allow an evaluation; the message says why."""
