"""How many columns does a student need? Backward elimination on soft targets made once, and its frontier drawn."""

from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer

from tabkd import DistilledEstimator, FeatureBudgetSelector
from tabkd.plots import FrontierDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
model = DistilledEstimator(
    LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1),
    LGBMClassifier(n_estimators=40, num_leaves=7, n_jobs=1, verbose=-1),
    alpha=0.25,
    random_state=0,
)
selector = FeatureBudgetSelector(model).fit(X, y)
print(selector.frontier_.drop(columns="columns").round(4).to_string(index=False))
print(selector.get_feature_names_out())
FrontierDisplay.from_selector(selector).plot().figure_.savefig("budget.png", dpi=120)
