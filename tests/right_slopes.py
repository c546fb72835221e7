"""Numerical gradients of the right code, computed once for all the tests that compare with them."""

from numpylm.checks.oracles import MEMORY


def checked(case):
    """case.check(), with the slopes that another test has found where the forward is the same."""
    return case.check(known=MEMORY.setdefault(case.name, {}))
