"""Published sub-nets of elastic spaces, as plain data, with the MACs (in millions) that were published with them.

OFA: the three networks of the Once-for-All project that were searched for MACs and tuned for 75 epochs; numbers from
the descriptions that it released (`net.config`, `run.config`), parameters (millions) from its table.
ALPHANET: the evaluation settings of AlphaNet and (A5) of AttentiveNAS, MACs from the tables of their read-me files.
NAT: the networks of Neural Architecture Transfer (arXiv 2005.05859), MACs from the names of their folders or, of the
four for ImageNet, from the paper; `genes` as its `net.encoding` has them, 0 to 9 for each of 5 x 4 blocks.

All of them count convolutions, also those of squeeze-and-excitation and of shortcuts, and the classifier; no batch
norms. NAT's transfer networks are the exception, see `test_published_subnets.py`.
"""

OFA = {  # resolution, width, kernels, expansions, millions of MACs and of parameters
    "flops@389M_top1@79.1": (
        *(224, 1.2),
        [[3, 3], [5, 5, 3], [5, 5, 3], [5, 5, 3, 3], [3, 3, 7, 3]],
        [[3, 3], [3, 6, 3], [4, 4, 3], [6, 4, 4, 4], [6, 6, 6, 3]],
        *(389, 8.4),
    ),
    "flops@482M_top1@79.6": (
        *(224, 1.2),
        [[5, 3, 3], [5, 3, 5, 3], [5, 5, 3, 3], [5, 7, 3, 5], [7, 3, 3, 3]],
        [[3, 3, 3], [4, 4, 4, 3], [4, 6, 3, 3], [6, 6, 6, 4], [6, 6, 6, 3]],
        *(482, 9.1),
    ),
    "flops@595M_top1@80.0": (
        *(236, 1.2),
        [[3, 5, 3], [5, 5, 3, 5], [7, 5, 3, 5], [3, 5, 7, 3], [3, 3, 5, 3]],
        [[3, 4, 3], [4, 4, 6, 3], [6, 6, 3, 4], [6, 6, 6, 4], [6, 6, 6, 3]],
        *(595, 9.1),
    ),
}

ALPHANET = {  # resolution, stem + widths + last, kernels, expansions, depths, millions of MACs
    "a0": (192, [16, 16, 24, 32, 64, 112, 192, 216, 1792], [3] * 7, [1, 4, 4, 4, 4, 6, 6], [1, 3, 3, 3, 3, 3, 1], 203),
    "a1": (
        *(224, [16, 16, 24, 32, 64, 112, 192, 216, 1984]),
        *([3, 3, 3, 5, 3, 5, 3], [1, 4, 4, 4, 4, 6, 6], [1, 3, 3, 3, 3, 3, 1], 279),
    ),
    "a2": (
        *(224, [16, 16, 24, 32, 64, 112, 200, 224, 1984]),
        *([3, 3, 3, 3, 3, 5, 3], [1, 4, 5, 4, 4, 6, 6], [1, 3, 3, 3, 3, 4, 1], 317),
    ),
    "a3": (
        *(224, [16, 16, 24, 32, 64, 112, 208, 224, 1984]),
        *([3, 3, 3, 5, 3, 3, 3], [1, 4, 4, 4, 4, 6, 6], [2, 3, 3, 4, 3, 5, 1], 357),
    ),
    "a4": (
        *(256, [16, 16, 24, 32, 64, 112, 192, 216, 1984]),
        *([3, 3, 3, 5, 3, 5, 3], [1, 4, 4, 5, 4, 6, 6], [1, 3, 3, 4, 3, 5, 1], 444),
    ),
    "a5 small": (
        *(256, [16, 16, 24, 32, 64, 112, 208, 216, 1984]),
        *([3, 3, 3, 3, 3, 5, 3], [1, 4, 4, 5, 4, 6, 6], [1, 3, 3, 4, 4, 5, 1], 491),
    ),
    "a5 base": (
        *(288, [16, 16, 24, 32, 64, 112, 200, 216, 1984]),
        *([3, 3, 5, 5, 3, 3, 3], [1, 4, 4, 4, 5, 6, 6], [2, 3, 4, 3, 3, 5, 1], 596),
    ),
    "a6": (
        *(288, [16, 16, 24, 32, 64, 112, 216, 224, 1984]),
        *([3, 3, 3, 3, 3, 5, 3], [1, 4, 6, 5, 4, 6, 6], [1, 3, 3, 4, 4, 6, 1], 709),
    ),
    "a5 of AttentiveNAS": (
        *(256, [16, 16, 24, 32, 72, 112, 192, 216, 1792]),
        *([3, 3, 3, 5, 3, 3, 3], [1, 4, 5, 4, 4, 6, 6], [1, 3, 3, 3, 4, 6, 1], 491),
    ),
}

NAT = {  # resolution, width, genes, activation, classes, millions of MACs
    "M1": (224, 1.0, "1100 1440 5510 5220 8877", "mish", 1000, 225),
    "M2": (224, 1.2, "1100 3100 6320 7600 9771", "mish", 1000, 312),
    "M3": (224, 1.2, "2110 5451 5811 8975 9771", "mish", 1000, 490),
    "M4": (240, 1.2, "1510 5572 9815 7894 7781", "mish", 1000, 600),
    "aircraft": (252, 1.2, "1100 1100 5332 8210 4144", "h_swish", 100, 388),
    "cars": (256, 1.0, "1200 6400 3510 2300 2400", "h_swish", 196, 199),
    "cifar10": (224, 1.2, "3300 9600 9432 9697 9931", "h_swish", 10, 468),
    "cifar100": (224, 1.2, "9799 9999 9969 9699 9999", "h_swish", 100, 796),
    "cinic10": (224, 1.2, "2800 9990 6900 8990 9999", "h_swish", 10, 501),
    "dtd": (228, 1.0, "7500 3100 7100 8400 5540", "h_swish", 47, 211),
    "flowers102": (240, 1.2, "2340 4850 3900 8310 6400", "mish", 102, 400),
    "food101": (252, 1.0, "3420 6741 4310 8431 7770", "h_swish", 101, 361),
    "pets": (232, 1.2, "1100 7700 7412 3331 9900", "h_swish", 37, 386),
    "stl10": (232, 1.0, "6300 7141 9935 9921 7971", "mish", 10, 369),
}


def ofa(resolution, width, kernels, expansions) -> dict:
    """The genotype of five stages; the first stage, of one block, is fixed."""
    widths, ends = [16, 24, 40, 80, 112, 160], {"resolution": resolution, "width": width, "stem": 16, "last": 1280}
    return {**ends, "widths": widths, "kernels": [[3], *kernels], "expansions": [[1], *expansions]}


def alphanet(resolution, widths, kernels, expansions, depths) -> dict:
    """The genotype of seven stages with one kernel and expansion each."""
    ends = {"resolution": resolution, "width": 1.0, "stem": widths[0], "last": widths[-1], "widths": widths[1:-1]}
    kernels, expansions = ([[one] * n for one, n in zip(own, depths, strict=True)] for own in (kernels, expansions))
    return {**ends, "kernels": kernels, "expansions": expansions}


def nat(resolution, width, genes) -> dict:
    """The genotype of NAT's genes: 3 x (index of the expansion) + (index of the kernel) + 1, or 0 for no block."""
    pairs = [[divmod(int(gene) - 1, 3) for gene in stage if gene != "0"] for stage in genes.split()]
    kernels = [[(3, 5, 7)[kernel] for _, kernel in stage] for stage in pairs]
    return ofa(resolution, width, kernels, [[(3, 4, 6)[expansion] for expansion, _ in stage] for stage in pairs])
