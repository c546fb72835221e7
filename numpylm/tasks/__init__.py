"""The four tasks that the seed names: generation, translation, sentiment, question answering.

run          the tasks, over several seeds
corpora      stories and reviews, generated   (pairs: sentences and their translations)
baselines    what must fail at each task
reading      sentiment and questions, by BERT
writing      generation by GPT, translation by the Transformer
tools        what the tasks share
"""
