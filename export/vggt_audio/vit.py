"""DINOv2's vision transformer with registers (Oquab et al., 2023; Darcet et al., 2023): images -> patch tokens."""

import torch
from torch import Tensor, nn

from export.vggt_audio.block import Block, recomputed

EPS = 1e-6


class PatchEmbed(nn.Module):
    """One linear map per square patch."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W] -> [N, W', H / patch, W / patch]."""
        return self.proj(images.to(self.proj.weight.dtype))


class VisionTransformer(nn.Module):
    """Tokens [class | registers | patches]; the registers have no position."""

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        registers: int,
        layer_scale: float,
    ) -> None:
        super().__init__()
        self.native = img_size // patch_size
        self.special = 1 + registers
        self.patch_embed = PatchEmbed(patch_size, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.native**2, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        # Never read: DINOv2 masks patches with it while it is trained, and its checkpoints hold it.
        self.mask_token = nn.Parameter(torch.zeros(1, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio, layer_scale, eps=EPS) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.checkpointing = False
        self._initialise()

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.normal_(self.register_tokens, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W], normalised -> patch tokens [N, H / patch * W / patch, width], row-major."""
        patches = self.patch_embed(images)
        count, _, rows, columns = patches.shape
        grid = self.pos_embed[:, 1:].unflatten(1, (self.native, self.native))
        x = patches.flatten(2).transpose(1, 2) + resize_grid(grid, rows, columns).flatten(1, 2)
        cls_token = self.cls_token + self.pos_embed[:, :1]
        special = torch.cat([cls_token, self.register_tokens], dim=1).expand(count, -1, -1)
        x = torch.cat([special.to(x.dtype), x], dim=1)
        for block in self.blocks:
            x = recomputed(block, x) if self.checkpointing and self.training else block(x)
        return self.norm(x)[:, self.special :]


def resize_grid(grid: Tensor, rows: int, columns: int) -> Tensor:
    """Antialiased bicubic resize of [N, h, w, C], the numbers of `interpolate(mode="bicubic", antialias=True)`.

    As two matrix products, because every format and runtime has those; the operator itself is in few of them.
    """
    down = cubic_weights(grid.shape[1], rows, grid.device).to(grid.dtype)
    across = cubic_weights(grid.shape[2], columns, grid.device).to(grid.dtype)
    return torch.einsum("yh,nhwc,xw->nyxc", down, grid, across)


def cubic_weights(old: int, new: int, device: torch.device) -> Tensor:
    """[new, old] float32: each row one output's share of every input. Keys's kernel with a = -0.5, as wide as
    the scale when shrinking, its rows normalised (Keys, 1981)."""
    outputs = torch.arange(new, device=device, dtype=torch.float32)
    scale = old / (outputs[-1] + 1)  # a tensor, so that a traced graph is not bound to one size
    centre = (outputs + 0.5) * scale
    inputs = torch.arange(old, device=device, dtype=torch.float32) + 0.5
    x = ((inputs - centre[:, None]) / scale.clamp(min=1)).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    return weights / weights.sum(dim=1, keepdim=True)
