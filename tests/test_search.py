"""Searches: honest, resumable, never below the estimator they were given."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import optuna
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import tabkd.recipe
import tabkd.studies
from tabkd import DistillationSearchCV, DistilledEstimator, evaluate_distillation
from tabkd.export import to_onnx
from tabkd.folds import make_folds
from tabkd.runtime import OnnxPredictor
from tabkd.spaces import default_space, parameter_names

#: On this small table a teacher is no help, which an estimator with a number for alpha says.
pytestmark = pytest.mark.filterwarnings("ignore:With alpha=")
LEAVES = {"student__num_leaves": IntDistribution(2, 31)}


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 10, "num_leaves": 7, "learning_rate": 0.3, "n_jobs": 1, "verbose": -1, **params})


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X, y


def distilled(teacher=None, student=None, **params):
    given = {"student_features": slice(0, 10), "alpha": 0.5, "random_state": 0, **params}
    teacher, student = (lgbm() if model is None else model for model in (teacher, student))
    return DistilledEstimator(teacher, student, **given)


def searched(X, y, estimator=None, space=LEAVES, weights=None, **params):
    given = {"teacher_space": {}, "n_trials": 4, "random_state": 0, **params}
    return DistillationSearchCV(estimator or distilled(), space, **given).fit(X, y, sample_weight=weights)


@pytest.fixture(scope="module")
def fitted(cancer):
    return searched(*cancer, n_trials=6)


# ---------------------------------------------------------------- what a search gives


def test_first_trial_is_the_estimator_as_it_was_given(cancer, fitted):
    X, y = cancer
    alone = distilled().fit(X, y)
    folds = make_folds(5, X, y.to_numpy(), classifier=True, seed=0)
    losses = [log_loss(y.iloc[test], alone.student_predictions_[test]) for _, test in folds.splits]
    assert fitted.cv_results_["params"][0] == {}
    np.testing.assert_allclose(fitted.cv_results_["mean_test_score"][0], -np.mean(losses), rtol=1e-9)


def test_results_have_the_form_of_scikit_learns(fitted):
    results = fitted.cv_results_
    assert len(results["params"]) == 6
    splits = np.column_stack([results[f"split{k}_test_score"] for k in range(fitted.n_splits_)])
    np.testing.assert_allclose(results["mean_test_score"], splits.mean(axis=1))
    assert results["rank_test_score"][np.nanargmax(results["mean_test_score"])] == 1
    assert results["param_student__num_leaves"].mask[0]


def test_best_estimator_is_fitted_with_the_best_parameters(cancer, fitted):
    again = distilled().set_params(**fitted.best_params_).fit(*cancer)
    np.testing.assert_array_equal(fitted.predict_proba(cancer[0]), again.predict_proba(cancer[0]))


def test_reported_score_is_that_of_the_search_made_again_without_each_fold(cancer):
    search = searched(*cancer, n_trials=8, pruner=optuna.pruners.NopPruner())
    splits = np.column_stack([search.cv_results_[f"split{k}_test_score"] for k in range(5)])

    def taken(seen):
        again = [seen[np.delete(seen, k, axis=1).mean(axis=1).argmax(), k] for k in range(seen.shape[1])]
        return 0 if np.mean(again) <= seen[0].mean() else seen.mean(axis=1).argmax()

    expected = [splits[taken(np.delete(splits, k, axis=1)), k] for k in range(5)]
    assert search.best_score_ == pytest.approx(np.mean(expected))
    assert search.best_index_ == taken(splits)


def test_estimator_stays_where_nothing_beats_it(cancer):
    hopeless = {"student__learning_rate": [1e-6, 1e-5]}
    search = searched(*cancer, space=hopeless)
    assert search.best_params_ == {}
    assert search.best_index_ == 0


def noisy(seed):
    X, y = make_classification(150, 4, n_informative=3, n_redundant=0, flip_y=0.2, random_state=seed)
    return pd.DataFrame(X, columns=list("abcd")), y


@pytest.mark.parametrize("seed", [4, 5])
def test_a_better_teacher_that_is_worse_for_the_student_is_left(seed):
    X, y = noisy(seed)
    stump, tree = (DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in (1, 3))
    model = DistilledEstimator(stump, tree, student_features=["a", "b"], alpha=0.25, random_state=0)
    space, teachers = {"alpha": [0.25]}, {"teacher__max_depth": IntDistribution(1, 6)}
    search = searched(X, y, model, space, teacher_space=teachers, n_trials=1, n_teacher_trials=6)
    assert search.given_score_ == pytest.approx(model.fit(X, y).student_score_)
    assert bool(search.best_params_) == (search.best_index_ is not None) == (seed == 4)


def test_rows_without_labels_are_those_that_a_trials_student_reads():
    X, y = noisy(0)
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=5, random_state=0)
    columns = {"abc": ["a", "b", "c"]}
    model = DistilledEstimator(lgbm(), tree, student_features=["a", "b"], transfer="munge", alpha=0.5, random_state=0)
    search = searched(X, y, model, {"student_features": columns}, n_trials=2)
    alone = clone(model).set_params(student_features=columns["abc"]).fit(X, y)
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(alone.student_score_)


def test_search_of_students_fits_no_teacher_twice(cancer, monkeypatch):
    taught = []
    plain = tabkd.recipe.cross_fit_teacher
    monkeypatch.setattr(tabkd.recipe, "cross_fit_teacher", lambda *a, **k: taught.append(1) or plain(*a, **k))
    searched(*cancer, refit=False)
    assert len(taught) == 1


def test_teachers_columns_are_a_choice_of_the_student_stage(cancer):
    search = searched(*cancer, space=None, n_trials=16)
    drawn = [params["teacher_features"] for params in search.cv_results_["params"] if "teacher_features" in params]
    privileged = list(range(10, cancer[0].shape[1]))
    best = "SelectPrivileged(deployable=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])"
    assert {str(columns) for columns in drawn} == {"None", str(slice(0, 10)), str(privileged), best}


@pytest.mark.parametrize(
    ("student", "tried"), [(LGBMClassifier(n_estimators=3, verbose=-1), False), (DecisionTreeClassifier(), True)]
)
def test_students_that_are_no_boosters_try_synthetic_rows(cancer, student, tried):
    search = searched(*cancer, distilled().set_params(student=student), space=None, n_trials=2, refit=False)
    assert ("transfer" in search.study_.trials[-1].params) == tried


def test_teachers_are_searched_first_by_their_own_score(cancer):
    X, y = cancer
    search = searched(X, y, teacher_space={"teacher__num_leaves": [2, 31]}, n_teacher_trials=3)
    row = search.teacher_results_["params"].index({"teacher__num_leaves": 31})
    teacher = lgbm(num_leaves=31, random_state=0)
    cv = make_folds(5, X, y.to_numpy(), classifier=True, seed=0).splits
    alone = cross_val_score(teacher, X.astype(np.float32), y, cv=cv, scoring="neg_log_loss").mean()
    assert search.teacher_results_["mean_test_score"][row] == pytest.approx(alone)


def test_frozen_teacher_is_not_searched(cancer):
    X, y = cancer
    teacher = FrozenEstimator(lgbm().fit(X[:300], y[:300]))
    search = searched(X[300:], y[300:], distilled(teacher), teacher_space=None)
    assert search.teacher_study_ is None


def test_student_may_be_chosen_among_estimators(cancer):
    students = [lgbm(), DecisionTreeClassifier(max_depth=4)]
    search = searched(*cancer, space={"student": students}, n_trials=6)
    assert {type(params["student"]).__name__ for params in search.cv_results_["params"][1:]} <= {
        "LGBMClassifier",
        "DecisionTreeClassifier",
    }


def test_space_may_be_a_function_of_the_trial(cancer):
    def space(trial):
        leaves = trial.suggest_int("leaves", 2, 9)
        return {"student__num_leaves": leaves, "student__min_child_samples": 2 * leaves}

    params = searched(*cancer, space=space).cv_results_["params"][1]
    assert params["student__min_child_samples"] == 2 * params["student__num_leaves"]


def test_regression_is_searched_too():
    X, y = load_diabetes(return_X_y=True)
    search = searched(X, y, DistilledEstimator(lgbm(LGBMRegressor), lgbm(LGBMRegressor), alpha=0.5, random_state=0))
    assert search.predict(X).shape == y.shape


def test_labels_are_scored_at_a_threshold_tuned_without_the_fold(cancer):
    X, y = cancer
    model = distilled(scoring="f1_macro", threshold="f1_macro")
    search = searched(X, y, model, n_trials=1)
    assert search.best_score_ == pytest.approx(model.fit(X, y).student_score_, abs=0.02)
    assert search.best_estimator_.threshold_ is not None


def test_repeated_folds_are_searched_by_repeat(cancer):
    X, y = cancer
    cv = RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=0)
    assert searched(X, y, distilled(cv=cv)).n_splits_ == 8


def test_metadata_reach_every_fit(cancer):
    X, y = cancer
    weight = np.where(y == 1, 3.0, 1.0)
    search = DistillationSearchCV(distilled(), LEAVES, teacher_space={}, n_trials=2, random_state=0)
    weighted = search.fit(X, y, sample_weight=weight).predict_proba(X)[:, 1].mean()
    assert weighted > clone(search).fit(X, y).predict_proba(X)[:, 1].mean()


def test_same_seed_gives_the_same_study(cancer):
    first, second = (searched(*cancer, n_trials=5) for _ in range(2))
    np.testing.assert_array_equal(first.cv_results_["mean_test_score"], second.cv_results_["mean_test_score"])


def test_search_is_evaluated_on_outer_folds(cancer):
    search = DistillationSearchCV(distilled(), LEAVES, teacher_space={}, n_trials=2, random_state=0)
    report = evaluate_distillation(search, *cancer, cv=3, scoring="roc_auc")
    assert (report.scores[["teacher", "control", "student"]] > 0.8).all(axis=None)


def test_fitted_search_is_pickled(cancer, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(cancer[0]), fitted.predict_proba(cancer[0]))


def test_callbacks_are_optunas_own(cancer):
    seen = []
    searched(*cancer, n_trials=3, callbacks=[lambda study, trial: seen.append(trial.number)])
    assert seen == [0, 1, 2]


def test_refit_may_choose_the_trial(cancer):
    search = searched(*cancer, n_trials=3, refit=lambda results: 1)
    assert (search.best_index_, search.best_score_) == (1, search.cv_results_["mean_test_score"][1])


def test_timeout_leaves_the_first_trial(cancer):
    assert len(searched(*cancer, timeout=1e-6, n_trials=50).cv_results_["params"]) == 1


# ---------------------------------------------------------------- pruning and costs


def test_trials_are_pruned_between_folds(cancer):
    search = searched(*cancer, space={"student__learning_rate": [1e-6, 0.1]}, n_trials=20)
    states = search.cv_results_["state"]
    assert "PRUNED" in states
    pruned = [trial for trial in search.study_.trials if trial.state.name == "PRUNED"]
    assert all(1 <= len(trial.intermediate_values) < 5 for trial in pruned)


def test_costs_are_measured_on_the_exported_file(cancer, tmp_path):
    search = searched(*cancer, objectives=("score", "size", "n_features"), n_trials=4, pruner=None)
    size = search.best_estimator_.to_onnx(tmp_path / "student.onnx").stat().st_size
    assert search.cv_results_["size"][search.best_index_] == pytest.approx(size, rel=0.02)  # the proof differs
    assert (search.cv_results_["n_features"] == 10).all()


def test_no_trial_of_the_front_is_beaten_in_every_objective(cancer):
    space = {"student__n_estimators": IntDistribution(1, 30), **LEAVES}
    front = searched(*cancer, space=space, objectives=("score", "size"), n_trials=8).pareto_front_
    assert front["score"].is_monotonic_decreasing
    assert front["size"].is_monotonic_decreasing


def test_latency_is_an_objective(cancer):
    assert (searched(*cancer, objectives=("score", "latency"), n_trials=2).pareto_front_["latency"] > 1).all()


# ---------------------------------------------------------------- storage


SCRIPT = """
    import sys, warnings
    from lightgbm import LGBMClassifier
    from optuna.distributions import IntDistribution
    from sklearn.datasets import load_breast_cancer
    from tabkd import DistillationSearchCV, DistilledEstimator
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    quiet = {"n_estimators": 10, "num_leaves": 7, "learning_rate": 0.3, "n_jobs": 1, "verbose": -1}
    model = DistilledEstimator(
        LGBMClassifier(**quiet), LGBMClassifier(**quiet),
        student_features=slice(0, 10), alpha=0.5, random_state=0,
    )
    search = DistillationSearchCV(
        model, {"student__num_leaves": IntDistribution(2, 31)}, teacher_space={}, n_trials=int(sys.argv[2]),
        storage=sys.argv[1], random_state=0, refit=False,
    )
    search.fit(X, y)
"""


def started(storage, n_trials):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT), str(storage), str(n_trials)])


def trials_in(storage):
    return [trial for study in tabkd.studies.studies_in(storage) for trial in study.trials]


def n_finished(storage):
    try:
        return sum(trial.state.is_finished() for trial in trials_in(storage))
    except Exception:  # it is being made
        return 0


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path):
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else str(tmp_path / "study.log")


def test_killed_search_goes_on_where_it_was(storage):
    running = started(storage, 12)
    while n_finished(storage) < 4:
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = [(t.number, t.value) for t in trials_in(storage) if t.state.name == "COMPLETE"]
    assert started(storage, 12).wait() == 0
    trials = trials_in(storage)
    counted = [t for t in trials if t.state.name in ("COMPLETE", "PRUNED")]
    assert len(counted) == 12
    assert [(t.number, t.value) for t in trials if (t.number, t.value) in before] == before
    # Of a trial that was killed before it said whose it is nothing is lost.
    assert not any(t.user_attrs for t in trials if t.state.name in ("RUNNING", "WAITING"))


def test_search_that_goes_on_does_not_repeat_itself(cancer, tmp_path):
    space = {"student__learning_rate": FloatDistribution(0.01, 0.3)}
    path = tmp_path / "study.log"
    searched(*cancer, space=space, storage=path, n_trials=3)
    search = searched(*cancer, space=space, storage=path, n_trials=6)
    rates = [params["student__learning_rate"] for params in search.cv_results_["params"][1:]]
    assert len(set(rates)) == 5


def test_processes_share_a_storage(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    workers = [started(storage, 8) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    counted = [t for t in trials_in(storage) if t.state.name in ("COMPLETE", "PRUNED")]
    assert 8 <= len(counted) <= 9


def test_search_that_is_done_runs_no_more_trials(cancer, tmp_path):
    path = tmp_path / "study.log"
    first = searched(*cancer, storage=path, n_trials=3)
    again = searched(*cancer, storage=path, n_trials=3)
    assert len(again.study_.trials) == 3
    assert again.best_params_ == first.best_params_


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda X, y: (X.drop(columns="worst area"), y), "columns was"),
        (lambda X, y: (X, y.map({0: "no", 1: "yes"})), "classes was"),
        (lambda X, y: (X[:-1], y[:-1]), "rows was 569 and is now 568"),
        (lambda X, y: (X, 1 - y), "target was"),
        (lambda X, y: (X.assign(**{"worst area": X["worst area"][::-1].to_numpy()}), y), "table was"),
    ],
)
def test_study_of_another_problem_is_refused(cancer, tmp_path, change, what):
    path = tmp_path / "study.log"
    searched(*cancer, storage=path, n_trials=1, refit=False)
    with pytest.raises(ValueError, match=f"another problem: {what}"):
        searched(*change(*cancer), storage=path, n_trials=1)


def test_equal_texts_in_other_objects_are_the_same_table(tmp_path):
    X, y = pd.DataFrame({"site": list("abc") * 40}), np.arange(120) % 2
    model = DistilledEstimator(lgbm(), lgbm(), random_state=0)
    for table in (X, X.map(lambda text: "".join([text, ""]).encode().decode())):
        search = searched(table, y, model, {"alpha": [0.5]}, storage=tmp_path / "study.log", n_trials=1, refit=False)
    assert len(search.study_.trials) == 1


def test_refit_that_returns_no_scored_trial_is_refused(cancer):
    with pytest.raises(ValueError, match=r"refit returned 99, which is no trial that was scored: there are 2"):
        searched(*cancer, n_trials=2, refit=lambda results: 99)


def test_study_of_another_student_is_refused(cancer, tmp_path):
    path = tmp_path / "study.log"
    searched(*cancer, storage=path, n_trials=1, refit=False)
    with pytest.raises(ValueError, match="the estimator's student__n_estimators was '10' and is now '12'"):
        searched(*cancer, distilled(student=lgbm(n_estimators=12)), storage=path, n_trials=1)


def test_storage_that_cannot_be_made_is_refused(cancer, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be used: .*unable to open database file"):
        searched(*cancer, storage=f"sqlite:///{tmp_path}/nowhere/study.db")


def test_storage_that_is_no_database_is_refused(cancer, tmp_path):
    (tmp_path / "study.db").write_text("hello " * 1000, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cannot be used: .*file is not a database"):
        searched(*cancer, storage=f"sqlite:///{tmp_path}/study.db")


def test_locked_storage_is_refused(cancer, tmp_path, monkeypatch):
    monkeypatch.setattr(tabkd.studies, "PATIENCE", 0.1)
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ValueError, match=r"cannot be used: .*database is locked"):
            searched(*cancer, storage=f"sqlite:///{tmp_path}/study.db")
    other.close()


def test_damaged_journal_is_refused(cancer, tmp_path):
    (tmp_path / "study.log").write_text("hello\nhello\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"study\.log' cannot be used"):
        searched(*cancer, storage=tmp_path / "study.log")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"space": {"student__num_leafs": [2]}}, "Did you mean 'student__num_leaves'"),
        ({"space": {}}, "space is empty"),
        ({"space": {"alpha": []}}, "no choices for 'alpha'"),
        ({"space": {"alpha": 0.5}}, "The space has 0.5 for 'alpha'. Give a list of choices"),
        ({"space": {"alpha": "auto"}}, "The space has 'auto' for 'alpha'. Give a list of choices"),
        ({"space": {"teacher__num_leaves": [2]}}, "stands in space, but belongs in teacher_space"),
        ({"teacher_space": {"alpha": [0.5]}}, "stands in teacher_space, but belongs in space"),
        ({"objectives": ("score", "speed")}, "objectives must be"),
        ({"objectives": ("latency",)}, "objectives must be"),
        ({"n_trials": 0}, "n_trials must be a whole number of at least 1, got 0"),
        ({"estimator": distilled(cross_fit="folds")}, "needs an honest score"),
        ({"estimator": distilled(scoring="r2_scored")}, "r2_scored"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_fitted(cancer, params, message):
    with pytest.raises(ValueError, match=message):
        searched(*cancer, **params)


@pytest.mark.parametrize(
    ("scoring", "kind", "said"),
    [
        ("neg_log_loss", "regression", "scores probabilities, and this is a regression"),
        ("neg_mean_poisson_deviance", "labels", "cannot score this target"),
    ],
)
def test_scoring_that_does_not_fit_the_task_is_refused(cancer, scoring, kind, said):
    X, y = cancer
    with pytest.raises(ValueError, match=f"scoring='{scoring}' {said}"):
        if kind == "regression":
            searched(X, X["mean area"], DistilledEstimator(lgbm(LGBMRegressor), lgbm(LGBMRegressor), scoring=scoring))
        else:
            searched(X, y.map({0: "no", 1: "yes"}), distilled(scoring=scoring))


def test_function_that_names_an_unknown_parameter_is_refused(cancer):
    with pytest.raises(ValueError, match="Did you mean 'student__num_leaves'"):
        searched(*cancer, space=lambda trial: {"student__num_leafs": trial.suggest_int("n", 2, 9)})


def test_trial_that_fails_does_not_end_the_search(cancer):
    search = searched(*cancer, space={"student__num_leaves": [1, 7]}, n_trials=8)
    assert "FAIL" in {trial.state.name for trial in search.study_.trials}
    assert len(search.cv_results_["params"]) >= 2


def test_what_was_found_is_kept_where_the_estimator_as_given_fails():
    X, y = noisy(0)
    broken = DecisionTreeClassifier(max_depth=3, max_features=9.0)
    model = DistilledEstimator(broken, broken, alpha=0.5, random_state=0)
    teachers, students = ({f"{name}__max_features": [0.5]} for name in ("teacher", "student"))
    with pytest.warns(UserWarning, match="as it was given cannot be scored .*max_features.* are kept"):
        search = searched(X, y, model, students, teacher_space=teachers, n_trials=2)
    assert search.best_params_ == {"teacher__max_features": 0.5, "student__max_features": 0.5}
    assert np.isnan(search.given_score_)


@pytest.mark.parametrize(
    ("scoring", "weights", "held"),
    [("roc_auc", None, "no row of class 1"), ("accuracy", np.arange(150) < 120, "0 rows of a weight above 0")],
)
def test_folds_that_cannot_be_scored_alone_are_refused_before_any_trial(scoring, weights, held, monkeypatch):
    monkeypatch.setattr("tabkd.stages.Stage.run", None)
    X, y = noisy(0)
    y[120:] = 0
    with pytest.raises(ValueError, match=f"cannot score fold 4 alone, as a search does: it holds {held}. Use a cv"):
        searched(X, y, distilled(cv=KFold(5), scoring=scoring, student_features=None), weights=weights)


def test_search_in_which_all_fails_shows_the_first_cause(cancer):
    with pytest.raises(ValueError, match=r"All trials .* failed, the first with LightGBMError: .*num_leaves"):
        searched(*cancer, distilled(student=lgbm(num_leaves=1)), space={"student__num_leaves": [1]})


# ---------------------------------------------------------------- default spaces


@pytest.mark.parametrize(
    "model",
    [
        lgbm(), CatBoostClassifier(), XGBClassifier(), HistGradientBoostingClassifier(), RandomForestClassifier(),
        MLPClassifier(), LogisticRegression(), Ridge(), make_pipeline(StandardScaler(), MLPClassifier()),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_every_family_has_a_space_of_parameters_that_it_takes(model):
    space = default_space(model, "student", rounds=(0.5, 1))
    assert space
    assert set(space) <= parameter_names(distilled(student=model))


def test_number_of_trees_is_never_more_than_given():
    space = default_space(lgbm(n_estimators=40), "student", rounds=(0.1, 1.0))
    assert (space["student__n_estimators"].low, space["student__n_estimators"].high) == (4, 40)


def test_a_fitted_search_is_exported_as_its_winner(cancer, fitted, tmp_path):
    path = to_onnx(fitted, tmp_path / "student.onnx", X=cancer[0])
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(cancer[0]), fitted.predict_proba(cancer[0]), atol=1e-6)


def test_what_was_found_is_summed_up_and_exported(cancer, fitted, tmp_path):
    X, _ = cancer
    assert fitted.summary().equals(fitted.best_estimator_.summary())
    predictor = OnnxPredictor(fitted.to_onnx(tmp_path / "student.onnx"))
    np.testing.assert_array_equal(predictor.predict(X), fitted.predict(X))
