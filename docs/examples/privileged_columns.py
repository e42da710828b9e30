"""Privileged columns: the teacher sees blood values, the student only what a nurse can measure.

Diabetes data of scikit-learn, a regression: predict the progression of the disease after one year.
"""

from __future__ import annotations

from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

from tabkd import DistilledEstimator


def main() -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    at_the_bedside = ["age", "sex", "bmi", "bp"]  # the six blood serum values, s1 to s6, are privileged

    model = DistilledEstimator(
        ExtraTreesRegressor(n_estimators=60, min_samples_leaf=3),
        DecisionTreeRegressor(max_depth=5, min_samples_leaf=8),
        student_features=at_the_bedside,
        random_state=0,
    ).fit(X_train, y_train)

    lines = [
        f"alpha chosen: {model.alpha_} (1 would be the student without a teacher)",
        f"squared error, cross-fitted: student {-model.student_score_:.0f}, control {-model.control_score_:.0f}",
        f"gain: {model.distillation_gain_:.0f}, standard error {model.distillation_gain_se_:.0f}",
        f"R2 on new patients: {r2_score(y_test, model.predict(X_test[at_the_bedside])):.2f}",
    ]
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
