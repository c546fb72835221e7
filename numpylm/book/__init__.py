"""The library as a website: every formula beside the lines that compute it.

write        the whole site, or nothing
text         LaTeX, docstrings and code as HTML
index        which function, test, mistake and notebook belongs to which formula
pages        a page for each module      (across: those that go across; notebooks: the course)
walk         the one-matrix model, one step at a time, with numbers that a reader may change
"""
