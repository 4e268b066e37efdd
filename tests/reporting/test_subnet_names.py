"""What tables tell of a sub-net: all that tells it from another."""

from src.reporting.subnet_names import short_subnet


def test_all_choices_of_a_sub_net_are_told():
    stages = {"widths": [24, 40], "kernels": [[3, 5], [7]], "expansions": [[4, 6], [3]]}
    told = short_subnet({"resolution": 32, "width": 1.2, "stem": 16, **stages, "last": 1280})
    assert told == "r32 x1.2: 16 | 24 k3e4 k5e6 | 40 k7e3 | 1280"
