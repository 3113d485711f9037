"""On a CUDA device: every entry of the zoo, and every toy game, computes what it computes on the CPU.

Needs neither Ray nor a network: `pytest tests/gpu -m gpu`, a few minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gen.distributed.memory import CONTEXT
from tests.gpu import bodies, memory_bodies, rates
from tests.seams.house import ALL, data_of, small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none"),
]
DEVICE = torch.device("cuda")
WIDE = {"gan_mlp": {"train.batch": 32}, "vqvae": {"train.batch": 32}, "vae_conv": {}}  # entries at their usual width
AVERAGED = ("cyclegan", "vae_conv_bn", "vqvae_bn", "gan_mlp")
ROWS, STEPS = 20_000, 50  # of the measured throughput


@pytest.mark.parametrize("entry", ALL)
def test_losses_are_those_of_the_cpu(entry: str) -> None:
    bodies.losses_agree(entry, DEVICE)


@pytest.mark.parametrize("entry", ALL)
def test_a_tick_is_that_of_the_cpu(entry: str) -> None:
    bodies.a_tick_agrees(small(entry), entry, DEVICE)


@pytest.mark.parametrize("entry", WIDE)
def test_a_tick_at_the_usual_width_is_that_of_the_cpu(entry: str) -> None:
    bodies.a_tick_agrees(bodies.usual(entry, data_of(entry), **WIDE[entry]), entry, DEVICE)


@pytest.mark.parametrize("entry", ALL)
def test_the_device_s_own_noise_comes_from_the_seed(entry: str) -> None:
    bodies.own_noise_is_seeded(entry, DEVICE)


@pytest.mark.parametrize("entry", ALL)
def test_no_step_waits_for_the_device(entry: str) -> None:
    bodies.steps_do_not_wait(entry, DEVICE)


@pytest.mark.parametrize("entry", ALL)
def test_bf16_is_close_to_float32(entry: str) -> None:
    bodies.bf16_is_close(entry, DEVICE)


@pytest.mark.parametrize("entry", ALL)
def test_the_judge_s_figures_are_those_of_the_cpu(entry: str) -> None:
    bodies.figures_agree(entry, DEVICE)


@pytest.mark.parametrize("entry", AVERAGED)
def test_averaged_weights_make_what_they_make_on_the_cpu(entry: str) -> None:
    bodies.averages_agree(entry, DEVICE)


@pytest.mark.parametrize("entry", ["cyclegan", "vae_mlp", "vqvae", "wgan_gp_mlp"])
def test_a_checkpoint_goes_from_the_device_to_the_cpu_and_back(entry: str, tmp_path: Path) -> None:
    bodies.a_checkpoint_travels(entry, DEVICE, tmp_path)


@pytest.mark.parametrize("resident", [False, True])
def test_rows_are_those_of_the_cpu_whether_pinned_or_resident(resident: bool) -> None:
    bodies.rows_agree(DEVICE, resident)


@pytest.mark.parametrize("resident", [False, True])
def test_windows_are_those_of_the_cpu_and_nobody_waits_for_them(resident: bool) -> None:
    bodies.windows_agree(DEVICE, resident)


def test_sync_batchnorm_in_a_group_of_one(tmp_path: Path) -> None:
    bodies.statistics_over_workers(DEVICE, tmp_path)


def test_a_run_with_sync_batchnorm(tmp_path: Path) -> None:
    bodies.a_run_with_sync_batchnorm(DEVICE, tmp_path)


def test_what_is_not_finite_is_named(tmp_path: Path) -> None:
    bodies.what_is_not_finite_is_named(DEVICE, tmp_path)


def test_a_share_is_set_of_a_device_without_a_number_and_is_kept() -> None:
    memory_bodies.a_share_is_kept(DEVICE)


def test_data_lie_where_the_share_has_room() -> None:
    memory_bodies.data_lie_where_the_share_has_room(DEVICE)


def test_a_run_that_exceeds_its_share_is_said_and_the_next_one_fits(tmp_path: Path) -> None:
    memory_bodies.what_is_too_large_is_said(DEVICE, tmp_path)


def test_images_a_second_are_told(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures to read, of each entry at its usual width, beside a plain loop's; nothing is asserted of time."""
    writer = request.config.get_terminal_writer()
    with capsys.disabled():
        writer.line(f"\nimages a second on {torch.cuda.get_device_name(DEVICE)}, torch {torch.__version__}")
        writer.line(f"{'entry':16} {'batch':>6} {'engine':>12} {'plain loop':>12} {'engine, bf16':>13}")
    for entry in ALL:
        dataset = rates.usual_data(entry, ROWS)
        config, half = (bodies.usual(entry, dataset, **{"train.precision": name}) for name in ("float32", "bf16"))
        if not config.model.build(dataset.shape).phases():
            continue
        engine, plain = rates.images_a_second(config, dataset, DEVICE, STEPS)
        faster, _ = rates.images_a_second(half, dataset, DEVICE, STEPS)
        with capsys.disabled():
            writer.line(f"{entry:16} {config.train.batch:6} {engine:12,.0f} {plain:12,.0f} {faster:13,.0f}")
    free, total = torch.cuda.mem_get_info(DEVICE)
    beside = total - free - torch.cuda.memory_reserved(DEVICE)  # what other processes have is in it
    with capsys.disabled():
        writer.line(
            f"beside torch's allocator {beside / 2**20:,.0f} MiB are taken; a share keeps {CONTEXT / 2**20:,.0f}"
        )
