"""Promises that every next-token model must keep, and what is said when one does not.

    print(check_contracts(model))                                      a model of numpylm
    print(check_contracts(Contender(f, vocab_size=65, length=64)))     a function ids -> logits
    print(check_contracts(Contender(module, 65, 64)))                  a module of PyTorch
    print(causality(Contender(f, vocab_size=65, length=64)))           one contract alone
    print(targets_are_shifted(ids, targets))                           the data
    print(heldout_is_apart(train, heldout))

The failures meant here are silent: the shapes fit, the loss falls, the text looks fair.

    contenders            what is looked at       (contender_calls, contender_weights)
    contract_causality    no later token is read  (contract_trials: leak or rounding)
    contract_independence no other text is read
    contract_reading     order, padding, the cache
    contract_numbers     perplexity and loss
    contract_training    no leak
    contract_targets, contract_heldout               the data
"""

from collections.abc import Callable
from typing import Any

from .contenders import Contender
from .contract_causality import causality
from .contract_heldout import heldout_is_apart
from .contract_independence import independence
from .contract_numbers import batches_do_not_matter, loss_is_cross_entropy
from .contract_reading import cache_changes_nothing, order_is_used, padding_is_unread
from .contract_targets import targets_are_shifted
from .contract_training import can_learn, learner, no_leak
from .verdicts import Contracts, Verdict

__all__ = [
    "Contender",
    "Contracts",
    "Verdict",
    "batches_do_not_matter",
    "cache_changes_nothing",
    "causality",
    "check_contracts",
    "heldout_is_apart",
    "independence",
    "learner",
    "loss_is_cross_entropy",
    "no_leak",
    "order_is_used",
    "padding_is_unread",
    "targets_are_shifted",
]


def check_contracts(model: Any) -> Contracts:
    """Every contract for which `model` has what it takes; no_leak, the slow one, last.

    `model` is one of numpylm, a Contender, or a module of PyTorch whose config has vocab_size.
    """
    contender = Contender.of(model)
    contracts: list[Callable[[Any], Verdict]] = [
        causality,
        independence,
        order_is_used,
        batches_do_not_matter,
    ]
    if contender.loss is not None:
        contracts.append(loss_is_cross_entropy)
    if contender.padded is not None or contender.padding_id is not None:
        contracts.append(padding_is_unread)
    if hasattr(contender.model, "extend"):
        contracts.append(cache_changes_nothing)
    if can_learn(contender):
        contracts.append(no_leak)
    return Contracts(tuple(contract(contender) for contract in contracts))
