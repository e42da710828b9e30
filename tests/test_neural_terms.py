"""Terms of an objective: formulas against plain loops, padding, nothing valid, bad values, real encoders."""

# ruff: noqa: E402

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import FrozenInstanceError, replace
from itertools import permutations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tabkd.neural import functions, relations
from tabkd.neural.maps import layer_pairs
from tabkd.neural.outputs import Batch, Outputs, Shape
from tabkd.neural.recipes import RECIPES, stages_of
from tabkd.neural.terms import (
    ActivationBoundary,
    Angles,
    Attention,
    Distances,
    Embedding,
    HardLabels,
    Hidden,
    Relations,
    SoftLabels,
)

ROWS, LENGTH, LABELS = 5, 7, 3
NONE = torch.nn.ModuleDict()
#: Valid tokens of each row.
LENGTHS = (7, 4, 2, 6, 5)
MASK = torch.arange(LENGTH)[None] < torch.tensor(LENGTHS)[:, None]
COMMON = {"vocab_size": 60, "max_position_embeddings": 16, "num_labels": LABELS, "attn_implementation": "eager"}

FAMILIES = {
    "bert": lambda layers, width, heads: transformers.BertConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=32, **COMMON
    ),
    "distilbert": lambda layers, width, heads: transformers.DistilBertConfig(
        dim=width, n_layers=layers, n_heads=heads, hidden_dim=32, **COMMON
    ),
    "mobilebert": lambda layers, width, heads: transformers.MobileBertConfig(
        hidden_size=width, embedding_size=16, intra_bottleneck_size=width // 2, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=32, **COMMON,
    ),
}  # fmt: skip

COMPARING = {
    "soft labels": SoftLabels(temperature=3.0),
    "hidden mse": Hidden(),
    "hidden cosine": Hidden([(0, 0), (1, 2)], loss="cosine"),
    "embedding": Embedding(),
    # Past the margin everywhere, or the identical student would not be at zero.
    "activation boundary": ActivationBoundary(margin=0.0),
    "attention kl": Attention(),
    "attention mse": Attention(loss="mse"),
    "relations": Relations(),
    "relations of two kinds of vectors": Relations(["qk", "vq"], heads=2),
    "distances": Distances(),
    "angles": Angles(),
}
ALL = {**COMPARING, "hard labels": HardLabels(), "the teacher's labels": HardLabels(source="teacher")}


def by_name(terms):
    return pytest.mark.parametrize("term", terms.values(), ids=terms)


def outputs_of(model, ids, mask):
    """Outputs of a transformers model; queries, keys and values from hooks."""
    taken = {"queries": [], "keys": [], "values": []}
    names = {
        "query": "queries",
        "q_lin": "queries",
        "key": "keys",
        "k_lin": "keys",
        "value": "values",
        "v_lin": "values",
    }
    hooks = [
        module.register_forward_hook(lambda _, __, out, kind=names[last]: taken[kind].append(out))
        for name, module in model.named_modules()
        if (last := name.rpartition(".")[2]) in names
    ]
    out = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    return Outputs(
        out.logits, out.hidden_states, out.attentions, **{kind: tuple(found) for kind, found in taken.items()}
    )


def make_model(family, layers=2, width=16, heads=4, seed=0):
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_config(FAMILIES[family](layers, width, heads)).eval()
    for parameter in model.parameters():  # fresh weights are so small that all attention is uniform
        torch.nn.init.normal_(parameter, std=0.3)
    # MobileBERT's embedding reads the next token too: a padding token is nothing there, as in fresh weights.
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    return model


@pytest.fixture(scope="module")
def ids():
    return torch.randint(5, 60, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def labels():
    return torch.tensor([0, -100, 2, 1, -100])


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def student_model(family):
    return make_model(family)


@pytest.fixture(scope="module")
def teacher_model(family):
    return make_model(family, layers=4, seed=1)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- Formulas ---------------------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def smooth_l1(x):
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def tokens():
    """Places of valid tokens."""
    return [(b, i) for b, length in enumerate(LENGTHS) for i in range(length)]


def states(width=6):
    return random(ROWS, LENGTH, width), random(ROWS, LENGTH, width, seed=1)


def maps(heads=3, masked=True):
    scores = (random(ROWS, heads, LENGTH, LENGTH), random(ROWS, heads, LENGTH, LENGTH, seed=1))
    return tuple((s.masked_fill(~MASK[:, None, None], -torch.inf) if masked else s).softmax(-1) for s in scores)


def test_soft_kl_is_the_divergence_at_the_temperature_times_its_square():
    s, t = random(ROWS, LABELS), random(ROWS, LABELS, seed=1)
    plain = np.mean([kl(softmax(b / 3), softmax(a / 3)) for a, b in zip(s.numpy(), t.numpy(), strict=True)])
    assert functions.soft_kl(s, t, 3.0).item() == pytest.approx(9 * plain, rel=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_log_probabilities_teach_what_logits_do(temperature):
    s, t = random(ROWS, LABELS), random(ROWS, LABELS, seed=1)
    cached = functions.soft_kl(s, t.log_softmax(-1), temperature)
    assert cached.item() == pytest.approx(functions.soft_kl(s, t, temperature).item(), rel=1e-10)


def test_a_teacher_may_give_a_class_no_probability():
    s = random(1, 2).requires_grad_()
    loss = functions.soft_kl(s, torch.tensor([[1.0, 0.0]], dtype=torch.float64).log())
    loss.backward()
    assert loss.item() == pytest.approx(-s.log_softmax(-1)[0, 0].item())
    assert s.grad.isfinite().all()


def test_cross_entropy_leaves_out_rows_without_a_label(labels):
    s = random(ROWS, LABELS)
    plain = [-math.log(softmax(row)[y]) for row, y in zip(s.numpy(), labels.tolist(), strict=True) if y != -100]
    assert functions.cross_entropy(s, labels).item() == pytest.approx(np.mean(plain), rel=1e-10)


def test_squared_error_leaves_out_rows_without_a_target():
    s = random(3).requires_grad_()
    loss = functions.squared_error(s, torch.tensor([1.0, torch.nan, 2.0], dtype=torch.float64))
    loss.backward()
    assert loss.item() == pytest.approx(((s[0] - 1) ** 2 + (s[2] - 2) ** 2).item() / 2, rel=1e-10)
    assert s.grad[1] == 0


def test_hidden_mse_is_a_mean_over_valid_tokens_and_units():
    s, t = states()
    plain = np.mean([(s[i][u] - t[i][u]).item() ** 2 for i in tokens() for u in range(6)])
    assert functions.hidden_mse(s, t, MASK).item() == pytest.approx(plain, rel=1e-10)


def test_hidden_cosine_is_a_mean_over_valid_tokens():
    s, t = (x.numpy() for x in states())
    plain = np.mean([1 - s[i] @ t[i] / math.sqrt((s[i] @ s[i]) * (t[i] @ t[i])) for i in tokens()])
    assert functions.hidden_cosine(*states(), MASK).item() == pytest.approx(plain, rel=1e-10)


def test_activation_boundary_is_a_squared_hinge_on_the_teachers_side():
    s, t = states()
    plain = [
        max(0, 0.7 - s[i][u].item()) ** 2 if t[i][u] > 0 else max(0, 0.7 + s[i][u].item()) ** 2
        for i in tokens()
        for u in range(6)
    ]
    assert functions.activation_boundary(s, t, MASK, margin=0.7).item() == pytest.approx(np.mean(plain), rel=1e-10)


@pytest.mark.parametrize("masked", [True, False], ids=["keys masked by the model", "keys not masked"])
def test_attention_kl_sums_over_valid_keys_and_averages_over_valid_queries_and_heads(masked):
    s, t = maps(masked=masked)
    rows = [(b, h, i, slice(LENGTHS[b])) for b, i in tokens() for h in range(3)]
    plain = [kl(t[row].tolist(), s[row].tolist()) for row in rows]
    assert functions.attention_kl(s, t, MASK).item() == pytest.approx(np.mean(plain), rel=1e-10)


def test_attention_mse_averages_over_valid_pairs_of_tokens_and_heads():
    s, t = maps(masked=False)
    plain = [
        (s[b, h, i, j] - t[b, h, i, j]).item() ** 2 for b, i in tokens() for h in range(3) for j in range(LENGTHS[b])
    ]
    assert functions.attention_mse(s, t, MASK).item() == pytest.approx(np.mean(plain), rel=1e-10)


def test_relation_kl_compares_softmaxed_products_of_slices():
    heads, (sq, sk), (tq, tk) = 2, states(6), (random(ROWS, LENGTH, 10, seed=2), random(ROWS, LENGTH, 10, seed=3))

    def relation(a, b, row, i, head):
        d = a.shape[-1] // heads
        part = slice(head * d, (head + 1) * d)
        a, b = a.numpy(), b.numpy()
        return softmax(np.array([a[row, i, part] @ b[row, j, part] / math.sqrt(d) for j in range(LENGTHS[row])]))

    plain = [kl(relation(tq, tk, b, i, h), relation(sq, sk, b, i, h)) for b, i in tokens() for h in range(heads)]
    assert relations.relation_kl((sq, sk), (tq, tk), heads, MASK).item() == pytest.approx(np.mean(plain), rel=1e-10)


def test_pooled_vectors_are_means_of_valid_tokens():
    s = states()[0]
    plain = np.stack([s[b, :n].numpy().mean(0) for b, n in enumerate(LENGTHS)])
    np.testing.assert_allclose(relations.pooled(s, MASK).numpy(), plain, rtol=1e-12)


def test_relational_distances_are_in_units_of_each_sides_mean():
    s, t = random(ROWS, 4), random(ROWS, 9, seed=1)
    pairs = [(i, j) for i in range(ROWS) for j in range(i)]
    far = [np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs]) for x in (s.numpy(), t.numpy())]
    plain = np.mean([smooth_l1(a - b) for a, b in zip(far[0] / far[0].mean(), far[1] / far[1].mean(), strict=True)])
    assert relations.relational_distances(s, t).item() == pytest.approx(plain, rel=1e-10)


def test_relational_angles_are_over_triples_of_different_rows():
    s, t = random(ROWS, 4), random(ROWS, 9, seed=1)

    def cosine(x, i, j, k):
        a, b = x[i] - x[j], x[k] - x[j]
        return a @ b / np.sqrt((a @ a) * (b @ b))

    triples = permutations(range(ROWS), 3)
    plain = np.mean([smooth_l1(cosine(s.numpy(), *ijk) - cosine(t.numpy(), *ijk)) for ijk in triples])
    assert relations.relational_angles(s, t).item() == pytest.approx(plain, rel=1e-10)


@pytest.mark.parametrize("function", [relations.relational_angles, relations.relational_distances])
def test_equal_rows_give_finite_gradients_of_ordinary_size(function):
    s = random(ROWS, 4)
    s[1] = s[0]
    s.requires_grad_()
    function(s, random(ROWS, 9, seed=1)).backward()
    assert s.grad.abs().max() < 10


@pytest.mark.parametrize("function", [relations.relational_angles, relations.relational_distances])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_relations_between_rows_work_in_half_precision(function, dtype):
    s, t = random(ROWS, 4).to(dtype).requires_grad_(), random(ROWS, 9, seed=1).to(dtype)
    function(s, t).backward()
    assert s.grad.isfinite().all()


def test_attention_that_underflows_gives_a_finite_loss():
    s = torch.tensor([[[[200.0, 0.0], [0.0, 0.0]]]], requires_grad=True)
    loss = functions.attention_kl(s.softmax(-1), torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]]))
    loss.backward()
    assert loss.isfinite() and s.grad.isfinite().all()


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 3\) and \(5, 3\)"):
        functions.soft_kl(random(1, 3), random(5, 3))


# --- Terms on real encoders -------------------------------------------------------------------------------------------


@by_name(COMPARING)
def test_identical_student_gives_zero_loss(term, student_model, ids):
    said = outputs_of(student_model, ids, MASK)
    own_layers = replace(term, layers=[(0, 0), (1, 1)]) if term == COMPARING["hidden cosine"] else term
    assert own_layers(said, said, Batch(MASK), NONE).item() == pytest.approx(0, abs=1e-6)


@by_name({name: term for name, term in COMPARING.items() if name != "activation boundary"})
def test_another_student_gives_a_loss(term, family, student_model, teacher_model, ids):
    loss = term(outputs_of(student_model, ids, MASK), outputs_of(teacher_model, ids, MASK), Batch(MASK), NONE)
    assert loss.item() > 1e-5


@by_name(ALL)
def test_more_padding_changes_nothing(term, student_model, teacher_model, ids, labels):
    def loss(extra):
        padded = torch.nn.functional.pad(ids, (0, extra))
        mask = torch.nn.functional.pad(MASK, (0, extra))
        said = (outputs_of(deepcopy(model).double(), padded, mask) for model in (student_model, teacher_model))
        return term(*said, Batch(mask, labels), NONE).item()

    assert loss(6) == pytest.approx(loss(0), rel=1e-6, abs=1e-6)


@by_name(ALL)
def test_what_padded_tokens_hold_changes_nothing(term, student_model, teacher_model, ids, labels):
    said = [outputs_of(model, ids, MASK) for model in (student_model, teacher_model)]

    def spoilt(outputs):
        def fill(tensors, value):
            return tuple(x.masked_fill(~MASK[..., None], value) for x in tensors)

        keys = ~MASK[:, None, None, :] | ~MASK[:, None, :, None]
        maps = tuple(x.masked_fill(keys, 0.3) for x in outputs.attentions)
        parts = {kind: fill(getattr(outputs, kind), 5.0) for kind in ("hidden_states", "queries", "keys", "values")}
        return replace(outputs, attentions=maps, **parts)

    batch = Batch(MASK, labels)
    plain = term(*said, batch, NONE).item()
    assert term(spoilt(said[0]), said[1], batch, NONE).item() == pytest.approx(plain, rel=1e-6, abs=1e-7)


@by_name(ALL)
def test_gradients_reach_the_student_and_are_finite(term, family, teacher_model, ids, labels):
    student = make_model(family, seed=2)
    with torch.no_grad():
        taught = outputs_of(teacher_model, ids, MASK)
    term(outputs_of(student, ids, MASK), taught, Batch(MASK, labels), NONE).backward()
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients) and any(g.abs().max() > 0 for g in gradients)


@by_name(ALL)
@pytest.mark.parametrize("rows", [1, ROWS])
def test_batch_with_nothing_valid_gives_a_finite_loss_with_a_graph(term, rows, ids):
    student, teacher = make_model("bert"), make_model("bert", layers=4, seed=1)
    mask = torch.zeros(rows, LENGTH, dtype=torch.bool)
    said = [outputs_of(model, ids[:rows], mask) for model in (student, teacher)]
    loss = term(*said, Batch(mask, torch.full((rows,), -100)), NONE)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize("term", [Distances(), Angles()], ids=["distances", "angles"])
def test_one_row_has_no_relations(term, ids):
    student, teacher = make_model("bert"), make_model("bert", layers=4, seed=1)
    loss = term(*(outputs_of(m, ids[:1], MASK[:1]) for m in (student, teacher)), Batch(MASK[:1]), NONE)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("term", [Hidden(), Hidden(loss="cosine"), Distances(), Angles()], ids=repr)
def test_states_of_arrays_are_like_those_of_one_token(term):
    states = [(random(ROWS, 6, seed=seed),) * 3 for seed in (0, 1)]
    tokens = [tuple(state[:, None] for state in side) for side in states]
    plain, tokened = (
        term(Outputs(None, sides[0]), Outputs(None, sides[1]), Batch(), NONE).item() for sides in (states, tokens)
    )
    assert plain == pytest.approx(tokened, rel=1e-12)


@by_name(ALL)
def test_mask_may_be_of_ones_and_zeros(term, ids, labels):
    said = outputs_of(make_model("bert"), ids, MASK), outputs_of(make_model("bert", layers=4), ids, MASK)
    assert term(*said, Batch(MASK.long(), labels), NONE) == term(*said, Batch(MASK, labels), NONE)


@by_name({name: term for name, term in ALL.items() if not isinstance(term, Distances | Angles)})
def test_row_of_weight_two_is_the_row_twice(term, ids, labels):
    twice = torch.arange(ROWS).repeat_interleave(torch.tensor([2, 1, 1, 2, 1]))
    models = make_model("bert"), make_model("bert", layers=4, seed=1)
    given = Batch(MASK, labels, torch.tensor([2.0, 1, 1, 2, 1])), Batch(MASK[twice], labels[twice])
    weighted, repeated = (
        term(*(outputs_of(model, ids[rows], MASK[rows]) for model in models), batch, NONE).item()
        for rows, batch in zip((torch.arange(ROWS), twice), given, strict=True)
    )
    assert weighted == pytest.approx(repeated, rel=1e-5)


@pytest.mark.parametrize("term", [SoftLabels(), HardLabels(source="teacher")])
def test_numbers_of_classes_that_differ_are_refused(term):
    with pytest.raises(ValueError, match=r"got \(5, 2\) and \(5, 3\)\. .*classes must be alike"):
        term(Outputs(random(ROWS, 2)), Outputs(random(ROWS, 3)), Batch(), NONE)


def test_rows_all_unlabelled_give_zero_for_a_class_and_for_a_number():
    for logits, labels in ((2, torch.full((3,), -100)), (1, torch.full((3,), torch.nan))):
        said = Outputs(torch.zeros(3, logits, requires_grad=True))
        loss = HardLabels()(said, None, Batch(labels=labels), NONE)
        loss.backward()
        assert loss.item() == 0 and (said.logits.grad == 0).all()


@pytest.mark.parametrize("term", [SoftLabels(temperature=5.0), HardLabels(source="teacher")])
def test_one_logit_is_a_regression_on_the_teachers_number(term):
    s, t = Outputs(random(ROWS, 1)), Outputs(random(ROWS, 1, seed=1))
    assert term(s, t, Batch(), NONE).item() == pytest.approx(((s.logits - t.logits) ** 2).mean().item())


def test_the_teachers_labels_are_its_largest_logits(labels):
    s, t = Outputs(random(ROWS, LABELS)), Outputs(random(ROWS, LABELS, seed=1))
    loss = HardLabels(source="teacher")(s, t, Batch(labels=labels), NONE)
    assert loss == functions.cross_entropy(s.logits, t.logits.argmax(1))


def test_losses_are_summed_over_pairs_of_layers(ids, student_model, teacher_model):
    said = [outputs_of(model, ids, MASK) for model in (student_model, teacher_model)]
    each = [Hidden([pair])(*said, Batch(MASK), NONE).item() for pair in ((1, 2), (2, 4))]
    assert Hidden("uniform")(*said, Batch(MASK), NONE).item() == pytest.approx(sum(each))


def test_encoder_one_has_the_first_attention_map(ids, student_model, teacher_model):
    said = [outputs_of(model, ids, MASK) for model in (student_model, teacher_model)]
    plain = functions.attention_kl(said[0].attentions[0], said[1].attentions[2], MASK)
    assert Attention([(1, 3)])(*said, Batch(MASK), NONE).item() == pytest.approx(plain.item())


@pytest.mark.parametrize("teaching", FAMILIES)
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_train_a_narrow_student_of_fewer_heads(name, teaching, family, ids, labels):
    student, teacher = make_model(family, heads=2, width=8), make_model(teaching, layers=4, seed=1)
    shapes = Shape.of(student.config), Shape.of(teacher.config)
    said = [outputs_of(model, ids, MASK) for model in (student, teacher)]
    stages = stages_of(name, None, alpha=0.1, temperature=4.0, epochs=1, taught=True, student=student, teacher=teacher)
    for term in [term for stage in stages for term in stage.objective]:
        loss = term(*said, Batch(MASK, labels), term.projectors(*shapes))
        assert loss.isfinite() and loss.item() > 0


# --- Projectors -------------------------------------------------------------------------------------------------------

NARROW, WIDE = Shape(2, 8, 2), Shape(4, 16, 4)


@pytest.mark.parametrize("term", [Hidden(), Embedding(), ActivationBoundary()])
def test_states_of_another_width_get_one_linear_map(term):
    (linear,) = term.projectors(NARROW, WIDE).values()
    assert (linear.in_features, linear.out_features) == (8, 16)
    assert linear.bias is not None


def test_states_of_one_width_get_a_map_only_if_asked():
    assert not Hidden().projectors(WIDE, WIDE)
    assert Hidden(project=True).projectors(WIDE, WIDE)


def test_states_are_compared_after_the_map(ids):
    said = [outputs_of(make_model("bert", width=width), ids, MASK) for width in (8, 16)]
    projectors = Hidden().projectors(NARROW, WIDE)
    plain = functions.hidden_mse(projectors["linear"](said[0].hidden_states[2]), said[1].hidden_states[2], MASK)
    assert Hidden("last")(*said, Batch(MASK), projectors).item() == pytest.approx(plain.item())


def test_widths_that_differ_are_refused_without_a_projector():
    with pytest.raises(ValueError, match=r"project=False, got 8 for the student and 16 for the teacher\. Try"):
        Hidden(project=False).projectors(NARROW, WIDE)


def test_heads_that_differ_are_refused_and_relations_named():
    with pytest.raises(ValueError, match=r"2 heads for the student and 4 for the teacher\. .*Relations\(\)"):
        Attention().projectors(NARROW, WIDE)


def test_heads_that_differ_are_averaged_if_asked(ids):
    said = [outputs_of(make_model("bert", heads=heads), ids, MASK) for heads in (2, 4)]
    averaged = [out.attentions[-1].mean(1, keepdim=True) for out in said]
    plain = functions.attention_mse(*averaged, MASK)
    loss = Attention("last", loss="mse", heads="auto")(*said, Batch(MASK), NONE)
    assert loss.item() == pytest.approx(plain.item())


def test_heads_alike_are_never_averaged(ids):
    said = [outputs_of(make_model("bert", seed=seed), ids, MASK) for seed in (0, 1)]
    assert Attention(heads="auto")(*said, Batch(MASK), NONE) == Attention()(*said, Batch(MASK), NONE)


@pytest.mark.parametrize(("ours", "theirs", "heads"), [(384, 768, 48), (384, 1024, 64), (312, 768, 24), (9, 16, 1)])
def test_relation_heads_are_the_papers_where_they_divide(ours, theirs, heads):
    s, t = random(1, 4, ours), random(1, 4, theirs)
    loss = Relations(["qq"])(Outputs(None, queries=(s,)), Outputs(None, queries=(t,)), Batch(), NONE)
    assert loss == relations.relation_kl((s, s), (t, t), heads)


def test_relation_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"got 3 for width 8 of the student and 16 of the teacher\. Try 1"):
        Relations(heads=3).projectors(NARROW, WIDE)


def test_relation_heads_are_checked_against_the_narrow_attention_of_mobilebert():
    shape = Shape.of(FAMILIES["mobilebert"](2, 16, 4))
    assert shape == Shape(2, 16, 4, attention_width=8)
    with pytest.raises(ValueError, match="got 16 for width 8 of the student"):
        Relations(heads=16).projectors(shape, WIDE)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_shape_is_read_off_the_configuration(family):
    assert Shape.of(FAMILIES[family](2, 16, 4)) == Shape(layers=2, width=16, heads=4)


# --- What a term needs ------------------------------------------------------------------------------------------------


@by_name(ALL)
def test_a_term_reads_what_it_says_it_needs(term, ids):
    full = outputs_of(make_model("bert"), ids, MASK), outputs_of(make_model("bert", layers=4), ids, MASK)
    least = [Outputs(None) for _ in full]
    for name in term.needs:
        for part, whole in zip(least, full, strict=True):
            setattr(part, name, getattr(whole, name))
    batch = Batch(MASK, torch.zeros(ROWS, dtype=torch.long))
    assert term(*least, batch, NONE) == term(*full, batch, NONE)


@by_name({name: term for name, term in ALL.items() if term.teacher})
def test_a_term_that_needs_a_teacher_says_so(term, ids):
    with pytest.raises(ValueError, match=f"{type(term).__name__} compares with a teacher, got None"):
        term(outputs_of(make_model("bert"), ids, MASK), None, Batch(MASK), NONE)


def test_true_labels_need_no_teacher():
    assert not HardLabels().teacher and HardLabels(source="teacher").teacher


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_an_attention_implementation_without_maps_is_named(side, ids):
    model = make_model("bert")
    said = {"student": outputs_of(model, ids, MASK), "teacher": outputs_of(model, ids, MASK)}
    model.set_attn_implementation("sdpa")
    said[side] = outputs_of(model, ids, MASK)
    with pytest.raises(ValueError, match=rf'the {side} gives none\. Load it with attn_implementation="eager"'):
        Attention()(said["student"], said["teacher"], Batch(MASK), NONE)


def test_maps_that_are_none_are_refused():
    said = Outputs(None, attentions=(None, None))
    with pytest.raises(ValueError, match="eager"):
        Attention()(said, said, Batch(), NONE)


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (Hidden(), {"hidden_states": (torch.zeros(ROWS, 4, 8),) * 2}),
        (Attention(), {"attentions": (torch.zeros(ROWS, 2, LENGTH, 11),)}),
        (Relations(), dict.fromkeys(("queries", "keys", "values"), (torch.zeros(LENGTH, ROWS, 8),))),
    ],
    ids=["fewer tokens", "windows", "another order"],
)
def test_what_is_not_there_for_each_token_is_refused(term, said):
    with pytest.raises(ValueError, match=r"student's \w+ have the shape .* for 5 rows of 7 tokens\. .* \(SoftLabels\)"):
        term(Outputs(None, **said), Outputs(None, **said), Batch(MASK), NONE)


def test_lists_of_unequal_length_are_refused(ids):
    said = outputs_of(make_model("bert"), ids, MASK)
    short = replace(said, attentions=said.attentions[:1])
    with pytest.raises(ValueError, match="unequal length: 3 hidden_states, 1 attentions, 2 queries"):
        Attention("last")(short, said, Batch(MASK), NONE)


def test_labels_that_are_missing_are_asked_for():
    with pytest.raises(ValueError, match="HardLabels needs labels"):
        HardLabels()(Outputs(torch.zeros(2, 2)), None, Batch(), NONE)


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftLabels(temperature=-1.0), r"temperature must be > 0, got -1\.0\. Try 2\.0\."),
        (lambda: SoftLabels(temperature=math.nan), "temperature must be > 0"),
        (lambda: SoftLabels(weight=-0.1), r"weight must be a finite number >= 0, got -0\.1"),
        (lambda: Hidden(weight=math.inf), "weight must be a finite number"),
        (lambda: Hidden(weight="1"), "weight must be a finite number"),
        (lambda: HardLabels(source="pupil"), "source must be one of 'labels', 'teacher', got 'pupil'"),
        (lambda: Hidden(loss="kl"), "loss must be one of 'mse', 'cosine', got 'kl'"),
        (lambda: Hidden(project=1), "project must be one of 'auto', True, False, got 1"),
        (lambda: Hidden("middle"), r"layers must be .*, got 'middle'\. Try"),
        (lambda: Hidden([]), r"got \[\]"),
        (lambda: Hidden([1, 2]), r"got \[1, 2\]"),
        (lambda: Hidden([(1, 2.5)]), r"got \[\(1, 2\.5\)\]"),
        (lambda: Hidden(3), "got 3"),
        (lambda: Attention(loss="cosine"), "loss must be one of 'kl', 'mse'"),
        (lambda: Attention(heads="mean"), "heads must be one of 'same', 'auto'"),
        (lambda: Relations(kinds=("qx",)), "kinds must be pairs of the letters q, k and v"),
        (lambda: Relations(kinds="qq"), "kinds must be pairs"),
        (lambda: Relations(kinds=()), "kinds must be pairs"),
        (lambda: Relations(heads=0), "heads must be a number > 0 or None, got 0"),
        (lambda: ActivationBoundary(margin=-1), "margin must be a finite number >= 0, got -1"),
    ],
)
def test_bad_value_is_refused_when_the_term_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_terms_are_frozen():
    with pytest.raises(FrozenInstanceError):
        SoftLabels().weight = 2.0


def test_temperature_comes_before_the_weight():
    assert SoftLabels(4.0, 0.9) == SoftLabels(temperature=4.0, weight=0.9)


# --- Layer maps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "pairs"),
    [
        ("uniform", [(1, 3), (2, 6), (3, 9), (4, 12)]),
        ("last", [(4, 12)]),
        ("first", [(1, 1)]),
        (lambda m: m, [(1, 1), (2, 2), (3, 3), (4, 4)]),
        (lambda m: np.int64(m + 8), [(1, 9), (2, 10), (3, 11), (4, 12)]),
        ([(0, 0), [4, 11]], [(0, 0), (4, 11)]),
    ],
)
def test_layers_become_pairs(layers, pairs):
    assert layer_pairs(layers, 4, 12) == pairs


@pytest.mark.parametrize("n_teacher", range(1, 13))
@pytest.mark.parametrize("n_student", range(1, 13))
def test_uniform_layers_rise_to_the_last(n_student, n_teacher):
    theirs = [n for _, n in layer_pairs("uniform", n_student, n_teacher)]
    assert theirs == sorted(theirs) and theirs[-1] == n_teacher
    assert len(set(theirs)) == min(n_student, n_teacher)


@pytest.mark.parametrize(
    ("layers", "pair"), [([(1, 1), (3, 4)], "(3, 4)"), ([(1, 7)], "(1, 7)"), ([(-1, 0)], "(-1, 0)")]
)
def test_layer_that_does_not_exist_is_named_with_both_counts(layers, pair):
    with pytest.raises(ValueError) as refused:
        layer_pairs(layers, 2, 6)
    assert f"the pair {pair} for a student of 2 encoders and a teacher of 6" in str(refused.value)


@pytest.mark.parametrize("term", [Attention([(0, 0)]), Relations(layers=[(0, 1)])])
def test_the_embedding_has_no_attention(term):
    with pytest.raises(ValueError, match="the embedding, 0, has no attention"):
        term.projectors(WIDE, WIDE)


@by_name({"hidden": Hidden([(1, 9)]), "attention": Attention([(1, 9)]), "distances": Distances([(1, 9)])})
def test_layers_are_checked_before_training(term):
    with pytest.raises(ValueError, match=r"the pair \(1, 9\)"):
        term.projectors(WIDE, WIDE)
