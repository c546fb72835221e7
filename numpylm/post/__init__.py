"""After pre-training: a model is put to a use, and the best possible result is known.

    enumeration     every text of a small language: exact objectives, gradients, expectations
    rollouts        texts that a model draws, and what it learns from their rewards
    programs        a small programming assistant: pre-trained, fine-tuned, rewarded
    transfer        what pre-training is worth, in labels
    scaling         how much data, how large a model?

The mathematics is in objectives.py and low_rank.py.
"""
