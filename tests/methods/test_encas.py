"""What the method promises beside its search: budget, data, table, and a network that is what was found."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from callbacks.pareto_report import ParetoReport
from src.errors import UserError
from src.methods.cascade_facts import spelled
from src.methods.cascade_measures import measured
from src.methods.final_training import Recipe
from src.methods.weights import load_members
from src.networks.cascade_macs import fill_macs
from src.runtime.build import network_from
from src.tasks.multilabel import Multilabel
from tests.cascading import encas, networks, of_stored, run, stored
from tests.searching import digits


def compared(module, data) -> tuple:
    recipe = Recipe(epochs=0, repeats=1, trainer=None, settings={})  # there is nothing to train
    return module.compare(recipe, "3 members", data, [], dict)


def test_the_search_never_opens_the_test_split_and_the_report_does_once(tmp_path, monkeypatch):
    data, opened = digits(), []
    read = type(data).read_test
    monkeypatch.setattr(type(data), "read_test", lambda self: opened.append(1) or read(self))
    module = encas(networks(), tmp_path)
    run(module, data=data)
    assert not opened
    compared(module, data)
    assert opened == [1]


def test_the_found_network_answers_as_the_table_says(tmp_path):
    """Errors and MACs of the live cascade on the test images, against those of the stored outputs."""
    data = digits()
    module = encas(networks(), tmp_path, thin=None)
    trainer = run(module, data=data, searcher="exact")
    rows, network = compared(module, data)
    assert network.state_dict().keys() == network_from(module.architecture()).state_dict().keys()
    data.trainer = trainer
    network.reset_counts()
    wrong = count = 0
    for images, labels in data.test_dataloader():
        with torch.no_grad():
            wrong += int((network(images).argmax(1) != labels).sum())
        count += len(labels)
    found = rows[-1]
    assert found["network"] == "found"
    assert found["test_error"] == pytest.approx(100 * wrong / count)
    assert found["macs"] == pytest.approx(network.average_macs())
    assert found["val_error"] == min(candidate.error for candidate in module.candidates)


def test_the_front_is_written_with_validation_and_test(tmp_path):
    data = digits()
    module = encas(networks(), tmp_path)
    run(module, data=data)
    rows, _ = compared(module, data)
    with open(tmp_path / "front_test.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["id"]) for line in lines] == [candidate.id for candidate in module.candidates]
    chosen = module.chosen().id
    assert float(lines[chosen]["test_error"]) == rows[-1]["test_error"]
    assert json.loads(lines[chosen]["members"]) == module.chosen().architecture["members"]
    assert "hypervolume" in module.remark()
    assert [heading for heading, _, _ in module.report_figures()] == ["Error against cost", "Exits"]


def test_the_weights_of_the_front_are_kept_once_and_of_stored_outputs_there_are_none(tmp_path):
    data, module = digits(), encas(networks(), tmp_path / "networks", thin=None)
    run(module, data=data)
    assert not (tmp_path / "networks" / "front").exists()  # only after the test
    compared(module, data)
    kept = torch.load(tmp_path / "networks" / "front" / "weights.pt", weights_only=True)
    assert kept.keys() == {name for candidate in module.candidates for name in candidate.architecture["members"]}
    of_outputs = of_stored(tmp_path)
    run(of_outputs)
    compared(of_outputs, None)
    assert not (tmp_path / "run" / "front").exists()


def test_a_budget_chooses_within_it(tmp_path):
    whole, budgeted = of_stored(tmp_path / "a", thin=None), of_stored(tmp_path / "b", thin=None, max_macs=0.3)
    run(whole)
    run(budgeted, ParetoReport(str(tmp_path)))  # whose first page knows no cascade within the budget
    most = 0.3 * max(member.macs for member in budgeted.members)
    assert budgeted.chosen().macs <= most < whole.chosen().macs
    cheaper = [candidate.error for candidate in budgeted.candidates if candidate.macs <= most]
    assert budgeted.chosen().error == min(cheaper)


def test_a_budget_that_no_member_meets_is_told(tmp_path):
    with pytest.raises(UserError, match=r"method.max_macs=1e-06: the cheapest member, m\d, has"):
        run(of_stored(tmp_path, max_macs=1e-6))


def test_latency_is_measured_where_it_is_an_objective(tmp_path):
    module = encas(networks(2), tmp_path, objectives=["error", "latency"], latency_repeats=2)
    run(module, data=digits())
    assert all(member.latency_ms > 0 for member in module.members)
    assert all(candidate.extra["latency_ms"] > 0 for candidate in module.candidates)
    assert module.objectives == ("error", "latency_ms")


def test_stored_outputs_beside_networks_must_be_of_the_same_samples(tmp_path):
    members = [*networks(1), *stored(tmp_path / "others")]
    with pytest.raises(UserError, match="member m0 has 200 samples of 5 classes and net0 has 270 of 10"):
        run(encas(members, tmp_path / "run"), data=digits())


def test_a_stored_member_that_fits_no_other_is_named_before_the_search(tmp_path):
    """Nothing but its test part is wrong, which is looked at once the search has ended."""
    given = stored(tmp_path / "given")
    path = tmp_path / "given" / "test" / "m2.npz"
    values = dict(np.load(path))
    np.savez(path, **values | {"labels": values["labels"][:-1], "softmax": values["softmax"][:-1]})
    with pytest.raises(UserError, match=r"member m2 \(test\) has 199 samples and m0 has 200"):
        run(encas(given, tmp_path / "run", (1, 1, 1), 5))
    assert not (tmp_path / "run" / "pool").exists()


def test_a_member_that_is_a_cascade_costs_what_it_cost(tmp_path):
    """Behind another member it sees the hard images only, which cost more than the average."""
    data, first = digits(), encas(networks(), tmp_path / "first", thin=None)
    run(first, data=data, searcher="exact")
    _, network = compared(first, data)
    torch.save(network.state_dict(), tmp_path / "cascade.pt")
    entry = {"name": "inner", "model": first.architecture(), "weights": str(tmp_path / "cascade.pt")}
    second = encas([*networks(2), entry], tmp_path / "second")
    run(second, data=data)
    inner = second.members[2]
    assert round(inner.macs) == first.chosen().macs
    assert min(second.singles) <= second.singles[2] == pytest.approx(first.chosen().error)
    pool, cascade = second.pool("validation"), {"members": [second.members[0].name, "inner"], "thresholds": [0.12]}
    predicted = measured(second.evaluator(pool), [cascade])[0]
    config = second.candidate_config(replace(second.candidates[0], architecture=cascade))
    live = network_from(config).eval()
    load_members(live, {given.name: torch.load(given.weights, weights_only=True) for given in second.given})
    fill_macs(live, (1, 8, 8))
    with torch.no_grad():
        for images, _ in data.whole_validation():
            live(images)
    assert 0 < live.reached[1] < live.reached[0]
    assert live.average_macs() == pytest.approx(predicted["macs"], rel=1e-12)


def test_the_published_reference_point_is_a_choice(tmp_path):
    module = of_stored(tmp_path, reference=[40, 4e9])
    run(module)
    pool = module.pool("validation")
    assert module.reference(pool) == (40, 4e9)
    assert of_stored(tmp_path / "own").reference(pool) == (40.0, pytest.approx(1.1 * np.sort(pool.costs())[-3:].sum()))


def test_the_rows_of_the_table_have_one_name_in_every_run(tmp_path):
    """Else a multirun's table has a row for each seed; who they are is told beside the table and on the page."""
    module = of_stored(tmp_path, thin=None, max_macs=0.5)
    run(module, searcher="exact")
    module.exact = None
    rows, _ = compared(module, None)
    names = [row["network"] for row in rows]
    assert names == [f"base {module.base_network['name']}", "single within its MACs", "no worse than base", "found"]
    facts = module.report_facts()
    assert all(f"{name}: {text}" in module.remark() for name, text in facts.items() if name != "searched")
    assert facts["single within its MACs"] in {member.name for member in module.members}
    assert "behind the exact front" not in facts


def test_a_front_that_is_exact_lacks_nothing_and_a_single_member_counts(tmp_path):
    """The default reference is dearer than every cascade: what costs as much as it would have no volume."""
    module = of_stored(tmp_path, thin=None, slots=1)
    run(module, searcher="exact")
    facts = module.report_facts()
    assert facts["behind the exact front"].startswith("0.00 %")
    dearest = max(member.macs for member in module.members)
    assert module.reference(module.pool("validation"))[1] > dearest
    assert float(facts["hypervolume, validation"]) > 0


def test_what_all_images_run_through_is_spelled_as_a_sum():
    assert spelled({"members": ["a", "b", "c"], "thresholds": [1.0, 0.5]}) == "a + b [<= 0.5] > c"
    assert spelled({"members": ["a", "b"], "gaps": [0.25]}) == "a [gap < 0.25] > b"


def test_several_labels_an_image_are_refused(tmp_path):
    with pytest.raises(UserError, match="method=encas needs task=classification"):
        encas(networks(1), tmp_path, task=Multilabel(10))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"members": []}, "method.members is empty"),
        ({"objectives": ["error"]}, r"method.objectives=\['error'\] is not allowed; it must be error and one of"),
        ({"objectives": ["error", "flops"]}, "method.objectives='flops' is not known"),
        ({"objectives": ["macs", "params"]}, "it must be error and one of"),
        ({"reference": [0, 1]}, r"method.reference=\[0, 1\] is not allowed"),
        ({"repeats": "keep"}, "method.repeats='keep' is not known"),
        ({"slots": 9}, "method.slots=9 is not allowed; it must be a whole number from 1 to 8"),
        ({"thin": -1}, "method.thin=-1"),
        ({"max_macs": "all"}, "method.max_macs='all'"),
        ({"memory_gb": 0}, "method.memory_gb=0"),
    ],
)
def test_values_are_checked_before_anything_runs(options, told, tmp_path):
    with pytest.raises(UserError, match=told):
        encas(**{"members": networks(1), "folder": tmp_path, **options})
