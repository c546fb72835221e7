"""Is it right, and would it be noticed if it were not?

gradcases    every gradient that is checked
mutants      mistakes on purpose       (mutants_*: the lists; mutation: how one is slipped in)
oracles      who sees which mistake    (duals, formulas, invariants, recurrences)
diagnose     which mistake is yours?   (probes, answers, describe)
contracts    is a model that trains well also honest?
"""
