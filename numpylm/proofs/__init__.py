"""Is it right, and would it be noticed if it were not?

mutants      mistakes on purpose    (mutants_*: the lists; mutation: how one is slipped in)
gradcases    every gradient that is checked
oracles      who sees which mistake (duals, formulas, invariants, recurrences)
contracts    is a model that trains well also honest?
diagnose     which mistake is yours? (probes, answers, describe)
"""
