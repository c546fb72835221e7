"""See inside: where a number comes from, and what changes if one intervenes.

explain          this entry is the sum of these terms, down to the parameters
traces, terms    behind it: the second formulas, run on numbers that remember
texts            a text, as the model of a run reads it
"""
