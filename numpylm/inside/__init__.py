"""See inside: where a number comes from, and what changes if one intervenes.

explain          this entry is the sum of these terms, down to the parameters
traces, terms    behind it: the second formulas, run on numbers that remember
texts            a text, as the model of a run reads it
interventions    without this head, with that activation of another text, with frozen patterns
flow, heads      behind it: what flows through a forward, and attention by its heads
attribution      whose doing a logit is, in shares that add up
planted          models whose mechanism is known, because their weights are set by hand
pages            one page on one text, for a browser
judged           which method finds it, and which does not
"""
