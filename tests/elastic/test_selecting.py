"""Parts of tensors by index: values and gradients of plain indexing, each way of taking them."""

import pytest
import torch

from src.elastic.selecting import Packed, Picked, as_index, gathered, put, selected, spread, taken

ROWS, COLUMNS = (Picked.of(torch.tensor(kept), size) for kept, size in (([0, 2, 5], 6), ([1, 3], 4)))
DIMS = {
    "rows": [(0, ROWS)],
    "columns": [(1, COLUMNS)],
    "rows and columns": [(0, ROWS), (1, COLUMNS)],
    "first rows": [(0, slice(0, 3))],
    "first columns": [(1, slice(0, 2))],
    "first rows and columns": [(0, slice(0, 3)), (1, slice(0, 2))],
    "first rows, other columns": [(0, slice(0, 3)), (1, COLUMNS)],
    "other rows, first columns": [(0, ROWS), (1, slice(0, 2))],
    "columns of all rows": [(0, None), (1, COLUMNS)],
    "columns before rows": [(1, COLUMNS), (0, ROWS)],
}


def one_by_one(whole, dims):
    """Plain indexing, one dimension after the other."""
    for dim, kept in dims:
        every = torch.arange(whole.shape[dim])
        kept = kept.index if isinstance(kept, Picked) else slice(None) if kept is None else kept
        whole = whole.index_select(dim, every[kept])
    return whole


@pytest.mark.parametrize("dims", DIMS.values(), ids=DIMS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
def test_values_and_gradients_are_those_of_plain_indexing(shape, dims):
    whole = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    index = as_index(dims)
    part, expected = selected(whole, index), one_by_one(whole, dims)
    assert torch.equal(part, expected)
    gradient = torch.randn_like(part)
    (found,), (right,) = (torch.autograd.grad(x, whole, gradient) for x in (part, expected))
    assert torch.equal(found, right)
    assert torch.autograd.gradcheck(lambda tensor: selected(tensor, index), whole)


def test_everything_is_no_index():
    """A layer that keeps all its channels runs untouched."""
    assert as_index([(0, None), (1, None)]) is None
    assert as_index([(0, None)]) is None


@pytest.mark.parametrize("dims", DIMS.values(), ids=DIMS)
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)])
def test_a_processor_and_a_gpu_take_the_same(shape, dims):
    whole, index = torch.randn(*shape), as_index(dims)
    part = one_by_one(whole, dims)
    assert torch.equal(taken(whole, index), part)
    assert torch.equal(gathered(whole, index), part)
    back = spread(part, shape, index)
    assert torch.equal(back, put(part, shape, index))
    assert torch.equal(taken(back, index), part)
    assert int((back != 0).sum()) == part.numel()


def test_a_picked_place_knows_where_it_went():
    assert ROWS.inverse.tolist() == [0, 3, 1, 3, 3, 2]


def test_packed_vectors_are_those_that_were_packed():
    kept = [torch.tensor([0, 2]), torch.arange(3), torch.tensor([1])]
    vectors = [torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (4, 3, 2)]
    packed = Packed.of(kept, [4, 3, 2])
    parts = packed.parts(vectors)
    assert all(torch.equal(part, vector[index]) for part, vector, index in zip(parts, vectors, kept, strict=True))
    assert torch.autograd.gradcheck(lambda *tensors: packed.parts(tensors), vectors)


def test_what_was_packed_is_put_back_and_nothing_else():
    kept = [torch.tensor([0, 2]), torch.tensor([1])]
    vectors = [torch.arange(4.0), torch.arange(2.0)]
    Packed.of(kept, [4, 2]).put_back(torch.tensor([10.0, 20.0, 30.0]), vectors)
    assert [vector.tolist() for vector in vectors] == [[10, 1, 20, 3], [0, 30]]


def test_nothing_can_be_packed():
    """A network without vectors has none to select."""
    empty = Packed.of([], [])
    assert empty.parts([]) == ()
    empty.put_back(torch.empty(0), [])
