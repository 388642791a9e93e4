"""A small residual network for few images of a far domain, trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256)
SIDE = 128


class ShallowNet(nn.Module):
    """ResNet-10 (He et al. 2016: a stem and one basic block in each of four stages) at half its width: 1.2 M weights.

    A deep network has too many parameters for a thousand images. The global average makes the result independent of the
    position of objects.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential(
            *(
                _block(before, after, 1 if before == after else 2)
                for before, after in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
            )
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Class scores ``[b, c]`` of normalised images ``[b, 3, h, w]``."""
        scores: Tensor = self.head(self.pool(self.stages(self.stem(images))))
        return scores


def _block(before: int, after: int, stride: int) -> nn.Module:
    from torchvision.models.resnet import BasicBlock  # takes as long to import as half of PyTorch

    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
    block: nn.Module = BasicBlock(before, after, stride, shortcut if stride > 1 else None)
    return block
