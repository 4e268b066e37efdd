"""torch.fx tracing of any CNN, with the concrete shape of every tensor.

Shapes come from a run on the meta device where that is possible, so tracing costs milliseconds whatever the size of the
model, and no memory.
"""

import copy
import traceback
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from src.errors import UserError

# Layers whose subclasses in user code and in timm (Conv2dSame, BatchNormAct2d, LayerNorm2d ...) are still those layers.
LEAVES = (_ConvNd, _NormBase, nn.Linear, nn.LayerNorm, nn.GroupNorm)
BATCH = 2  # an example batch: batch norm in training mode refuses a single value per channel


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.deepest: tuple[str, str] | None = None  # the module in which a failure began

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        # a convolution with modules of its own (a low-rank update, a computed weight) is more than the layer; a norm
        # with an activation (timm's BatchNormAct2d) is not
        more = isinstance(module, (_ConvNd, nn.Linear)) and any(True for _ in module.children())
        return (isinstance(module, LEAVES) or super().is_leaf_module(module, name)) and not more

    def call_module(self, module, forward, args, kwargs):
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            self.deepest = self.deepest or (self.path_of_module(module), type(module).__name__)
            raise


@dataclass(frozen=True)
class Trace:
    """An fx graph of `model` and, for each node, the shape of the tensor (or tuple of shapes) that it gives."""

    graph: fx.Graph
    shapes: dict[fx.Node, Any]

    def module_of(self, node: fx.Node) -> str:
        """The path of the module in whose forward `node` stands, for messages."""
        stack = node.meta.get("nn_module_stack") or {}
        return next(reversed(stack), "") or "the model itself"

    @staticmethod
    def module_of_tensor(tensor: str) -> str:
        return tensor.rpartition(".")[0] or "the model itself"


class _ShapeInterpreter(fx.Interpreter):
    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.shapes: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        self.shapes[node] = shapes_of(result)
        return result


def shapes_of(value: Any) -> Any:
    """The shape of a tensor, the tuple of shapes of a sequence, None of anything else."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, torch.Size):
        return None
    if isinstance(value, (tuple, list)):
        return tuple(shapes_of(item) for item in value)
    return None


def on_meta(model: nn.Module) -> nn.Module:
    """A copy of `model` on the meta device; no weight is copied."""
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def trace(model: nn.Module, input_shape: tuple[int, int, int], training: bool = False) -> Trace:
    """Traces `model` on images (B, C, H, W) with `input_shape` = (C, H, W), in training or evaluation mode.

    Raises `UserError` that names the module and the op where the model cannot be traced or does not take such images.
    """
    tracer = _Tracer()
    try:
        shadow = on_meta(model).train(training)
        graph = tracer.trace(shadow)
    except UserError:  # of a network that says itself why it is not to be traced
        raise
    except Exception as error:
        raise UserError(_cannot_trace(model, tracer, error)) from error
    for node in graph.nodes:
        _by_position(node)
    # a model that holds tensors which are neither parameters nor buffers cannot run on the meta device
    for module, device in ((shadow, "meta"), (None, "cpu")):
        module = module or copy.deepcopy(model).cpu().train(training)
        interpreter = _ShapeInterpreter(module, graph)
        try:
            with torch.no_grad():
                interpreter.run(torch.zeros(BATCH, *input_shape, device=device))
            return Trace(graph, interpreter.shapes)
        except Exception as error:
            failure = error
    raise UserError(_cannot_run(model, interpreter, graph, input_shape, failure)) from failure


def _by_position(node: fx.Node) -> None:
    """Tensors that are given by name (`input=`, `other=`, `axis=`) stand where the rules look for them."""
    kwargs = dict(node.kwargs)
    if node.op in ("call_module", "call_function") and not node.args and "input" in kwargs:
        node.args = (kwargs.pop("input"),)
    if "other" in kwargs and len(node.args) == 1:
        node.args = (*node.args, kwargs.pop("other"))
    if "axis" in kwargs and node.op != "call_module":
        kwargs["dim"] = kwargs.pop("axis")
    node.kwargs = kwargs


def _cannot_trace(model: nn.Module, tracer: _Tracer, error: Exception) -> str:
    where = f"module {tracer.deepest[0]!r} ({tracer.deepest[1]})" if tracer.deepest else "its forward"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/fx/" not in f.filename]
    frames = [f for f in frames if not f.filename.endswith("src/graph/tracing.py")] or frames
    line = f"`{frames[-1].line}` ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{type(model).__name__} cannot be traced: {where} fails at the op {line}: {first}; "
        "torch.fx needs a forward whose control flow does not depend on tensor values"
    )


def _cannot_run(model: nn.Module, run: _ShapeInterpreter, graph: fx.Graph, input_shape, error: Exception) -> str:
    failed = next((node for node in graph.nodes if node not in run.shapes), None)
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    name = failed.target if failed is not None and failed.op == "call_module" else getattr(failed, "name", "?")
    kind = type(model.get_submodule(name)).__name__ if failed is not None and failed.op == "call_module" else "op"
    return (
        f"{type(model).__name__} does not take images of shape {tuple(input_shape)}: {name!r} ({kind}) says: {first}; "
        "data.channels and data.image_size fit the images to a model"
    )
