"""The judge of `fid`: pytorch-fid's Inception network and weights (https://github.com/mseitzer/pytorch-fid), which are
those of the TensorFlow graph of Heusel et al. 2017. Imports torchvision, so import it where it is needed only.

1. Images in [-1, 1] are resized as they are; pytorch-fid resizes [0, 1] and then widens it: equal but for round-off.
2. pytorch-fid drops the last layer. It is kept here, without its bias, for the inception score: that is how Salimans
   et al. 2016 computed it, over all 1,008 outputs of that graph.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pytorch_fid import inception as original
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import inception_v3

from gen.damage import DamageError
from gen.judge.networks.classifier import exact
from gen.tensors import ZIP, from_bytes, reading

URL = original.FID_WEIGHTS_URL
FILE = Path(URL).name
PUBLISHED = FILE.removesuffix(".pth").split("-")[-1]  # the published file's sha256 starts with these digits
WIDTHS = tuple(original.InceptionV3.BLOCK_INDEX_BY_DIM)  # 64, 192, 768, 2048: of the blocks' outputs
BLOCKS = (  # pytorch-fid's blocks 0 to 3
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool"),
)
SIZE = 299
AT_ONCE = {"cpu": 8, "cuda": 64}  # images: an activation of one takes up to 5.6 MB, and on a CPU caches count


def network() -> nn.Module:
    """The whole network with random weights, as `pytorch_fid.inception.fid_inception_v3` builds it before it loads."""
    whole = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    whole.Mixed_5b = original.FIDInceptionA(192, pool_features=32)
    whole.Mixed_5c = original.FIDInceptionA(256, pool_features=64)
    whole.Mixed_5d = original.FIDInceptionA(288, pool_features=64)
    whole.Mixed_6b = original.FIDInceptionC(768, channels_7x7=128)
    whole.Mixed_6c = original.FIDInceptionC(768, channels_7x7=160)
    whole.Mixed_6d = original.FIDInceptionC(768, channels_7x7=160)
    whole.Mixed_6e = original.FIDInceptionC(768, channels_7x7=192)
    whole.Mixed_7b = original.FIDInceptionE_1(1280)
    whole.Mixed_7c = original.FIDInceptionE_2(2048)
    built: nn.Module = whole
    return built


class Inception(nn.Module):
    """Features of one of the blocks, averaged over places: 64, 192, 768 or 2,048 of them."""

    resize = "bilinear to 299"  # without antialiasing, as pytorch-fid does

    def __init__(self, whole: nn.Module, width: int, weights_hash: str) -> None:
        if width not in WIDTHS:
            raise ValueError(f"Inception has no features of {width} dimensions; allowed: {', '.join(map(str, WIDTHS))}")
        super().__init__()
        self.name = "inception" if width == WIDTHS[-1] else f"inception_{width}"  # only all 2,048 make a fid
        self.width, self.weights_hash = width, weights_hash
        self.blocks = nn.ModuleList(nn.Sequential(*map(whole.get_submodule, names)) for names in BLOCKS)
        self.head = whole.get_submodule("fc")
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D), float32, of images (N, 1 or 3, H, W) in [-1, 1]; grey is repeated to three channels."""
        return self._averages(images, self.width)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, 1008) for the inception score: the last layer without its bias (deviation 2)."""
        return self._classified(self._averages(images, WIDTHS[-1]))

    def logits_of(self, features: Tensor) -> Tensor:
        """`logits` from features (N, 2048). ValueError for fewer, which are an earlier block's."""
        if self.width != WIDTHS[-1]:
            raise ValueError(f"{self.name} has the features of an earlier block, which classifies nothing")
        return self._classified(features)

    def _classified(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return features @ self.head.get_parameter("weight").mT

    @torch.no_grad()
    def _averages(self, images: Tensor, width: int) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise ValueError(f"Inception takes images of 1 or 3 channels, not of {images.shape[1]}; use --features")
        found = []
        with torch.autocast(images.device.type, enabled=False), exact():
            for part in torch.split(images, AT_ONCE.get(images.device.type, 8)):
                made = F.interpolate(part.float(), (SIZE, SIZE), mode="bilinear", align_corners=False)
                made = made.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
                for block in self.blocks[: WIDTHS.index(width) + 1]:
                    made = block(made)
                found.append(F.adaptive_avg_pool2d(made, 1).flatten(1))
        return torch.cat(found)


def find_weights(path: str | None = None) -> Path:
    """The file of Inception's weights: `path`, or the one in torch hub's cache, or its download to there.

    ValueError where there is none; nothing ever takes its place.
    """
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"Inception's weights are not at {path}; fetch {URL} and name the file")
        return Path(path)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL, str(cached), hash_prefix=PUBLISHED, progress=False)
        except (OSError, RuntimeError) as error:  # no network; or not the published bytes
            raise ValueError(
                f"Inception's weights are not at {cached} and could not be downloaded ({error}); fetch {URL} where "
                "there is a network, and put it there or name it with --inception-weights"
            ) from error
    return cached


def open_inception(device: torch.device, width: int = 2048, path: str | None = None) -> Inception:
    """The network with the weights of `find_weights`, whose hash is the first 16 digits of that file's sha256.

    ValueError if there is no such file, or if it holds anything but this network's weights, as they were stored. The
    published file has no checksums of its own: in the cache it must have the published hash. A file that `path` names
    is taken as it is; the hash in the protocol tells whether it is the published one.
    """
    file = find_weights(path)
    with reading(f"{file} does not hold Inception's weights; delete it and fetch {URL}"):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
            opened.seek(0)
            archive = opened.read(len(ZIP)) == ZIP
        if path is None and not archive and not digest.startswith(PUBLISHED):  # it has no checksums of its own
            raise DamageError(f"its sha256 begins with {digest[:8]}, the published file's with {PUBLISHED}")
        state = from_bytes(file)
        with torch.random.fork_rng(devices=[]):
            whole = network()
        whole.load_state_dict(state)
    return Inception(whole, width, digest).to(device)
