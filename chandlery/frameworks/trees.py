"""Checks the trees of a loaded scikit-learn model: their nodes are indices into arrays that scikit-learn does not check.

A forged tree would read outside its arrays, and end the process at its first prediction.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from chandlery.errors import ModelLoadError

LEAF = -1


def check_trees(estimator: Any) -> None:
    """Check every tree that can be reached from an estimator.

    Raises:
        ModelLoadError: a node points outside its tree, back to an earlier node, or to a feature that is not there.
    """
    from sklearn.base import BaseEstimator
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    for found in reachable(estimator):
        if isinstance(found, Tree):
            _check_tree(found)
        elif isinstance(found, TreePredictor):
            _check_predictor(found)
        elif isinstance(found, BaseEstimator):
            _check_owner(found, Tree, TreePredictor)


def _check_tree(tree: Any) -> None:
    count = tree.node_count
    _hold(0 < count <= tree.capacity)
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = left != LEAF
    _check_children(left[inner], right[inner], np.flatnonzero(inner), count)
    _hold(bool(np.all((feature[inner] >= 0) & (feature[inner] < tree.n_features))))


def _check_predictor(predictor: Any) -> None:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    _hold(len(nodes) > 0)
    _check_children(
        nodes["left"][inner].astype("int64"),
        nodes["right"][inner].astype("int64"),
        np.flatnonzero(inner),
        len(nodes),
    )
    split = nodes[inner & (nodes["is_categorical"] != 0)]
    _hold(bool(np.all(split["bitset_idx"] < len(predictor.raw_left_cat_bitsets))))


def _check_children(left: np.ndarray, right: np.ndarray, parent: np.ndarray, count: int) -> None:
    # A child stands after its parent, so that every way down ends.
    for child in (left, right):
        _hold(bool(np.all((child > parent) & (child < count))))


def _check_owner(owner: Any, tree_type: type[Any], predictor_type: type[Any]) -> None:
    """Check that trees use no more features than the estimator that hands them rows has checked."""
    features = getattr(owner, "n_features_in_", None)
    tree = vars(owner).get("tree_")
    if isinstance(tree, tree_type):
        _hold(tree.n_features == features)
    module = type(owner).__module__
    if module in ("sklearn.ensemble._forest", "sklearn.ensemble._gb"):
        # These check the rows once and hand them to each tree as they are.
        members = np.ravel(np.asarray(vars(owner).get("estimators_", []), dtype=object))
        _hold(all(getattr(member, "n_features_in_", None) == features for member in members))
    for predictor in reachable(vars(owner).get("_predictors")):
        if isinstance(predictor, predictor_type):
            used = predictor.nodes["feature_idx"][predictor.nodes["is_leaf"] == 0]
            _hold(bool(np.all((used >= 0) & (used < (features or 0)))))


def reachable(root: Any) -> Iterator[Any]:
    """Yield every object of a loaded model, each once; classes, functions and modules are not part of it."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        found = pending.pop()
        if id(found) in seen or isinstance(found, type | types.ModuleType | types.FunctionType | str | bytes):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, np.ndarray):
            # numpy does not tell the garbage collector what an array of objects holds.
            pending.extend(found.ravel().tolist() if found.dtype == object else ())
        else:
            pending.extend(gc.get_referents(found))


def _hold(condition: bool) -> None:
    if not condition:
        raise ModelLoadError(
            "a tree of the model points outside itself: its file is forged or damaged, and is refused",
            "train the model again",
        )
