"""attention_lm.py: the one-matrix model, on paper, against PyTorch, and by its symmetries."""

import math
from itertools import product

import numpy as np
import pytest
from right_slopes import checked

from numpylm.attention_lm import PROJECTIONS, AttentionLM, AttentionLMConfig
from numpylm.checks.gradient_cases import model_cases
from numpylm.errors import InputError
from numpylm.gradcheck import complex_step
from numpylm.ops import IGNORE, cross_entropy_backward

# Two orders of the same few hundred float64 operations on numbers of order 1.
ROUNDING = 1e-12

V, C = 7, 4
IDS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]])
TARGETS = np.array([[6, 1, 2, 4, 1], [1, IGNORE, 0, 2, 6]])
CASES = [case for case in model_cases() if isinstance(case.model, AttentionLM)]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
tied_cases = [case for case in CASES if set(case.model.params) == {"E"}]
every_tied_case = pytest.mark.parametrize("case", tied_cases, ids=lambda case: case.name)

every_way_to_see = pytest.mark.parametrize(
    "options", [{}, {"positions": True}, {"projections": True}], ids=str
)


def a_model(dtype=np.float64, seed=2, **options):
    config = AttentionLMConfig(**{"vocab_size": V, "width": C, "init_std": 1.0, **options})
    return AttentionLM(config, np.random.default_rng(seed), dtype)


def with_params(model, **tables):
    """A model of the same config with other numbers in it."""
    other = model.astype(np.float64)
    for name, table in tables.items():
        other.params[name] = table
    return other


def loss_and_grads(model, ids=IDS, targets=TARGETS):
    loss, cache = model.loss(ids, targets)
    return loss, model.loss_backward(cache)


def paths_of(model, ids=IDS, targets=TARGETS):
    _, (cache, loss_cache) = model.loss(ids, targets)
    return model.backward_paths(cross_entropy_backward(1.0, loss_cache), cache)


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- the formulas, on paper and in loops -----------------------------------------------------


def test_f1_to_f5_the_sentence_s1_s2_s3_gives_the_numbers_found_on_paper():
    """Units of √ln 2 turn every exp into a power of 2.

    e_1 = (1, 0), e_2 = (0, 1), e_3 = (1, 1):   exp(e_3·e_j) = 2, 2, 4
    a_3 = 1/4, 1/4, 1/2   =>   c = (3/4, 3/4)   =>   exp(c·e_w) = 2^¾, 2^¾, 2^(3/2)
    p = 1, 1, 2^¾  over  2 + 2^¾,   and a next word S1 costs log(2 + 2^¾) nats.
    """
    unit = math.sqrt(math.log(2))
    model = with_params(
        a_model(vocab_size=3, width=2, context="last"), E=unit * np.array([[1, 0], [0, 1], [1, 1]])
    )
    logits, cache = model.forward([0, 1, 2])
    close(cache.attention.a[-1], [1 / 4, 1 / 4, 1 / 2])
    close(cache.attention.c[-1], [3 / 4 * unit, 3 / 4 * unit])
    close(np.exp(logits), [2**0.75, 2**0.75, 2**1.5])
    loss, _ = model.loss([0, 1, 2], [1, 2, 0])
    close(loss, math.log(2 + 2**0.75))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def loss_by_roles(query, key, value, output, model, ids=IDS, targets=TARGETS):
    """F1 to F5 in plain loops, with a table of its own for each of the four roles."""
    nats, config = [], model.config
    W_q, W_k, W_v = (model.params.get(name, np.eye(C)) for name in ("W_q", "W_k", "W_v"))
    P = model.params.get("P", np.zeros((len(ids[0]), C)))
    for row, truth in zip(ids, targets, strict=True):
        n = len(row)
        for i in range(n) if config.context == "all" else [n - 1]:
            if truth[i] == IGNORE:
                continue
            seen = range(i + 1 if config.causal else n)
            q = (query[row[i]] + P[i]) @ W_q
            powers = [np.exp(config.scale * dot(q, (key[row[j]] + P[j]) @ W_k)) for j in seen]
            values = [(value[row[j]] + P[j]) @ W_v for j in seen]
            c = sum(power * v for power, v in zip(powers, values, strict=True)) / sum(powers)
            word = [np.exp(dot(c, e_w)) for e_w in output]
            nats.append(-np.log(word[truth[i]] / sum(word)))
    return sum(nats) / len(nats)


@every_case
def test_f1_to_f5_the_loss_is_that_of_the_formulas_in_plain_loops(case):
    params = case.model.params
    E, U = params["E"], params["E" if case.model.config.tied else "U"]
    close(case.model.loss(IDS, TARGETS)[0], loss_by_roles(E, E, E, U, case.model))


@every_case
def test_the_backward_is_the_numerical_gradient(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


SWITCHES = ("causal", "tied", "positions", "projections")


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("context", ["all", "last"])
@pytest.mark.parametrize("switches", [*product([True, False], repeat=4)], ids=str)
def test_loss_and_gradients_are_those_of_pytorch(switches, context, scale):
    torch = pytest.importorskip("torch")
    options = dict(zip(SWITCHES, switches, strict=True))
    model = a_model(context=context, scale=scale, **options)
    config = model.config
    tables = {name: torch.tensor(table, requires_grad=True) for name, table in model.params.items()}
    e = tables["E"][torch.tensor(IDS)]
    if config.positions:
        e = e + tables["P"][:5]
    q, k, v = (e @ tables[name] if config.projections else e for name in ("W_q", "W_k", "W_v"))
    s = config.scale * q @ k.transpose(1, 2)
    if config.causal:
        s = s.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    c, targets = s.softmax(-1) @ v, torch.tensor(TARGETS)
    if config.context == "last":
        c, targets = c[:, -1:], targets[:, -1:]
    logits = c @ tables["E" if config.tied else "U"].T
    torch_loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE
    )
    torch_loss.backward()
    loss, grads = loss_and_grads(model)
    close(loss, torch_loss.item())
    for name, table in tables.items():
        close(grads[name], table.grad.numpy())


# ---- the four paths --------------------------------------------------------------------------


@every_case
def test_each_path_is_the_gradient_of_its_own_role(case):
    config, params = case.model.config, case.model.params
    E, U = params["E"], params["E" if config.tied else "U"]
    tables = [E, E, E, U]
    for role, (name, path) in enumerate(paths_of(case.model)._asdict().items()):

        def loss(x, role=role):
            return loss_by_roles(*tables[:role], x, *tables[role + 1 :], case.model)

        np.testing.assert_allclose(
            path, complex_step(loss, tables[role]), rtol=0, atol=ROUNDING, err_msg=name
        )


@every_case
def test_the_gradient_is_the_sum_of_its_paths(case):
    _, grads = loss_and_grads(case.model)
    query, key, value, output = paths_of(case.model)
    whole = query + key + value
    if case.model.config.tied:
        whole += output
    else:
        np.testing.assert_array_equal(grads["U"], output)
    # Only the order of additions differs: a few units in the last place of the largest entry.
    assert np.abs(whole - grads["E"]).max() <= 1e-15 * np.abs(whole).max()


@every_case
def test_rotating_the_embeddings_changes_no_loss_so_e_transposed_times_grad_is_symmetric(case):
    """e → e R leaves every e_i·e_j alone. Projections undo it: W_q → Rᵀ W_q, W_k → Rᵀ W_k, and
    W_v → Rᵀ W_v R, because c meets the output table. With R = exp(t A), A antisymmetric, at t = 0:

        0 = tr(A (Σ_tables tableᵀ dtable − Σ_W dW Wᵀ + W_vᵀ dW_v))   =>   that sum is symmetric.
    """
    R, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(C, C)))
    params = case.model.params
    rotated = {
        name: R.T @ p if name in ("W_q", "W_k") else R.T @ p @ R if name == "W_v" else p @ R
        for name, p in params.items()
    }
    loss, grads = loss_and_grads(case.model)
    close(with_params(case.model, **rotated).loss(IDS, TARGETS)[0], loss)
    product = sum(params[name].T @ grads[name] for name in ("E", "P", "U") if name in params)
    product -= sum(grads[name] @ params[name].T for name in params if name.startswith("W"))
    if "W_v" in params:
        product += params["W_v"].T @ grads["W_v"]
    close(product, product.T, 1e-14)


@every_tied_case
def test_dropping_any_path_breaks_that_symmetry(case):
    E = case.model.params["E"]
    _, grads = loss_and_grads(case.model)
    for name, path in paths_of(case.model)._asdict().items():
        product = E.T @ (grads["E"] - path)
        assert np.abs(product - product.T).max() > 1e-2, name


# ---- what the model can see ------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_one_layer_that_predicts_from_its_last_context_needs_no_causal_mask(tied):
    masked, open_ = (a_model(context="last", causal=causal, tied=tied) for causal in (True, False))
    (loss, grads), (open_loss, open_grads) = loss_and_grads(masked), loss_and_grads(open_)
    assert loss == open_loss
    np.testing.assert_array_equal(grads.flat, open_grads.flat)


@every_case
def test_the_weights_in_the_cache_look_back_only_where_the_model_is_causal(case):
    _, cache = case.model.forward(IDS)
    close(cache.attention.a.sum(axis=-1), np.ones(IDS.shape))
    assert np.triu(cache.attention.a, 1).any() == (not case.model.config.causal)


def test_the_last_context_does_not_know_the_order_of_the_tokens_before_it():
    model, ids = a_model(), np.array([3, 0, 6, 1, 5])
    for order in ([1, 0, 2, 3, 4], [3, 2, 1, 0, 4]):
        close(model.next_logits(ids[order]), model.next_logits(ids))
    assert np.abs(model.next_logits(ids[::-1]) - model.next_logits(ids)).max() > 0.1


def test_without_a_mask_permuting_the_tokens_permutes_the_logits():
    model, order = a_model(causal=False), [2, 4, 0, 3, 1]
    close(model.forward(IDS[:, order])[0], model.forward(IDS)[0][:, order])


@every_way_to_see
def test_with_the_mask_a_token_changes_nothing_before_it(options):
    model, ids = a_model(**options), np.array([3, 0, 6, 1, 5])
    logits, _ = model.forward(ids)
    for j in range(5):
        changed = ids.copy()
        changed[j] = 2
        after, _ = model.forward(changed)
        np.testing.assert_array_equal(after[:j], logits[:j])
        assert (after[j:] != logits[j:]).any(axis=-1).all()


@every_way_to_see
def test_with_the_mask_no_gradient_comes_from_the_future(options):
    model, ids = (
        a_model(**options),
        np.array([3, 0, 6, 1, 5]),
    )  # all different: a row of E is a position
    logits, cache = model.forward(ids)
    for i in range(5):
        dlogits = np.zeros_like(logits)
        dlogits[i] = np.random.default_rng(i).normal(size=V)
        query, key, value, _ = model.backward_paths(dlogits, cache)
        assert not np.delete(query, ids[i], axis=0).any()
        assert not key[ids[i + 1 :]].any()
        assert not value[ids[i + 1 :]].any()
        assert value[ids[: i + 1]].any(axis=1).all()


def test_without_the_mask_a_token_changes_what_is_before_it():
    model, changed = a_model(causal=False), IDS.copy()
    changed[:, -1] = 3
    assert np.abs(model.forward(changed)[0] - model.forward(IDS)[0])[:, 0].max() > 1e-3


@every_case
def test_changing_one_sample_moves_no_other(case):
    changed = IDS.copy()
    changed[1] = [3, 3, 0, 6, 5]
    logits, after = case.model.forward(IDS)[0], case.model.forward(changed)[0]
    np.testing.assert_array_equal(after[0], logits[0])
    assert np.abs(after[1] - logits[1]).max() > 1e-3


@every_case
def test_relabelling_the_vocabulary_relabels_the_gradient(case):
    label = np.array([4, 2, 0, 6, 1, 3, 5])  # word w becomes label[w]
    tables = {name: p.copy() for name, p in case.model.params.items()}
    for name in {"E", "U"} & set(tables):
        tables[name][label] = case.model.params[name]
    targets = np.where(TARGETS == IGNORE, IGNORE, label[np.maximum(TARGETS, 0)])
    loss, grads = loss_and_grads(case.model)
    new_loss, new_grads = loss_and_grads(with_params(case.model, **tables), label[IDS], targets)
    close(new_loss, loss)
    for name, grad in new_grads.items():
        close(grad[label] if name in ("E", "U") else grad, grads[name])


def test_with_one_token_of_context_a_cycle_costs_ln_2_or_ln_3_at_least():
    """The logits are E Eᵀ: no word prefers another to itself while all others do so too."""
    for n, bound in [(2, math.log(2)), (3, math.log(3)), (5, math.log(3))]:
        words = np.arange(n)[:, None]
        for seed, std in product(range(20), (0.01, 0.3, 1.0, 3.0)):
            model = a_model(vocab_size=n, init_std=std, seed=seed)
            assert model.loss(words, (words + 1) % n)[0] > bound
        untied = with_params(
            a_model(vocab_size=n, width=n, tied=False),
            E=9.0 * np.eye(n),
            U=np.roll(np.eye(n), 1, axis=0),
        )
        assert untied.loss(words, (words + 1) % n)[0] < 0.01


# ---- a model as an object --------------------------------------------------------------------


@every_case
def test_two_calls_do_not_disturb_one_another_and_leave_the_model_alone(case):
    model, before = case.model, case.model.params.flat.copy()
    expected = [loss_and_grads(model, IDS, TARGETS), loss_and_grads(model, IDS[::-1], IDS)]
    (first, first_cache), (second, second_cache) = (
        model.loss(IDS, TARGETS),
        model.loss(IDS[::-1], IDS),
    )
    grads = model.loss_backward(first_cache), model.loss_backward(second_cache)
    for (loss, grad), (again, twin) in zip(
        expected, zip((first, second), grads, strict=True), strict=True
    ):
        assert loss == again
        np.testing.assert_array_equal(grad.flat, twin.flat)
    np.testing.assert_array_equal(model.params.flat, before)
    np.testing.assert_array_equal(
        model.loss_backward(first_cache).flat, expected[0][1].flat
    )  # a cache serves twice


@every_case
def test_the_dtype_follows_the_parameters(case):
    loss, grads = loss_and_grads(case.model)
    small_loss, small_grads = loss_and_grads(case.model.astype(np.float32))
    assert (loss.dtype, grads.flat.dtype) == (np.float64, np.float64)
    assert (small_loss.dtype, small_grads.flat.dtype) == (np.float32, np.float32)
    close(small_grads.flat, grads.flat, 1e-5)  # float32 rounds by 6e-8 in each of ~100 operations
    assert case.model.astype(np.float32).forward(IDS)[0].dtype == np.float32


@every_case
def test_one_sequence_is_a_batch_of_one(case):
    ids, targets = IDS[0].tolist(), TARGETS[0].tolist()
    loss, grads = loss_and_grads(case.model, ids, targets)
    batch_loss, batch_grads = loss_and_grads(case.model, IDS[:1], TARGETS[:1])
    close(loss, batch_loss)
    close(grads.flat, batch_grads.flat)
    close(case.model.forward(ids)[0], case.model.forward(IDS[:1])[0][0])


@every_case
def test_next_logits_are_those_after_the_last_token(case):
    logits, _ = case.model.forward(IDS)
    after = case.model.next_logits(IDS)
    assert after.shape == (2, V)
    np.testing.assert_array_equal(
        after, logits if case.model.config.context == "last" else logits[:, -1]
    )


def test_from_the_last_context_only_the_last_target_is_predicted():
    model, others = a_model(context="last"), np.full_like(TARGETS, IGNORE)
    others[:, -1] = TARGETS[:, -1]
    assert model.loss(IDS, others)[0] == model.loss(IDS, TARGETS)[0]
    assert model.loss(IDS, TARGETS[:, ::-1])[0] != model.loss(IDS, TARGETS)[0]


def test_the_start_is_drawn_from_the_generator_with_the_standard_deviation_asked_for():
    model, twin = (a_model(vocab_size=200, width=50, init_std=0.3, tied=False) for _ in range(2))
    np.testing.assert_array_equal(model.params.flat, twin.params.flat)
    assert np.any(
        model.params.flat != a_model(vocab_size=200, width=50, tied=False, seed=3).params.flat
    )
    for table in model.params.values():
        assert table.std() == pytest.approx(0.3, rel=0.05)  # 10 000 draws: 0.7 % is one deviation
        assert abs(table.mean()) < 0.02


def test_the_parameters_are_e_and_what_each_option_adds_to_it():
    E, W = {"E": (V, C)}, {"W_q": (C, C), "W_k": (C, C), "W_v": (C, C)}
    assert a_model().params.shapes == E
    assert a_model(tied=False).params.shapes == E | {"U": (V, C)}
    assert a_model(positions=True, context_length=9).params.shapes == E | {"P": (9, C)}
    assert a_model(projections=True).params.shapes == E | W


def test_projections_start_so_that_they_keep_the_size_of_what_they_project():
    model = a_model(width=200, projections=True)
    for name in ("W_q", "W_k", "W_v"):
        assert model.params[name].std() == pytest.approx(200**-0.5, rel=0.02)  # 40 000 draws


def test_f18_positions_tell_the_last_context_the_order_of_the_tokens_before_it():
    model, ids = a_model(positions=True), np.array([3, 0, 6, 1, 5])
    for order in ([1, 0, 2, 3, 4], [3, 2, 1, 0, 4]):
        assert np.abs(model.next_logits(ids[order]) - model.next_logits(ids)).max() > 1e-2


def test_f18_more_tokens_than_positions_are_refused_where_there_are_positions():
    assert a_model(context_length=3).forward([0, 1, 2, 3])[0].shape == (4, V)
    with pytest.raises(InputError, match="4 tokens do not fit a table of 3"):
        a_model(context_length=3, positions=True).forward([0, 1, 2, 3])


def test_projections_by_the_identity_are_the_one_matrix_model():
    plain = a_model()
    same = with_params(
        a_model(projections=True), E=plain.params["E"], **dict.fromkeys(PROJECTIONS, np.eye(C))
    )
    (loss, grads), (same_loss, same_grads) = loss_and_grads(plain), loss_and_grads(same)
    close(same_loss, loss)
    close(same_grads["E"], grads["E"])
    for path, same_path in zip(paths_of(plain), paths_of(same), strict=True):
        close(same_path, path)


def test_ids_and_targets_outside_the_vocabulary_are_refused_by_name():
    with pytest.raises(InputError, match=r"^ids must lie in .*found 7"):
        a_model().forward([0, 7])
    with pytest.raises(InputError, match=r"^targets must lie in .*found -1"):
        a_model().loss([0, 1], [1, -1])
    for context in ("all", "last"):
        with pytest.raises(InputError, match=r"targets \(1,\) must have the shape of ids \(2,\)"):
            a_model(context=context).loss([0, 1], [1])
    with pytest.raises(InputError, match="ids are empty"):
        a_model().forward([])


def test_descending_the_gradient_learns_a_corpus_it_can_learn():
    model, ids = a_model(tied=False), np.array([[0, 1, 2, 0, 1, 2, 0]])
    first = model.loss(ids[:, :-1], ids[:, 1:])[0]
    for _ in range(200):
        loss, grads = loss_and_grads(model, ids[:, :-1], ids[:, 1:])
        model.params.flat[:] -= 0.5 * grads.flat
    assert loss < 0.1 < first


def test_one_number_or_rows_of_different_lengths_are_no_text():
    with pytest.raises(InputError, match=r"texts \(\.\.\., T\) of tokens, not 3"):
        a_model().forward(3)
    with pytest.raises(InputError, match=r"^ids must be rows of equal length"):
        a_model().forward([[0, 1], [2]])
    with pytest.raises(InputError, match=r"^targets must be rows of equal length"):
        a_model().loss([[0, 1], [2, 3]], [[0, 1], [2]])
