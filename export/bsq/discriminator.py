"""PatchGAN over mel spectrograms: one logit for each overlapping patch (Isola et al., 2017)."""

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """4 x 4 convolutions, `layers` of them with stride 2 after the first. Inputs need at least 64 bins on each axis."""

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        stack: list[nn.Module] = [nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = channels
        for index in range(layers + 1):
            wider = channels * 2 ** min(index, layers - 1)
            stride = 2 if index < layers else 1
            stack += [nn.Conv2d(width, wider, 4, stride, 1), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            width = wider
        self.network = nn.Sequential(*stack, nn.Conv2d(width, 1, 4, 1, 1))

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, T, F] in model space -> logits [B, 1, T', F']."""
        return self.network(mel[:, None])
