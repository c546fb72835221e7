"""The article's four tasks: generation, translation, sentiment, question answering.

run                 the tasks, over several seeds
translation         by the Transformer
generation          by GPT
sentiment           by BERT
question_answering  by BERT
compositions        what is held out
tools               settings, words, batches and the report, which the tasks share

The file of a task has its corpus, what must fail at it, and how it is trained and measured.
"""
