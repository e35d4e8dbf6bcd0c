"""The networks of A2SNN's experiments, and the attacks that judge them: one place, so that experiments share them.

Two experiments that ask for the same row at the same setting and seed name the same job.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

from npsnn.attacks import BIM, FGSM, PGD, AuthorsFGSM, AuthorsPGD, Auto, ClosedForm, EoT, Expectation
from npsnn.reproduce.experiments import Column
from npsnn.reproduce.jobs import Train
from npsnn.reproduce.scales import Scale, Setting
from npsnn.train import recipes
from npsnn.train.authors import PAPERS
from npsnn.train.config import AUTHORS, Config
from npsnn.train.defences import DEFENCES

Row: TypeAlias = Callable[[Setting, int], Train]
"""How the network of a row is trained, from a setting and a seed."""

EPS = 8 / 255
"""The radius of A2SNN's Tables 1, 4, 5 and 6."""
VARIANTS = ("m0", "m1", "m2", "m3", "m4", "m5")
"""The models of Table 5; m0 is the one without defence."""
STOCHASTIC = ("adv-bnn", "pni", "l2p")
"""The defences of Tables 1 to 3."""
COLOURED = "cifar10"
"""How the names of the data sets begin whose images are cropped and mirrored."""
PUBLISHED = "resnet18"
"""The network that the settings of the defences' papers are for; smaller ones take the rates chosen for small ones."""
OF_CODE = {"lenetpp": "lenetpp-authors", "resnet18": "resnet18-authors"}
"""The paper's networks as the authors programmed them (audit B14)."""
OF_DATA = ("eps", "steps", "step_size", "bits", "weight", "rises", "rise", "augmentation")
"""The settings of a defence that belong to the data set, whatever the network: attacks, quantisation, augmentation."""
JUDGE_TARGETS = 9
"""The number of classes that attacks of the judge aim at, at most."""
JUDGE_DRAWS = 20
"""The draws of a gradient of the judge, at most."""


def _of_setting(setting: Setting, seed: int) -> dict[str, Any]:
    """The options that a scale sets, whatever the model."""
    found = {k: getattr(setting, k) for k in ("dataset", "model", "epochs", "limit", "batch_size")}
    kept = {} if setting.dataset.startswith(COLOURED) else {"augmentation": "none"}
    return found | kept | {"seed": seed}


def ours(variant: str, data: str, name: str = "", **options: Any) -> Row:
    """A model of Table 5 by npsnn's recipe, with the lambdas of the paper's data set.

    variant: "m0" to "m5".
    data: the paper's name of the data set.
    name: what it is called beside the variant.
    options: other options of `Config`. As the authors' code trains, the recipe's own rate and optimiser stay: they
        are the code's.
    """

    def train(setting: Setting, seed: int) -> Train:
        own = recipes.recipe(f"a2snn-{variant}", data, options.get(AUTHORS)) | _of_setting(setting, seed)
        if AUTHORS not in options:
            chosen = {"lr": setting.lr, "optimizer": setting.optimizer}
            own |= {name: value for name, value in chosen.items() if value is not None}
        return Train("-".join(filter(None, ("a2snn", variant, name))), Config(**own | options))

    return train


def ablation(data: str) -> dict[str, Row]:
    """m0 to m5."""
    return {variant: ours(variant, data) for variant in VARIANTS}


def as_code(data: str) -> Row:
    """m5 as the authors' code of the paper's time trains it (audit B16), on their network where the paper's is used."""
    row = ours("m5", data, "as-code", **{AUTHORS: PAPERS})

    def train(setting: Setting, seed: int) -> Train:
        return row(replace(setting, model=OF_CODE.get(setting.model, setting.model)), seed)

    return train


def independent(data: str) -> Row:
    """m0, to which noise is then trained by m5's objective, with all other parameters frozen (Sec. 4.4)."""
    first, noise = ours("m0", data), ours("m5", data, "independent", noise_only=True, unit_classes=False)

    def train(setting: Setting, seed: int) -> Train:
        return replace(noise(setting, seed), start=first(setting, seed))

    return train


def attacked(data: str, mix: float, name: str) -> Row:
    """m5 trained on images that the paper's PGD has attacked (Sec. 4.4).

    mix: part of the images that is attacked.
    """
    return ours("m5", data, name, adversarial="pgd", adversarial_eps=EPS, adversarial_mix=mix)


def defence(name: str, data: str) -> Row:
    """A defence of the literature by its recipe, on the network and with the epochs of the scale.

    The radius, the steps and the augmentation are the published ones for the paper's data set. So is the rest on the
    network of the paper; on a smaller one the rest is chosen for small networks (`Defence.chosen`).
    """

    def train(setting: Setting, seed: int) -> Train:
        kind: Any = DEFENCES.named(name)
        of_data: Mapping[str, Any] = kind.settings(data)
        if not setting.model.startswith(PUBLISHED):
            defaults = {f.name: f.default for f in fields(kind)}
            kept = {k: of_data.get(k, defaults[k]) for k in OF_DATA if k in defaults}
            of_data = {**kind.settings(recipes.LIKE), **kept}
        own = {k: v for k, v in _of_setting(setting, seed).items() if k not in ("dataset", "limit", "seed")}
        return Train(name, kind(**{**of_data, **own}), setting.dataset, seed, setting.limit)

    return train


def stochastic(data: str) -> dict[str, Row]:
    """The networks of Table 1 and two controls: m0, and adversarial training without noise."""
    rows = {name: defence(name, data) for name in STOCHASTIC}
    return rows | {"m5": ours("m5", data), "m0": ours("m0", data), "pgd-training": defence("pgd-training", data)}


def fgsm(scale: Scale, eps: float = EPS) -> FGSM:
    """FGSM as the paper has it, by averaged gradients."""
    return FGSM(eps, source=EoT(scale.eot))


def papers_pgd(scale: Scale, eps: float = EPS, draws: int | None = None) -> BIM:
    """Ten steps of eps/10, as printed, from the image (audit A24); draws: of a gradient.

    The paper prints no start. Its Sec. 2.1 describes PGD with a random one, as the authors' has it: a weaker attack.
    """
    return BIM(eps, steps=10, source=EoT(draws or scale.eot))


def authors(scale: Scale, eps: float = EPS) -> Iterator[Column]:
    """The attacks of the authors' code: a cross-entropy that loses gradients, a random start (audit B11, B12)."""
    source = EoT(scale.eot, "float32-cross-entropy")
    yield Column("authors' FGSM", AuthorsFGSM(eps, source=source))
    yield Column("authors' PGD", AuthorsPGD(eps, source=source))


def closed_form(scale: Scale, eps: float = EPS) -> PGD:
    """PGD in closed form, with steps that reach every corner."""
    return PGD(eps, steps=scale.steps, source=ClosedForm())


def noise_off(scale: Scale, eps: float = EPS) -> PGD:
    """PGD by the gradients of the network without its noise, whose images meet the noise: the control of EoT."""
    return PGD(eps, steps=scale.steps, source=Expectation(name="noise-off"))


def judge(scale: Scale, eps: float = EPS) -> Auto:
    """All kinds of strong attack, of which each image meets its worst."""
    return Auto(
        eps,
        steps=scale.steps,
        targets=min(JUDGE_TARGETS, max(2, scale.steps // 10)),
        fab_steps=scale.steps,
        queries=scale.queries,
        gradient_draws=min(scale.eot, JUDGE_DRAWS),
    )


def columns(scale: Scale) -> Iterator[Column]:
    """Clean, the paper's attacks, and those that are stronger; the network without its noise."""
    yield Column("clean")
    yield Column("FGSM", fgsm(scale))
    yield Column("PGD", papers_pgd(scale))
    yield from authors(scale)
    yield Column("PGD, closed form", closed_form(scale))
    yield Column("PGD, noise off", noise_off(scale))
    yield Column("judge", judge(scale))
