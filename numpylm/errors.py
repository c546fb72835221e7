"""One way to fail: every mistake that a user can make is an InputError."""


class InputError(ValueError):
    """A mistake in what numpylm was given. The message names it and says what to do."""
