"""Loads the weights that Once-for-All released (https://github.com/mit-han-lab/once-for-all, MIT) into our super-nets.

Their files hold `{"state_dict": ...}`, one width multiplier each: `ofa_mbv3_d234_e346_k357_w1.0` and `_w1.2` for the
space ofa_mobilenet_v3, `ofa_proxyless_d234_e346_k357_w1.3` for ofa_proxyless. Older releases call the body of a block
`mobile_inverted_conv`, newer ones `conv`; the layers within layers (`bn.bn`, `conv.conv`, `linear.linear`) come and go.
"""

import os
import pickle
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import UserError, check_text
from src.networks.elastic_mobile.supernet import ElasticNetwork, ElasticSupernet

# ours: theirs
_PARTS = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "project": "point_linear",
    "squeeze": "depth_conv.se.fc",
    "matrices": "depth_conv.conv",
}
_ENDS = {
    "stem": "first_conv",
    "head.expand": "final_expand_layer",
    "head.last": "feature_mix_layer",
    "head.classifier": "classifier.linear",
}
_SPELLINGS = (
    (".mobile_inverted_conv.", ".conv."),
    (".bn.bn.", ".bn."),
    (".conv.conv.", ".conv."),
    (".linear.linear.", ".linear."),
)


def load_ofa(supernet: ElasticSupernet, path: str | os.PathLike, multiplier: float | None = None) -> list[str]:
    """Loads a released file into the weights of one width multiplier, which may be left out where there is one only.

    The classifier stays as it is where the file has another number of classes. Returns the names of the tensors that
    were not loaded.

    Raises:
        UserError: no such file or no weights in it, an unknown multiplier, or a tensor that is missing, too many or of
            another shape, with its name.
    """
    path = check_text("weights", path)
    multipliers = supernet.macro.multipliers
    if multiplier is None and len(multipliers) > 1:
        raise UserError(f"the weights {path} are of one width multiplier: say which of {list(multipliers)}")
    if multiplier is not None and multiplier not in multipliers:
        raise UserError(f"multiplier={multiplier!r} is not allowed; the super-net has {list(multipliers)}")
    network = supernet.networks[0 if multiplier is None else multipliers.index(multiplier)]
    theirs = {_spelled(name): tensor for name, tensor in _read(path).items()}
    ours, loaded, left = network.state_dict(), {}, []
    for name, own in ours.items():
        there = ofa_name(name, network)
        given = theirs.pop(there, None)
        if given is None and name.endswith("num_batches_tracked"):
            left.append(name)  # files of old versions of torch have none
        elif given is None:
            raise UserError(f"the weights {path} do not fit this super-net: they have no {there!r} (our {name})")
        elif given.shape == own.shape:
            loaded[name] = given
        elif name.startswith("head.classifier."):
            left.append(name)
        else:
            raise UserError(
                f"the weights {path} do not fit this super-net: {there!r} has the shape {tuple(given.shape)}, and ours "
                f"({name}) {tuple(own.shape)}"
            )
    # a block whose kernel is not searched needs no matrices
    surplus = [name for name in theirs if not name.endswith("_matrix")]
    if surplus:
        raise UserError(f"the weights {path} do not fit this super-net: it has no place for {surplus[0]!r}")
    network.load_state_dict(loaded, strict=False)
    return left


def ofa_name(name: str, network: ElasticNetwork) -> str:
    """The released name, in the shortest spelling, of a tensor of `network`.

    `stages.1.0.expand.conv.weight` is `blocks.1.conv.inverted_bottleneck.conv.weight`.
    """
    block = re.fullmatch(r"stages\.(\d+)\.(\d+)\.(\w+)\.(.+)", name)
    if block is None:
        start = next(start for start in _ENDS if name.startswith(f"{start}."))
        return _ENDS[start] + name.removeprefix(start)
    stage, place, part, rest = int(block[1]), int(block[2]), block[3], block[4]
    number = sum(len(blocks) for blocks in network.stages[:stage]) + place
    return f"blocks.{number}.conv.{_PARTS[part]}.{rest}{'_matrix' if part == 'matrices' else ''}"


def _spelled(name: str) -> str:
    """A released name in its shortest spelling."""
    name = name.removeprefix("module.")
    for long, short in _SPELLINGS:
        name = name.replace(long, short)
    return name


def _read(path: str) -> Mapping[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"the weights {path} cannot be read: it is no file of weights that torch saved") from error
    state = held.get("state_dict", held) if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(one, Tensor) for one in state.values()):
        raise UserError(f"the weights {path} are not a state dict, or a mapping with one under 'state_dict'")
    return state
