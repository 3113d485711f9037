"""Inception's network is pytorch-fid's, its weights are never replaced, and its score's logits have no bias."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
from pytorch_fid.inception import InceptionV3

from gen.judge.networks import inception
from gen.judge.networks.classifier import weights_hash
from gen.judge.networks.inception import FILE, PUBLISHED, find_weights, open_inception
from gen.metrics.table import frechet_name

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def test_features_of_every_block_are_pytorch_fid_s(inception_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(inception_home))
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    theirs = InceptionV3([0, 1, 2, 3]).eval()
    with torch.no_grad():
        blocks = theirs((images + 1) / 2)
    for block, width in zip(blocks, inception.WIDTHS, strict=True):
        ours = open_inception(CPU, width)
        expected = block.mean((2, 3))
        assert ours.width == width == expected.shape[1]
        torch.testing.assert_close(ours.features(images), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))
        assert ours.name == ("inception" if width == 2048 else f"inception_{width}")
        assert (frechet_name(ours.name) == "fid") == (width == 2048)
    logits = ours.logits(images)
    assert logits.shape == (2, 1008)
    torch.testing.assert_close(logits, expected @ theirs_head(inception_home).mT, rtol=1e-3, atol=1e-3)


def test_grey_images_are_repeated(inception_home: Path) -> None:
    judge = open_inception(CPU, 64, str(inception_home / "hub" / "checkpoints" / FILE))
    grey = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(judge.features(grey), judge.features(grey.repeat(1, 3, 1, 1)))


def theirs_head(home: Path) -> torch.Tensor:
    state = torch.load(home / "hub" / "checkpoints" / FILE, weights_only=True)
    weight: torch.Tensor = state["fc.weight"]
    return weight


def test_the_hash_is_that_of_the_file(inception_home: Path) -> None:
    path = inception_home / "hub" / "checkpoints" / FILE
    found = open_inception(CPU, 64, str(path))
    assert found.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert not found.weights_hash.startswith(PUBLISHED), "random weights are not the published ones"
    assert PUBLISHED == "6726825d"


def test_without_weights_the_error_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def no_network(url: str, path: str, **options: object) -> None:
        asked.append((url, path, options["hash_prefix"]))
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    cached = tmp_path / "hub" / "checkpoints" / FILE
    with pytest.raises(ValueError, match=r"could not be downloaded.*put it there or name it with --inception") as error:
        open_inception(CPU)
    assert str(cached) in str(error.value)
    assert inception.URL in str(error.value)
    assert "\n" not in str(error.value)
    assert asked == [(inception.URL, str(cached), PUBLISHED)]
    with pytest.raises(ValueError, match=r"^Inception's weights are not at /nowhere"):
        open_inception(CPU, path="/nowhere")
    assert len(asked) == 1, "a path that is given is meant"


def test_a_path_comes_before_the_cache_and_the_cache_before_a_download(
    inception_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(inception_home))
    assert find_weights() == inception_home / "hub" / "checkpoints" / FILE
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"")
    assert find_weights(str(mine)) == mine


@pytest.mark.parametrize("content", ["empty", "text", "other weights", "code"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.pth"
    if content == "other weights":
        torch.save({"fc.weight": torch.zeros(3)}, path)
    elif content == "code":  # unpickling it would call print
        torch.save({"fc.weight": print}, path)
    else:
        path.write_bytes(b"" if content == "empty" else b"<html>not found</html>")
    with pytest.raises(ValueError, match="does not hold Inception's weights"):
        open_inception(CPU, 64, str(path))


def test_what_it_cannot_judge_is_refused(inception_home: Path) -> None:
    judge = open_inception(CPU, 64, str(inception_home / "hub" / "checkpoints" / FILE))
    with pytest.raises(ValueError, match="1 or 3 channels, not of 2"):
        judge.features(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match="no features of 100 dimensions; allowed: 64, 192, 768, 2048"):
        open_inception(CPU, 100, str(inception_home / "hub" / "checkpoints" / FILE))


def test_the_older_file_format_is_read(inception_home: Path, tmp_path: Path) -> None:
    """The published file was written by a torch of 2019."""
    newer, older = inception_home / "hub" / "checkpoints" / FILE, tmp_path / FILE
    torch.save(torch.load(newer, weights_only=True), older, _use_new_zipfile_serialization=False)
    found, expected = (weights_hash(open_inception(CPU, 64, str(path))) for path in (older, newer))
    assert found == expected
