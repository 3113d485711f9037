"""The zoo: entry name -> config value. A new entry is a line here, and a model file where its game is new."""

from __future__ import annotations

import json
from dataclasses import replace

from gen.checks import nearest
from gen.config import (
    AugmentConfig,
    Budget,
    DataConfig,
    EvaluateConfig,
    RunConfig,
    StageOne,
    TrainConfig,
    TwoStageConfig,
    WatchConfig,
    flat,
    on_stage,
    override,
    to_dotted,
)
from gen.models import vae, vqvae
from gen.models.classifier import Teller
from gen.models.cyclegan import CycleGAN
from gen.models.gan import GAN
from gen.models.prior_gmm import MixturePrior
from gen.models.prior_pixelcnn import PixelCNNPrior
from gen.models.prior_vae import VAEPrior
from gen.models.sgan import SGAN
from gen.models.sgan_vae import SGANVAE
from gen.models.vaegan import VAEGAN
from gen.nets.adversarial import Perceptrons
from gen.nets.codebook import Codebook
from gen.nets.conditioning import OneHot
from gen.nets.dcgan import DCGAN, DCGAN28
from gen.nets.labelled import OneHotLabel
from gen.nets.norms import NoNorm, SpectralNorm
from gen.objectives.adversarial import Hinge, LeastSquares, Wasserstein
from gen.objectives.likelihoods import Bernoulli, DataVariance, Gaussian
from gen.objectives.penalties import Clipping, Dragan, OneCentred
from gen.optimizers import Adam, RMSprop
from gen.results.renamed import upgrade

# a codebook has collapsed when less than a twentieth of its codes is used
RECONSTRUCTIONS = EvaluateConfig(metric="mse/reconstructions", floor="used/images", least=0.05)
DEEP = vae.VAE.Config(latent=15, networks=vae.Dense(width=400, depth=3, halving=False))

SMALL_GAN = Perceptrons(generator_width=256, critic_width=128, depth=1, slope=0.2, generator_slope=0.2)
DCGAN_ADAM, WGAN_ADAM = Adam(rate=2e-4, beta1=0.5), Adam(rate=1e-4, beta1=0.0, beta2=0.9)
DCGAN_GAN = GAN.Config(
    latent=100, networks=DCGAN(), generator_optimizer=DCGAN_ADAM, critic_optimizer=DCGAN_ADAM
)  # Radford et al. 2015
WGAN_GP = GAN.Config(
    latent=128,
    noise="normal",
    walk="spherical",
    networks=DCGAN(critic_norm=NoNorm()),
    objective=Wasserstein(),
    penalty=OneCentred(10.0),
    repeats=5,
    generator_optimizer=WGAN_ADAM,
    critic_optimizer=WGAN_ADAM,
)
WGAN = replace(
    DCGAN_GAN,
    objective=Wasserstein(),
    penalty=Clipping(0.01),
    repeats=5,
    generator_optimizer=RMSprop(rate=5e-5),
    critic_optimizer=RMSprop(rate=5e-5),
)
GANS = (
    RunConfig(
        "gan_mlp_small",
        "gan",
        GAN.Config(latent=64, networks=SMALL_GAN),
        train=TrainConfig(batch=128),
        budget=Budget(epochs=50),
    ),
    RunConfig(
        "dcgan_28",
        "gan",
        replace(DCGAN_GAN, latent=96, networks=DCGAN28()),
        DataConfig(size=28),
        train=TrainConfig(batch=128),
        budget=Budget(epochs=30),
    ),
    *(
        RunConfig(name, "gan", model, DataConfig(size=64), train=TrainConfig(batch=batch), budget=Budget(epochs=30))
        for name, model, batch in (
            ("dcgan", DCGAN_GAN, 128),
            ("lsgan", replace(DCGAN_GAN, objective=LeastSquares()), 128),
            ("dragan", replace(DCGAN_GAN, penalty=Dragan(10.0)), 128),
            ("wgan_gp", WGAN_GP, 64),
            ("wgan", WGAN, 64),
            ("hinge", replace(DCGAN_GAN, networks=DCGAN(critic_norm=SpectralNorm()), objective=Hinge()), 128),
            ("cdcgan", replace(DCGAN_GAN, conditioning=OneHotLabel()), 128),
            ("cwgan_gp", replace(WGAN_GP, conditioning=OneHotLabel()), 64),
        )
    ),
)
CYCLEGAN_ADAM = Adam(rate=2e-4, beta1=0.5, decay="linear", decay_start=100.0, decay_end=200.0)
CYCLEGAN = RunConfig(
    "cyclegan",
    "cyclegan",
    CycleGAN.Config(generator_optimizer=CYCLEGAN_ADAM, critic_optimizer=CYCLEGAN_ADAM),
    DataConfig(size=256, augment=AugmentConfig(flip=True, margin=30 / 256)),  # windows of 256 pixels of 286
    train=TrainConfig(batch=1),
    evaluate=EvaluateConfig(batch=10),  # images are large
    watch=WatchConfig(exploding=1e4),  # the cycle's weight makes gradients of hundreds
    budget=Budget(epochs=200),
)

FEW_LABELS = DataConfig(labels=100)
SEMI_SUPERVISED = tuple(
    RunConfig(
        name,
        "semi_supervised",
        model,
        FEW_LABELS,
        train=TrainConfig(batch=100),
        evaluate=EvaluateConfig(metric="accuracy/images", images=5_000),  # a thousand tell 0.985 to 0.004 only
        budget=Budget(epochs=300),
    )
    for name, model in (("classifier", Teller.Config()), ("sgan", SGAN.Config()), ("sgan_vae", SGANVAE.Config()))
)

ENTRIES = (
    RunConfig("vae_mlp", "vae", vae.VAE.Config(), train=TrainConfig(batch=64), budget=Budget(epochs=20)),
    RunConfig("vae_deep", "vae", DEEP, train=TrainConfig(batch=128), budget=Budget(epochs=20)),
    RunConfig(
        "cvae", "vae", replace(DEEP, conditioning=OneHot()), train=TrainConfig(batch=128), budget=Budget(epochs=20)
    ),
    RunConfig("beta_vae", "vae", replace(DEEP, beta=4.0), train=TrainConfig(batch=128), budget=Budget(epochs=20)),
    RunConfig(
        "vae_conv",
        "vae",
        vae.VAE.Config(latent=32, networks=vae.Growing()),
        DataConfig(size=64),
        train=TrainConfig(batch=32),
        budget=Budget(epochs=20),
    ),
    RunConfig(
        "vae_conv_bn",
        "vae",
        vae.VAE.Config(
            latent=128,
            networks=vae.Strided(),
            likelihood=Gaussian(variance=DataVariance(), tanh=True),
        ),
        DataConfig(size=64),
        train=TrainConfig(batch=100),
        budget=Budget(epochs=20),
    ),
    RunConfig("gan_mlp", "gan", GAN.Config(), train=TrainConfig(batch=128), budget=Budget(epochs=50)),
    RunConfig(
        "lsgan_mlp",
        "gan",
        GAN.Config(objective=LeastSquares(a=0.0, b=1.0, c=1.0)),
        train=TrainConfig(batch=128),
        budget=Budget(epochs=50),
    ),
    RunConfig(
        "wgan_gp_mlp",
        "gan",
        GAN.Config(
            objective=Wasserstein(),
            penalty=OneCentred(10.0),
            repeats=5,
            generator_optimizer=Adam(rate=1e-4, beta1=0.0, beta2=0.9),
            critic_optimizer=Adam(rate=1e-4, beta1=0.0, beta2=0.9),
        ),
        train=TrainConfig(batch=64),
        budget=Budget(epochs=100),
    ),
    *GANS,
    RunConfig(
        "vaegan",
        "vaegan",
        VAEGAN.Config(),
        DataConfig(size=64),
        train=TrainConfig(batch=64),
        budget=Budget(epochs=30),
    ),
    RunConfig(
        "vqvae",
        "vqvae",
        vqvae.VQVAE.Config(),
        train=TrainConfig(batch=128),
        evaluate=RECONSTRUCTIONS,
        budget=Budget(epochs=20),
    ),
    RunConfig(
        "vqvae_bn",
        "vqvae",
        vqvae.VQVAE.Config(
            networks=vqvae.Strided(),
            codebook=Codebook.Config(codes=64, dimensions=16),
            likelihood=Bernoulli(),
            optimizer=Adam(rate=2e-3),
        ),
        DataConfig(size=64),
        train=TrainConfig(batch=128),
        evaluate=RECONSTRUCTIONS,
        budget=Budget(epochs=20),
    ),
    RunConfig("vqvae_gmm", "prior_gmm", MixturePrior.Config(), train=TrainConfig(batch=500), budget=Budget(epochs=1)),
    RunConfig(
        "vqvae_vae",
        "prior_vae",
        VAEPrior.Config(),
        train=TrainConfig(batch=100),
        evaluate=EvaluateConfig(share=0.04),  # decoding a fake costs more than a step on its codes
        budget=Budget(epochs=50),
    ),
    RunConfig(
        "vqvae_pixelcnn",
        "prior_pixelcnn",
        PixelCNNPrior.Config(),
        train=TrainConfig(batch=64),
        budget=Budget(epochs=30),
    ),
    CYCLEGAN,
    *SEMI_SUPERVISED,
)
ZOO = {config.entry: config for config in ENTRIES}

TINY = {
    "width": 8,
    "generator_width": 8,
    "critic_width": 8,
    "hidden": 8,
    "residual": 4,
    "latent": 3,
    "codes": 8,
    "dimensions": 4,
    "batch": 8,
    "layers": 3,
    "head": 8,
    "components": 2,
    "pca": 5,
    "points": 40,
    "pool": 12,
    "blocks": 2,
}  # the names of settings of size, and their values in tests
TINY_SIZES = {
    "vae_conv_bn": 32,
    "vqvae_bn": 32,
    "cyclegan": 24,
}  # pixels a side in tests; other entries keep their size ...
TINY_SIZES |= {config.entry: 16 for config in GANS if config.data.size}  # ... and convolutional games have the least
TINY_SIZES["vaegan"] = 16


def entry(name: str) -> RunConfig:
    """The config of the entry `name`; ValueError names the nearest ones."""
    if name not in ZOO:
        raise ValueError(f"unknown entry {name!r}; nearest valid: {nearest(name, ZOO, most=len(ZOO))}")
    return ZOO[name]


def buildable(config: RunConfig, first: RunConfig | None = None) -> RunConfig:
    """`config`; one of two stages that names no first stage gets an untrained one, so that it can be built: that of the
    entry `first`, by default a tiny VQ-VAE."""
    if isinstance(config.model, TwoStageConfig) and config.model.stage_one is None:
        first = first or tiny(entry("vqvae"))
        return on_stage(config, StageOne("first", "tiny", first.entry, "", "", first.model))
    return config


def tiny(config: RunConfig) -> RunConfig:
    """`config` at the smallest widths and image size that still use every part of it, on a tiny first stage if it needs
    one: for tests."""
    config = buildable(config)
    groups = ("model.", "train.")
    leaves = {key: key.rsplit(".", 1)[-1] for key in flat(config) if key.startswith(groups)}
    size = TINY_SIZES.get(config.entry, config.data.size)
    return override(config, {key: TINY[leaf] for key, leaf in leaves.items() if leaf in TINY} | {"data.size": size})


def restore(text: str) -> RunConfig:
    """The config that this or an earlier version wrote by `to_json`, as the tables and checkpoints store it."""
    settings = json.loads(text)
    config, version = entry(settings.pop("entry")), settings.pop("version", 1)
    settings.pop("family")
    if stage := settings["model"].get("stage_one"):
        first = entry(stage["entry"])
        model = upgrade(first.family, to_dotted({"model": stage["model"]}), version)
        config = on_stage(config, StageOne(**{**stage, "model": override(first, model).model}))
        settings["model"]["stage_one"] = None
    leaves = upgrade(config.family, to_dotted(settings), version)
    leaves.pop("model.stage_one", None)
    return override(config, leaves)
