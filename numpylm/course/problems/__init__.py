"""The exercises of the notebooks: for each its solution, the inputs that it is tried on, and the
mistakes that are made.

way_in            a matrix product, the chain rule, a number used twice
counting          words and pairs counted; entropy and perplexity
one_matrix        scores, softmax, contexts, the whole one-matrix model; its first gradient
lines             backward through the one-matrix model and a block, line by line
checking          central difference, complex step, and a check that can fail
learning          learning rates, Adam, clipping
heads             split, merge, and attend side by side
repairs           what one matrix cannot learn
writing           temperature, top-p, the mask of a cache, an induction head
reading           hidden tokens, both sides, spans, precision and recall
translating       decoder masks, smoothing, beam search
listing           targets, loss and size of the article's listing
llama             the size of a row, a turned pair, what a cache holds
finding           a factor, the candidates that remain, what a question is worth
long_texts        scores made, a sum in one pass, weights made again
real_model        parameters of a real model, a head that reads back, the logit lens
transferring      what a bigram costs, the share that is trained, a merged matrix
rewarding         advantages in a group, an estimate of KL, the best value
outgrowing        averages over workers, foreign weights, the work of a step

A mistake is the solution with other options, or a function of its own; exercises.py compares.
"""
