"""Small networks, each with one thing that the channel graph has to get right."""

import torch
from torch import nn


class Gate(nn.Module):
    """A convolution cut into value and gate: its width is twice that of what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.out = nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(4 * 16, 5)

    def forward(self, x):
        value, gate = self.conv(x).chunk(2, 1)
        return self.fc(self.out(value * gate.sigmoid()).flatten(1))


class AddConcat(nn.Module):
    """A convolution added to a concatenation: its group has to be cut into the two that are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 10, 1)
        self.whole = nn.Conv2d(3, 16, 3, padding=1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc((torch.cat([self.left(x), self.right(x)], 1) + self.whole(x)).mean((2, 3)))


class HardCoded(nn.Module):
    """A forward that writes a width as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(4 * 16, 5)

    def forward(self, x):
        return self.fc(self.b(self.a(x).relu()).view(-1, 64))


class Unknown(nn.Module):
    """An op between two convolutions that the graph does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 7, 1)
        self.fc = nn.Linear(7, 5)

    def forward(self, x):
        return self.fc(self.c(self.b(torch.cumsum(self.a(x), 1))).mean((2, 3)))


class Branching(nn.Module):
    """Control flow on the values of a tensor, which fx cannot trace."""

    class Inner(nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            return -x

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.inner, self.fc = nn.Conv2d(3, 8, 1), self.Inner(), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.inner(self.conv(x)).mean((2, 3)))


class Twice(nn.Module):
    """One convolution called twice: its input and output widths are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.fc = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.shared(self.shared(self.stem(x))).mean((2, 3)))


class PlainTensor(nn.Module):
    """A tensor that is neither parameter nor buffer, which a run on the meta device trips over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)
        self.mean = torch.full((1, 3, 1, 1), 0.5)

    def forward(self, x):
        return self.fc(self.conv(x - self.mean).mean((2, 3)))


class Odds(nn.Module):
    """Transposed and depthwise convolution with a multiplier, group norm, layer norm, PReLU, layer scale, squeeze."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 2, 2)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.norm, self.prelu = nn.GroupNorm(4, 16), nn.PReLU(16)
        self.point = nn.Conv2d(16, 12, 1)
        self.scale = nn.Parameter(torch.full((12, 1, 1), 0.5))
        self.last, self.hidden, self.fc = nn.LayerNorm(12), nn.Linear(12, 9), nn.Linear(9, 5)

    def forward(self, x):
        x = self.prelu(self.norm(self.depthwise(self.up(x))))
        x = torch.nn.functional.adaptive_avg_pool2d(self.point(x) * self.scale, 1).squeeze(-1).squeeze(-1)
        return self.fc(self.hidden(self.last(x)).relu())
