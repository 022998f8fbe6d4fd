"""Experiments and SeldonDeployments that are nearly right: refused in words, or good for all that follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from chandlery.deployments.spec import from_seldon, to_seldon
from chandlery.embedded.deployments.desired import desired
from chandlery.embedded.experiments import template
from chandlery.embedded.experiments.suggestions import make_suggester
from chandlery.errors import ChandleryError, InvalidDocumentError
from chandlery.platform import open_resources
from chandlery.resources import EXPERIMENT, SELDON_DEPLOYMENT
from chandlery.resources.experiment import check_experiment
from chandlery.resources.experiment_space import dimensions
from chandlery.resources.seldon_deployment import check_document

from .harness import cases, nearly, plain

ROOT = Path(__file__).parents[2]


def _stored(document: dict) -> dict:
    """Return a document as a store hands it out."""
    return {
        **document,
        "metadata": {**document["metadata"], "uid": "u", "generation": 1, "namespace": "default"},
    }


def documents(folder: str) -> list[dict]:
    return [yaml.safe_load(path.read_text()) for path in sorted((ROOT / folder).glob("*.yaml"))]


EXPERIMENTS = documents("katib")
DEPLOYMENTS = documents("seldon")


def test_experiments_run_or_are_refused(tmp_path):
    tried = 0
    for document in EXPERIMENTS:
        make_suggester(_stored(document)).suggest([], 0)  # what it imports is no part of a case

    @cases(nearly(EXPERIMENTS), share=0.4)
    def case(document):
        nonlocal tried
        try:
            check_experiment(document)
        except InvalidDocumentError as error:
            plain(str(error))
            return
        # What the check lets through may still be more than a laptop can do, but it is said in words.
        try:
            assignments = {
                d.name: (d.values or ("1",))[0] for d in dimensions(document["spec"]["parameters"])
            }
            run = template.substituted(
                document["spec"]["trialTemplate"], assignments, {"Name": "a-0", "Namespace": "default"}
            )
            name = document["spec"]["trialTemplate"]["primaryContainerName"]
            collector = document["spec"].get("metricsCollectorSpec") or {}
            template.command(run, name, collector, tmp_path)
            tried += 1
            if tried % 20 == 0:  # libraries behind it take their time
                make_suggester(_stored(document)).suggest([], 0)
        except ChandleryError as error:
            plain(str(error))


def test_deployments_run_or_are_refused():
    @cases(nearly(DEPLOYMENTS), share=0.4)
    def case(document):
        if isinstance(document, dict) and isinstance(document.get("metadata"), dict):
            # As a store hands it out.
            document["metadata"] |= {"uid": "u", "generation": 1, "namespace": "default"}
        try:
            check_document(document)
        except InvalidDocumentError as error:
            plain(str(error))
            for read in (desired, from_seldon):
                with pytest.raises(InvalidDocumentError):
                    read(document)
            return
        for read in (desired, from_seldon):
            try:
                found = read(document)
            except InvalidDocumentError as error:
                plain(str(error))
            else:
                if read is from_seldon:
                    try:
                        to_seldon(found)
                    except InvalidDocumentError as error:
                        plain(str(error))


def test_a_store_takes_a_document_whole_or_not_at_all():
    store = open_resources()
    kept = [store.apply(d, owner="test") for d in (EXPERIMENTS[0], DEPLOYMENTS[0])]
    names = [(EXPERIMENT, EXPERIMENTS[0]), (SELDON_DEPLOYMENT, DEPLOYMENTS[0])]

    @cases(
        nearly([EXPERIMENTS[0], DEPLOYMENTS[0]]), st.sampled_from(["test", "other"]), st.booleans(), share=0.2
    )
    def case(document, owner, force):
        before = [store.get(kind, d["metadata"]["name"], "default") for kind, d in names]
        try:
            after = store.apply(document, owner=owner, force=force)
        except ChandleryError as error:
            plain(str(error))
            assert [store.get(kind, d["metadata"]["name"], "default") for kind, d in names] == before
        else:
            json.dumps(after, allow_nan=False)
            for kind, d in names:
                store.delete(kind, d["metadata"]["name"], "default")
                store.apply(d, owner="test")

    assert kept
    store.close()
