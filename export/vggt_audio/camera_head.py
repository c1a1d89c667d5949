"""Camera of every view from its camera token, refined over a few iterations."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vggt_audio.block import Block, Mlp

POSE_DIM = 9  # translation 3, quaternion xyzw 4, vertical and horizontal field of view
FOV = slice(7, 9)


class CameraHead(nn.Module):
    """Every iteration starts from the same tokens and is told the pose so far by adaptive normalisation."""

    def __init__(
        self, width: int, depth: int, heads: int, mlp_ratio: float, layer_scale: float, iterations: int
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE_DIM))
        self.embed_pose = nn.Linear(POSE_DIM, width)
        self.token_norm = nn.LayerNorm(width)
        self.adaln_norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.trunk = nn.Sequential(*(Block(width, heads, mlp_ratio, layer_scale) for _ in range(depth)))
        self.trunk_norm = nn.LayerNorm(width)
        self.pose_branch = Mlp(width, width // 2, POSE_DIM)
        # A rectifier whose input starts negative for every view would never learn: start at one radian.
        nn.init.ones_(self.pose_branch.fc2.bias[FOV].data)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Camera tokens [B, S, W] -> pose encoding [B, S, 9] of each iteration: see `poses`; fields of view >= 0."""
        tokens = self.token_norm(tokens.to(self.token_norm.weight.dtype))
        normalised = self.adaln_norm(tokens)
        pose: Tensor | None = None
        encodings = []
        for _ in range(self.iterations):
            if pose is None:
                known = self.empty_pose_tokens.expand(*tokens.shape[:2], -1)
            else:
                known = pose = pose.detach()
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(known)).chunk(3, dim=-1)
            x = self.trunk(tokens + gate * (normalised * (1 + scale) + shift))
            delta = self.pose_branch(self.trunk_norm(x))
            pose = delta if pose is None else pose + delta
            encodings.append(torch.cat([pose[..., : FOV.start], F.relu(pose[..., FOV])], dim=-1))
        return encodings
