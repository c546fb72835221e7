"""Is it right, and would it be noticed if it were not?

gradient_cases   every gradient that is checked
mutants          mistakes on purpose       (mutants_*: the lists; mutation: how one is slipped in)
oracles          who sees which mistake    (second_formulas, dual_numbers, invariants, recurrences)
diagnose         which mistake is yours?   (diagnose_sizes, _cases, _compare, _students,
                 _suspects, _products, _factors, _words, _behaviour)
raised           an error in the reader's line and shapes;  relations: a wrong number in words
contracts        is a model that trains well also honest?
"""
