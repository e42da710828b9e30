"""What does a smaller student lose? A search with the size of the file as a second objective, and its front drawn."""

from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer

from tabkd import DistillationSearchCV, DistilledEstimator
from tabkd.plots import ParetoDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
model = DistilledEstimator(
    LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1),
    LGBMClassifier(n_estimators=60, n_jobs=1, verbose=-1),
    student_features=[name for name in X.columns if name.startswith("mean")],
    random_state=0,
)
search = DistillationSearchCV(model, teacher_space={}, objectives=("score", "size"), n_trials=30, random_state=0).fit(
    X, y
)
print(search.pareto_front_[["score", "size", "student__n_estimators"]].round(3).to_string(index=False))
ParetoDisplay.from_search(search).plot().figure_.savefig("pareto.png", dpi=120)
