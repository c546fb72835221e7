import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from numpylm import figures, ops
from numpylm.attention_lm import AttentionLM, AttentionLMConfig, Paths
from numpylm.bert import BERT, BERTConfig
from numpylm.corpora import CorpusConfig
from numpylm.course.course_figures import attention_of_the_family, draw_course, s1_s2_s3
from numpylm.errors import InputError
from numpylm.figures import (
    attention_map,
    draw_run,
    embedding_plane,
    four_paths,
    heatmaps,
    ladder_map,
    loss_curve,
    marked_attention,
    principal_plane,
    reading_maps,
    run_pictures,
    save_figures,
    score_dots,
    three_masks,
    v_curve,
)
from numpylm.gpt import GPT, GPTConfig
from numpylm.gradcheck import central_difference
from numpylm.labels import literal
from numpylm.model import Model
from numpylm.ops import cross_entropy_backward
from numpylm.runs import Run, TrainConfig
from numpylm.transformer import Transformer, TransformerConfig

EXACT = 1e-12  # rounding in float64

rng = np.random.default_rng(0)
LINES = [{"step": n, "loss": 4 / n} for n in range(1, 7)]
LINES[2]["heldout"], LINES[5]["heldout"] = 1.5, 0.8
TABLE = rng.normal(size=(7, 4)) * [3, 1, 0.5, 2]


def labelled(figure):
    """The axes that hold data: each of them must say what it shows."""
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    return axes


def data_of(line):
    return [np.asarray(part, float).tolist() for part in line.get_data()]


# --- loss ---


def test_the_loss_curve_shows_both_losses_and_what_they_should_be_compared_with():
    axes = labelled(loss_curve(LINES, {"ln 48": np.log(48), "entropy": np.log(8)}))
    batch, heldout, *levels = axes.get_lines()
    assert data_of(batch) == [[1, 2, 3, 4, 5, 6], [line["loss"] for line in LINES]]
    assert data_of(heldout) == [[3, 6], [1.5, 0.8]]
    assert [line.get_ydata()[0] for line in levels] == [np.log(48), np.log(8)]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["batch", "held-out", "ln 48: 3.871", "entropy: 2.079"]
    assert "nats" in axes.get_ylabel()


def test_a_run_that_has_not_begun_has_an_empty_loss_curve():
    assert data_of(labelled(loss_curve([], {})).get_lines()[0]) == [[], []]


# --- attention ---


def test_the_attention_map_shows_the_weights_with_words_on_its_axes():
    a = np.array([[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0.125, 0.5, 0.375, 0]])
    axes = labelled(attention_map(a, ["one", "two", "three", "four"], "Attention"))
    np.testing.assert_array_equal(axes.images[0].get_array(), a)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two", "three"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "two", "three", "four"]
    cells = {(t.get_position()[::-1]): t.get_text() for t in axes.texts}
    assert cells == {(i, j): f"{a[i, j]:.2f}" for i, j in np.argwhere(a).tolist()}
    assert axes.images[0].get_clim() == (0, 1)


# --- embeddings ---


def test_the_principal_plane_is_that_of_the_two_largest_eigenvalues_of_the_covariance():
    places, shares = principal_plane(TABLE)
    values, vectors = np.linalg.eigh(np.cov(TABLE.T))
    np.testing.assert_allclose(shares, values[[-1, -2]] / values.sum(), rtol=EXACT)
    np.testing.assert_allclose(
        abs(places), abs((TABLE - TABLE.mean(axis=0)) @ vectors[:, [-1, -2]]), rtol=0, atol=EXACT
    )
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=EXACT)


def test_one_dimension_lies_on_a_line_in_the_plane():
    places, shares = principal_plane(TABLE[:, :1])
    centred = TABLE[:, 0] - TABLE[:, 0].mean()
    np.testing.assert_allclose(abs(places[:, 0]), abs(centred), rtol=EXACT)
    assert not places[:, 1].any()
    np.testing.assert_allclose(shares, [1, 0], atol=EXACT)


def test_every_symbol_stands_at_its_place_under_its_name():
    symbols = list("abcdefg")
    axes = labelled(embedding_plane(TABLE, symbols))
    places, shares = principal_plane(TABLE)
    np.testing.assert_array_equal(axes.get_lines()[0].get_xydata(), places)
    assert [text.get_text() for text in axes.texts] == symbols
    np.testing.assert_array_equal([text.xy for text in axes.texts], places)
    assert f"first principal component ({shares[0]:.0%}" in axes.get_xlabel()
    assert f"second principal component ({shares[1]:.0%}" in axes.get_ylabel()


def test_every_group_of_symbols_has_a_colour_and_a_shape_of_its_own():
    groups = {"vowels": "ae", "others": "bcdfgz"}  # z is no symbol here
    axes = labelled(embedding_plane(TABLE, "abcdefg", groups))
    vowels, others = axes.get_lines()
    places, _ = principal_plane(TABLE)
    np.testing.assert_array_equal(vowels.get_xydata(), places[[0, 4]])
    np.testing.assert_array_equal(others.get_xydata(), places[[1, 2, 3, 5, 6]])
    assert vowels.get_color() != others.get_color() and vowels.get_marker() != others.get_marker()
    assert axes.get_legend() is None
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["vowels", "a e", "others", "b c d f g"]


def test_groups_of_more_symbols_than_can_be_written_have_a_legend():
    symbols = [f"w{n}" for n in range(101)]
    groups = {"even": symbols[::2], "odd": symbols[1::2]}
    axes = labelled(embedding_plane(rng.normal(size=(101, 3)), symbols, groups))
    assert not axes.texts
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(groups)


ODD = ["$x_$", "好" * 500, "\n", "_x", "x" * 500, r"\$"]


def test_odd_labels_are_drawn_in_every_figure_without_a_warning():
    """A missing glyph, bad mathematics, or labels that leave no room would warn or raise."""
    a, table = np.eye(len(ODD)), rng.normal(size=(len(ODD), 3))
    named = {word: a for word in ODD[:2]}
    embeddings = embedding_plane(table, ODD)
    for figure in (
        embeddings,
        loss_curve(LINES, {word: 1.5 for word in ODD[:3]}),
        attention_map(a, ODD, ODD[0]),
        heatmaps(named, ODD, ODD),
        embedding_plane(table, ODD, {ODD[0]: ODD[:3], ODD[3]: ODD[3:]}),
        four_paths(Paths(*[table[:, :2]] * 4), ODD),
        ladder_map(ODD, ODD, a, [ODD] * len(ODD), a),
        marked_attention(named, ODD, a > 0),
        reading_maps(a[None], ODD, ODD, ODD[0]),
        score_dots({w: {m: [0.5, 1] for m in ODD[:2]} for w in ODD}, ODD[0]),
    ):
        figure.savefig(io.BytesIO(), dpi=40)
    shown = [text.get_text() for text in embeddings.axes[0].texts]
    assert shown == [literal(word) for word in ODD]


def test_an_attention_map_needs_a_word_for_each_row_and_column():
    with pytest.raises(InputError, match="words must name each of 3 rows or columns, but are 2"):
        attention_map(np.eye(3), ["a", "b"])


def test_every_architecture_reads_what_the_picture_of_the_three_masks_says():
    """The weights of real models of the three kinds are 0 where those of the picture are."""
    maps = list(attention_of_the_family().values())
    sizes = {"vocab_size": 9, "context_length": 6, "layers": 1, "heads": 1, "width": 4}
    some, ids = np.random.default_rng(0), np.arange(3, 9)
    bert, gpt = BERT(BERTConfig(**sizes), some), GPT(GPTConfig(**sizes), some)
    transformer = Transformer(TransformerConfig(**sizes), some)
    (encoder,) = bert.attention_maps(bert.encode(ids)[1]).values()
    (decoder,) = gpt.attention_maps(gpt.forward(ids)[1]).values()
    parts = transformer.attention_maps(transformer.forward(ids[:3], ids[3:])[1])
    both = np.zeros((6, 6))
    both[:3, :3] = parts["encoder0.attention"][0]
    both[3:, :3] = parts["decoder0.cross"][0]
    both[3:, 3:] = parts["decoder0.attention"][0]
    for drawn, real in zip(maps, (encoder[0], decoder[0], both), strict=True):
        np.testing.assert_array_equal(drawn > 0, real > 0)
        np.testing.assert_allclose(drawn.sum(axis=1), real.sum(axis=1), rtol=1e-6)


def test_the_three_masks_are_drawn_with_a_cross_where_nobody_may_look():
    maps = attention_of_the_family()
    panels = three_masks(maps, source=3).axes[:3]
    assert [ax.get_title() for ax in panels] == list(maps)
    for ax, a in zip(panels, maps.values(), strict=True):
        shown = ax.images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), a == 0)
        np.testing.assert_array_equal(shown.filled(0), a)
        crosses = {(i, j) for j, i in ax.get_lines()[0].get_xydata().tolist()}
        assert crosses == set(map(tuple, np.argwhere(a == 0).tolist()))
    words = [label.get_text() for label in panels[2].get_xticklabels()]
    assert words == ["$x_1$", "$x_2$", "$x_3$", "$y_1$", "$y_2$", "$y_3$"]
    assert "two softmaxes" in panels[2].get_xlabel()
    both = maps["Encoder-decoder: Transformer"]
    for side in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(both[3:, side].sum(axis=1), 1, rtol=EXACT)


# --- numerical gradients ---


@pytest.fixture(scope="module")
def curves():
    figure = v_curve(
        lambda x: np.sum(np.exp(x) * x), TABLE[:2], np.exp(TABLE[:2]) * (1 + TABLE[:2])
    )
    axes = labelled(figure)
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_the_complex_step_lies_flat_below_the_v(curves):
    h, error = curves["complex step"].T
    assert error[h < 1e-8].max() < 1e-15
    for name in curves.keys() - {"complex step"}:
        assert (curves[name][h < 1e-7, 1] > 10 * error[h < 1e-7]).all(), name


def test_the_central_difference_is_best_near_1e_5_and_the_others_are_worse(curves):
    h, central = curves["central, float64"].T
    assert 1e-6 <= h[central.argmin()] <= 1e-4
    assert central.min() < 1e-9
    assert central[0] > 1e-4 and central[-1] > 1e-4  # both arms of the V
    assert curves["one-sided, float64"][:, 1].min() > 10 * central.min()
    assert curves["central, float32"][:, 1].min() > 1e4 * central.min()


def test_where_two_methods_agree_both_are_seen():
    axes = labelled(v_curve(lambda x: np.sum(x**4), TABLE[:2], 4 * TABLE[:2] ** 3))
    lines = {line.get_label(): line for line in axes.get_lines()}
    ring, dot = lines["central, float64"], lines["complex step"]
    at = np.flatnonzero(ring.get_xdata() == 1e-3)
    np.testing.assert_allclose(ring.get_ydata()[at], dot.get_ydata()[at], rtol=1e-6)
    assert ring.get_markerfacecolor() == "none" and dot.get_markerfacecolor() != "none"
    assert ring.get_markersize() > 1.5 * dot.get_markersize()


def test_the_v_curve_is_drawn_on_logarithmic_axes_from_the_exact_gradient():
    x = np.array([[1.0, 2.0]])
    axes = labelled(v_curve(lambda x: np.sum(x**2), x, 3 * x))  # 2x is right: an error of 1/3
    assert axes.get_xscale() == axes.get_yscale() == "log"
    errors = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert errors["complex step"] == pytest.approx(np.full(15, 1 / 3), rel=1e-6)


# --- the four paths ---


def test_s1_s2_s3_is_the_example_of_the_article():
    model, ids, targets = s1_s2_s3()
    assert model.params["E"].tolist() == [[1, 0], [0, 1], [1, 1]]
    assert (ids.tolist(), targets[-1]) == ([0, 1, 2], 0)
    e = model.params["E"]
    a = np.exp(e @ e[2]) / np.exp(e @ e[2]).sum()
    z = e @ (a @ e)
    assert model.loss(ids, targets)[0] == pytest.approx(np.log(np.exp(z).sum()) - z[0], rel=EXACT)


def test_the_four_paths_are_drawn_beside_their_sum_which_is_the_gradient():
    model, ids, targets = s1_s2_s3()
    _, (cache, loss_cache) = model.loss(ids, targets)
    paths = model.backward_paths(cross_entropy_backward(1.0, loss_cache), cache)
    figure = four_paths(paths, ["S1", "S2", "S3"])
    images = {axes.get_title(): axes.images[0] for axes in figure.axes if axes.get_title()}
    assert list(images) == ["query", "key", "value", "output", "sum: dE"]
    *parts, total = (image.get_array() for image in images.values())
    for part, path in zip(parts, paths, strict=True):
        np.testing.assert_array_equal(part, path)
    np.testing.assert_allclose(total, sum(parts), rtol=0, atol=EXACT)

    def loss(table):
        model.params["E"] = table
        return model.loss(ids, targets)[0]

    slope = central_difference(loss, model.params["E"].copy())
    np.testing.assert_allclose(total, slope, rtol=0, atol=1e-8)
    assert len({image.get_clim() for image in images.values()}) == 1  # one scale for all
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["S1", "S2", "S3"]
    assert [label.get_text() for label in first.get_xticklabels()] == ["dim 1", "dim 2"]


# --- what the commands draw ---


def start(folder, corpus, context_length=8):
    return Run.from_configs(
        folder,
        AttentionLM,
        AttentionLMConfig(context_length=context_length, width=6),
        CorpusConfig(sentences=20, heldout_sentences=10, **corpus),
        TrainConfig(steps=4, eval_every=2, batch_size=4),
    )


def test_the_pictures_of_a_run_are_written_into_its_folder(tmp_path):
    run = start(tmp_path, {})
    run.train(progress=False)
    paths = draw_run(run)
    assert paths == [tmp_path / f"{name}.png" for name in ("loss", "embeddings", "attention")]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_pictures_of_a_run_show_its_numbers_and_its_words(tmp_path):
    run = start(tmp_path, {})
    run.train(progress=False)
    pictures = run_pictures(run)
    batch, heldout, *levels = pictures["loss"].axes[0].get_lines()
    assert data_of(batch)[0] == [1, 2, 3, 4] and data_of(heldout)[0] == [2, 4]
    assert [line.get_ydata()[0] for line in levels] == [np.log(48), run.corpus.entropy]
    ids = run.corpus.heldout[0, :8]
    a = run.model.forward(ids)[1].attention.a  # of the one-matrix model, which has no heads
    np.testing.assert_array_equal(pictures["attention"].axes[0].images[0].get_array(), a)
    words = [label.get_text() for label in pictures["attention"].axes[0].get_yticklabels()]
    assert words == [run.corpus.tokenizer.symbols[i] for i in ids]
    places, _ = principal_plane(run.model.params["E"])
    drawn = np.concatenate([line.get_xydata() for line in pictures["embeddings"].axes[0].lines])
    assert {tuple(place) for place in drawn} == {tuple(place) for place in places}


class Bigram(Model):
    """A model of the reader's own, known to no registry, without attention or a table E."""

    def shapes(self, config):
        return {"table": (config.vocab_size, config.vocab_size)}

    def forward(self, ids, rng=None):
        return ops.embedding_forward(self.params["table"], ids)


class Reader(AttentionLM):
    """Another, with both."""


def test_the_pictures_of_a_readers_own_model_are_those_of_what_it_has(tmp_path):
    run = start(tmp_path, {})
    run.train(progress=False)
    run.model = Reader(run.model.config)
    assert list(run_pictures(run)) == ["loss", "embeddings", "attention"]
    run.model = Bigram(vocab_size=run.model.config.vocab_size)
    assert list(run_pictures(run)) == ["loss"]
    assert [path.name for path in draw_run(run)] == ["loss.png"]


def test_a_run_of_examples_has_no_words_and_is_drawn_by_its_loss(tmp_path):
    source, target = rng.integers(3, 9, (12, 4)), rng.integers(3, 9, (12, 5))
    target[:, 0] = 1
    model, few = Transformer(vocab_size=9, layers=1, heads=2, width=8), TrainConfig(steps=2)
    run = Run.start(tmp_path / "run", model, {"source": source, "target": target}, few)
    run.train(progress=False)
    assert list(run_pictures(run)) == ["loss"]


def test_a_model_of_several_heads_is_drawn_by_the_first_head_of_its_last_block(tmp_path):
    run = start(tmp_path, {})
    run.train(progress=False)
    sizes = {"vocab_size": run.model.config.vocab_size, "context_length": 8}
    run.model = GPT(layers=2, heads=2, width=8, **sizes)
    axes = run_pictures(run)["attention"].axes[0]
    cache = run.model.forward(run.corpus.heldout[0, :8])[1]
    a = cache.blocks[1].attention.attention.a[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), a)
    assert axes.get_title() == "block1.attention, first of 2 heads"


def test_a_long_context_is_drawn_as_far_as_it_can_be_read(tmp_path):
    pictures = run_pictures(start(tmp_path, {}, context_length=40))
    shape = pictures["attention"].axes[0].images[0].get_array().shape
    assert shape == (figures.READABLE, figures.READABLE)


def test_a_text_of_odd_symbols_is_drawn_without_a_warning(tmp_path):
    (tmp_path / "some.txt").write_text("$x$ 好 é\n\\alpha_b " * 60, encoding="utf-8")
    run = start(tmp_path / "run", {"text": str(tmp_path / "some.txt")})
    run.train(progress=False)
    assert len(draw_run(run)) == 3


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return draw_course(tmp_path_factory.mktemp("course") / "new")


ELSEWHERE = {  # what other commands draw into the same folder, each tested where it is drawn
    "kill_matrix.png",  # gradcheck --mutants
    "ladder.png",  # ladder
    "induction_head.png",  # induction
}


def test_the_committed_figures_are_those_that_the_command_draws(course):
    committed = Path(__file__).parents[1] / "figures"
    assert {path.name for path in committed.iterdir()} == {path.name for path in course} | ELSEWHERE
    assert {path.name for path in course[0].parent.iterdir()} == {path.name for path in course}


def test_on_topics_the_words_of_a_topic_lie_together(tmp_path):
    """What the caption in the README claims of the picture, measured in all dimensions."""
    defaults = AttentionLMConfig(), CorpusConfig(), TrainConfig(steps=300)
    run = Run.from_configs(tmp_path, AttentionLM, *defaults)
    run.train(progress=False)
    E, symbols = run.model.params["E"], run.corpus.tokenizer.symbols
    topic = {w: n for n, words in enumerate(figures.TOPICS.values()) for w in words.split()}
    distance = np.linalg.norm(E[:, None] - E, axis=-1) + np.diag([np.inf] * len(E))
    for word, nearest in zip(symbols, distance.argmin(axis=1), strict=True):
        assert topic[symbols[nearest]] == topic[word]


@pytest.mark.parametrize("inside", [".", "deeper/still"])
def test_a_folder_that_takes_no_pictures_is_a_clear_error(tmp_path, inside):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot draw into .*file.*choose another --out"):
        save_figures({"a": Figure()}, tmp_path / "file" / inside)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_is_a_clear_error(tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_figures({"a": Figure()}, tmp_path)


def test_heatmaps_write_every_number_and_show_signs_where_there_are_any():
    tables = {"a": np.array([[0.25, 1.0, 0.0]]), "ds": np.array([[-0.5, 0.125, 0.0]])}
    drawn = figures.heatmaps(tables, ["i = 1"], ["1", "2", "3"], digits=3)
    shares, slopes = (ax for ax in drawn.axes if ax.get_title())
    assert [text.get_text() for text in shares.texts] == ["0.250", "1.000", "0.000"]
    assert [text.get_text() for text in slopes.texts] == ["-0.500", "+0.125", "+0.000"]
    assert shares.images[0].get_clim() == (0, 1) and slopes.images[0].get_clim() == (-0.5, 0.5)
    assert shares.images[0].get_cmap().name != slopes.images[0].get_cmap().name


def test_a_heatmap_of_zeros_is_drawn():
    drawn = figures.heatmaps({"0": np.zeros((2, 2))}, "ab", "cd")
    assert drawn.axes[0].images[0].get_clim() == (0, 1)
