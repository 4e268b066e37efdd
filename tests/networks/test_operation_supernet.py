"""The super-net of operations: what is extracted is what ran, and nothing else ran."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.networks.gumbel import gates, gumbel_noise
from src.networks.operation_supernet import OperationSupernet
from tests.networks.mobile import HELD, SMALL, images_of, small_supernet

CHOSEN = [(0, 0, 0, 0, 0), (0, 0, 1, 1, 1), (0, 0, 1, 2, 0), (0, 0, 0, 2, 1)]


def one_hot(chosen, width=3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(chosen), width).float()


def test_modules_lie_where_the_choices_say():
    network = small_supernet()
    assert [len(block.operations) for block in network.blocks] == [len(names) for names in HELD]
    assert isinstance(network.blocks[3].operations[2], nn.Identity)
    assert network.blocks[4].operations[0].transform.depthwise.kernel_size == (7, 7)


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("training", [False, True])
def test_extracted_computes_what_the_one_path_forward_computes(chosen, training):
    """Bit for bit; in training mode, with batch statistics, too."""
    network = small_supernet().train(training)
    alone = network.extracted(chosen)
    assert alone.training == training
    assert alone.operations == [names[place] if names else "skip" for names, place in zip(HELD, chosen, strict=True)]
    with torch.no_grad():
        assert torch.equal(network(images_of(), chosen=chosen), alone(images_of()))


@pytest.mark.parametrize("chosen", CHOSEN)
def test_hard_gates_give_what_the_chosen_operations_give(chosen):
    """Soft with one-hot gates, one-path with gates and one-path alone: one value, bit for bit."""
    network = small_supernet().eval()
    with torch.no_grad():
        plain = network(images_of(), chosen=chosen)
        assert torch.equal(network(images_of(), gates=one_hot(chosen)), plain)
        assert torch.equal(network(images_of(), gates=list(one_hot(chosen)), chosen=chosen), plain)


def test_soft_gates_weight_all_operations():
    network = small_supernet([["ir_k3_e1"], [], ["ir_k3_e1", "ir_k5_e2"], [], []]).eval()
    weights = torch.tensor([0.3, 0.7])
    with torch.no_grad():
        first, second = (operation for operation in network.blocks[2].operations)
        x = network.blocks[0](network.stem(images_of()))
        expected = network.head(0.3 * first(x) + 0.7 * second(x))
        found = network(images_of(), gates=[None, None, weights, None, None])
    assert torch.allclose(found, expected, atol=1e-6)


def test_one_path_runs_no_other_operation():
    """Else the hard search would cost what the soft one costs."""
    network, ran = small_supernet(), []
    for block, names in zip(network.blocks, HELD, strict=True):
        for name, operation in zip(names, block.operations, strict=True):
            operation.register_forward_hook(lambda *_, name=name: ran.append(name))
    network(images_of(), gates=one_hot(CHOSEN[1]), chosen=CHOSEN[1])
    assert ran == ["ir_k3_e1", "ir_k5_e2", "ir_k5_e1_se", "skip"]


@pytest.mark.parametrize(("hard", "one_path"), [(False, False), (True, False), (True, True)])
def test_gradients_reach_the_logits(hard, one_path):
    """Of every block with a choice, of operations that it has, and of no other."""
    network = small_supernet()
    absent = torch.tensor([[place >= max(1, len(names)) for place in range(3)] for names in HELD])
    logits = torch.zeros(5, 3).masked_fill(absent, -torch.inf).requires_grad_()
    drawn = gates(logits, gumbel_noise((5, 3), torch.Generator().manual_seed(0)), 1.0, hard)
    chosen = drawn.argmax(-1).tolist() if one_path else None
    network(images_of(), drawn, chosen).square().sum().backward()
    assert logits.grad[absent].abs().sum() == 0
    assert (logits.grad[2:].abs().sum(1) > 0).all()
    assert logits.grad[:2].abs().sum() == 0  # fixed and left out: no choice to learn


def test_extracted_weights_are_copies():
    """A found network that trains on must not move the super-net, nor the other way round."""
    network = small_supernet()
    alone = network.extracted(CHOSEN[0])
    own = {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in alone.state_dict().values()}
    assert all(parameter.requires_grad for parameter in alone.parameters())


def test_extracting_draws_no_random_number():
    network, before = small_supernet(), torch.get_rng_state()
    network.extracted(CHOSEN[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "runs by gates or by a choice"),
        ({"chosen": [0, 0]}, "chosen: 2 entries for the 5 blocks"),
        ({"gates": torch.zeros(4, 3)}, "gates: 4 entries for the 5 blocks"),
    ],
)
def test_a_forward_without_a_choice_is_an_error(arguments, words):
    with pytest.raises(UserError, match=words):
        small_supernet()(images_of(), **arguments)


@pytest.mark.parametrize(
    ("block", "names", "words"),
    [
        (2, [], r"model.choices\[2\]=\[\]"),
        (2, ["ir_k3_e1", "skip"], r"model.choices\[2\]\[1\]='skip'"),
        (3, ["ir_k3_e1", "ir_k3_e1"], r"model.choices\[3\].*twice"),
        (0, ["ir_k3_e"], r"model.choices\[0\]\[0\]='ir_k3_e'"),
        (0, "ir_k3_e1", "must be a list of 5 lists"),
    ],
)
def test_mistakes_are_told_by_the_name_in_the_config(block, names, words):
    held = [list(own) for own in HELD]
    held[block] = names
    with pytest.raises(UserError, match=words):
        OperationSupernet(choices=held, **SMALL)


def test_extracting_an_operation_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match=r"chosen\[2\]=2 is not allowed"):
        small_supernet().extracted([0, 0, 2, 0, 0])
