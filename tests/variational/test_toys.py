"""What variational dropout is for, in two shortened toys; whole: tests/benchmarks/linear_teacher, six_operations."""

import pytest

from tests.variational.toys import fixed_points, linear_teacher, six_operations


@pytest.mark.parametrize("kl", ["ard", "sparse_vd"])
def test_the_weights_of_a_linear_teacher_are_found(kl):
    """With fewer data than weights a dense layer errs; exactly the 10 weights of the teacher are to be left (T6)."""
    found = linear_teacher(1.0, steps=1200, dense_steps=400, kl=kl)
    assert (found.kept, found.relevant) == (10, 10)
    assert found.dense_mse > 1
    assert found.pruned_mse < 0.01


@pytest.mark.parametrize("noise", ["scalar", "example", "lrt"])
def test_gates_find_the_operations_that_make_the_target(noise):
    """Relevant gates settle where likelihood and KL balance, the others end above the threshold (T7)."""
    found = six_operations(0.1, noise, steps=600, ramp=100, lr=1e-2)
    assert found.theta[:2] == pytest.approx([0.5, 1.0], abs=0.05)
    assert found.log_alpha[:2] == pytest.approx(fixed_points(0.1), abs=0.3)
    assert min(found.log_alpha[2:]) > 3
