"""Preprocessing inside teacher and student, and a grid search around the distillation that fits no teacher twice."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator


def main() -> None:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    deployable = [name for name in X.columns if name.startswith("mean")]

    # A transformer in front of the DistilledEstimator would demand the privileged columns at prediction.
    student = make_pipeline(StandardScaler(), PCA(), DecisionTreeClassifier(max_depth=4, min_samples_leaf=15))
    with TemporaryDirectory() as folder:
        model = DistilledEstimator(
            LGBMClassifier(n_estimators=30, num_leaves=7),
            student,
            student_features=deployable,
            scoring="neg_log_loss",
            memory=folder,
            cv=4,
            random_state=0,
        )
        grid = {"alpha": [0.25, 0.5], "student__pca__n_components": [3, 6]}
        search = GridSearchCV(model, grid, cv=3).fit(X_train, y_train)

    lines = [
        f"chosen: {search.best_params_}",
        f"log-loss: inner {-search.best_score_:.3f}, new rows {-search.score(X_test, y_test):.3f}",
        f"columns needed: {len(search.best_estimator_.student_features_)} of {X.shape[1]}",
    ]
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
