"""Wrong usage: options, files of options and names that no command can take, in one line and exit code 2."""

from pathlib import Path

import pytest
from calling import Npsnn, contents

USAGE = {
    ("--sigma", "-1"): "--sigma",
    ("--model", "resnet50"): "--model",
    ("--loss", "hinge"): "--loss",
    ("--epochs", "0"): "--epochs",
    ("--epochs", "ten"): "--epochs",
    ("--batch-size", "0"): "--batch-size",
    ("--limit", "1"): "--limit",
    ("--threads", "0"): "--threads",
    ("--momentum", "1"): "--momentum",
    ("--first-layer-norm", "l3"): "--first-layer-norm",
    ("--config", "nowhere.toml"): "nowhere.toml",
    ("--no-such-option",): "--no-such-option",
    ("--resume", "small", "--lr", "7"): "--lr cannot be set",
    ("--resume", "small", "--name", "new"): "--name cannot be set",
    ("--sigma", "nan"): "--sigma must be >= 0 and finite",
    ("--sigma", "inf"): "--sigma must be >= 0 and finite",
    ("--sigma", "1e39"): "--sigma must be at most 1e+09",
    ("--learn-sigma", "--loss", "mse"): "--learn-sigma needs a loss that depends on sigma",
    ("--learn-sigma", "--loss", "clean-and-attacked"): "--learn-sigma needs a loss that depends on sigma",
    (
        "--loss",
        "trades",
        "--adversarial",
        "pgd",
    ): "--adversarial must be none for loss trades, which attacks the images",
    ("--lr", "nan"): "--lr must be >= 0 and finite",
    ("--dataset", "imagenet"): "--dataset",
    ("--dataset", "minst"): "Did you mean mnist?",
    ("--loss", "noise-awear"): "Did you mean noise-aware?",
    ("--name", "a/b"): "plain folder name",
    ("--name", "x" * 256): "at most 255 bytes",
    ("--learn-sigma", "--sigma", "0"): "--learn-sigma needs 0 < sigma",
    ("--learn-sigma", "--sigma", "5", "--sigma-max", "2"): "0 < sigma <= --sigma-max = 2",
    ("--sigma-reward", "0.25"): "--sigma-reward acts on a learned sigma: set --learn-sigma as well",
    ("--max-entropy", "0.25"): "--max-entropy is for noise features",
    ("--model", "resnet18"): "--noise must be features or none for resnet18",
    ("--noise", "none", "--learn-sigma"): "--learn-sigma needs 0 < sigma",
    ("--device", "tpu"): "device must be cpu, cuda or cuda:N",
    ("--device", "cuda:x"): "device must be cpu, cuda or cuda:N",
}


@pytest.mark.parametrize("options", USAGE, ids=" ".join)
def test_wrong_usage_of_train(npsnn: Npsnn, trained: Path, options: tuple[str, ...]) -> None:
    before = contents(trained)
    line = npsnn("train", "--runs-dir", trained, *options).error_line(2)
    assert USAGE[options] in line
    assert contents(trained) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train\n", "neither TOML nor JSON"),
        ("[train]\nsigmaa = 1\n", "unknown option sigmaa for train. Did you mean sigma?"),
        ("[trian]\nsigma = 1\n", "unknown table [trian]. Did you mean train?"),
        ("[train]\nsigma = 1\n[atack]\neot = 1\n", "unknown table [atack]. Did you mean attack?"),
        ("train = 3\n", "must hold a table [train]"),
        ("[train]\nsigma = -1\n", "sigma"),
        ("[train]\nsigma = [1, 2]\n", "sigma cannot be [1, 2]"),
        ("[train]\nsigma = true\n", "sigma cannot be True"),
        ("[train]\nepochs = 1.5\n", "'1.5' is not a valid integer"),
        ("[train]\nlearn_sigma = 7\n", "learn_sigma cannot be 7"),
        ("[train]\nseed = 2024-01-01\n", "seed cannot be"),
        ("sigma = 1\n", "must hold a table [train]"),
    ],
)
def test_bad_config_file(npsnn: Npsnn, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "options.toml"
    file.write_text(text)
    assert said in npsnn("train", "--config", file).error_line(2)


ATTACK_USAGE = {
    ("--eps", "abc"): "0.1 or 8/255",
    ("--eps", "1/0"): "0.1 or 8/255",
    ("--eps", "-0.1"): "must be >= 0",
    ("--norm", "l3"): "--norm",
    ("--steps", "0"): "--steps",
    ("--objective", "hinge"): "--objective",
    ("--inference-sigma", "-1"): "--inference-sigma",
    ("--draws", "0"): "--draws",
    ("--eps", "1e400"): "must be >= 0 and finite",
    ("--eps", "nan"): "must be >= 0 and finite",
    ("--eps", "1/2/3"): "0.1 or 8/255",
    ("--eps", "8"): "--eps must be at most 1 in linf, for pixels in [0, 1], got 8: is it 8/255?",
    ("--eps", "0.1", "--eps", "25.5"): "is it 25.5/255?",
    ("--cw", "--eps", "0.1"): "--eps acts on quick, auto, ",
    ("--cw", "--norm", "l2"): "--norm acts on",
    ("--fgsm", "--steps", "3"): "none of which is chosen (chosen: fgsm)",
    ("--fgsm", "--bim", "--restarts", "3"): "--restarts acts on apgd, adaptive-apgd, pgd, adaptive-pgd alone",
    (
        "--pgd",
        "--apgd-steps",
        "3",
    ): "--apgd-steps acts on quick, auto, apgd, adaptive-apgd, apgd-t, adaptive-apgd-t alone",
    ("--apgd", "--targets", "3"): "--targets acts on quick, auto, apgd-t, adaptive-apgd-t",
    ("--apgd", "--apgd-steps", "0"): "--apgd-steps",
    ("--apgd-t", "--targets", "0"): "--targets",
    ("--kappa", "1"): "--kappa acts on cw, adaptive-cw, fmn, adaptive-fmn alone",
    ("--cw-lr", "1"): "--cw-lr acts on cw, adaptive-cw alone",
    ("--cw", "--objective", "mse"): "--objective acts on apgd, adaptive-apgd, ",
    ("--pgd", "--objective", "win-probability"): "name adaptive-pgd alone",
    ("--pgd", "--propagation", "laplace"): "--propagation acts on quick, auto, adaptive-apgd, ",
    ("--adaptive-pgd", "--eot", "3"): "--eot acts on apgd, apgd-t, ",
    ("--samples", "3"): "--samples acts on random alone",
    ("--queries", "3"): "--queries acts on auto, ",
    ("--selection", "0"): "--selection",
    ("--pixels", "3"): "--pixels acts on one-pixel",
    ("--population", "9"): "--population acts on one-pixel",
    ("--adaptiv-pgd",): "--adaptive-pgd",
    ("--objective", "cross-entopy"): "Did you mean cross-entropy?",
    ("--kappa", "nan"): "--kappa",
    ("--inference-sigma", "nan"): "--inference-sigma must be >= 0 and finite",
}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--pgd", "--one-pixel", "--pixels", "1000"),
            "--pixels must be at most 784, as an image has no more, got 1000",
        ),
        (("--sparse-rs", "--pixels", "785"), "--pixels must be at most 784"),
        (("--fgsm", "--toward", "10"), "--toward must be a class below 10, got 10"),
    ],
)
def test_an_option_that_fits_no_image_is_refused_before_any_attack(
    npsnn: Npsnn, trained: Path, options: tuple[str, ...], said: str
) -> None:
    assert f"Error: {said}" in npsnn("attack", "small", "--runs-dir", trained, *options).error_line(2)


def test_an_option_that_fits_no_image_is_refused_before_the_checklist(npsnn: Npsnn, trained: Path) -> None:
    refused = npsnn("checklist", "--runs-dir", trained, "--pixels", "1000", "--limit", "2")
    assert "--pixels must be at most 784, as an image has no more, got 1000" in refused.err and refused.code == 2
    assert "criterion" not in refused.out


def test_an_option_of_certify_is_named_by_its_own_flag(npsnn: Npsnn, trained: Path) -> None:
    said = npsnn("certify", "--runs-dir", trained, "--sigma", "nan").error_line(2)
    assert said.startswith("Error: --sigma must be > 0 and finite, got nan")


@pytest.mark.parametrize("options", ATTACK_USAGE, ids=" ".join)
def test_wrong_usage_of_attack(npsnn: Npsnn, trained: Path, options: tuple[str, ...]) -> None:
    assert ATTACK_USAGE[options] in npsnn("attack", "--runs-dir", trained, *options).error_line(2)


@pytest.mark.parametrize("given", ["environment", "file"])
def test_an_option_that_is_set_for_all_attacks_need_not_be_heeded(
    npsnn: Npsnn, runs: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    where: tuple[object, ...] = ("small", "--runs-dir", runs, "--data-dir", data_dir, "--limit", 5, "--draws", 1)
    if given == "environment":
        monkeypatch.setenv("NPSNN_ATTACK_STEPS", "3")
    else:
        file = tmp_path / "options.toml"
        file.write_text("[attack]\nsteps = 3\n")
        where += ("--config", file)
    ended = npsnn("attack", *where, "--fgsm", "--eot", 1, "--eps", 0.1)
    assert ended.code == 0 and "warning: --steps acts on bim, pgd, adaptive-pgd" in ended.err


NO_EFFECT = {
    ("--momentum", "0.5"): "--momentum has no effect unless optimizer is sgd",
    ("--momentum", "0.9"): "--momentum has no effect unless optimizer is sgd",
    ("--covariance", "diagonal"): "--covariance has no effect unless noise is features",
    ("--bottleneck", "5"): "--bottleneck has no effect unless noise is features",
    ("--sigma-max", "2"): "--sigma-max has no effect unless --learn-sigma is on",
    ("--adversarial-eps", "0.1"): "--adversarial-eps has no effect unless adversarial is fgsm or pgd",
    ("--adversarial-mix", "0.1"): "--adversarial-mix has no effect unless adversarial is fgsm or pgd",
    ("--pairwise",): "--pairwise has no effect unless alignment is > 0",
    ("--propagation", "exact", "--sigma", "0"): "--propagation has no effect unless sigma is > 0",
    ("--recipe", "a2snn-m5", "--authors-code", "--sigma", "2"): "--sigma has no effect unless --authors-code is off",
}


@pytest.mark.parametrize("options", NO_EFFECT, ids=" ".join)
def test_an_option_without_effect_is_said_to_be_one(npsnn: Npsnn, options: tuple[str, ...]) -> None:
    ended = npsnn("train", *options, "--show")
    assert ended.code == 0 and ended.err == f"warning: {NO_EFFECT[options]}\n"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--optimizer", "sgd", "--momentum", "0.5"),
        ("--recipe", "a2snn-m0"),
        ("--adversarial", "pgd", "--sigma", "1"),
    ],
)
def test_options_with_an_effect_are_taken_in_silence(npsnn: Npsnn, tmp_path: Path, options: tuple[str, ...]) -> None:
    shown = npsnn("train", *options, "--show")
    assert shown.err == ""
    (tmp_path / "shown.json").write_text(shown.out)
    assert npsnn("train", "--config", tmp_path / "shown.json", "--show").err == ""


def test_other_data_are_for_a_network_that_has_data(npsnn: Npsnn) -> None:
    assert "--other-data is for --train-noise-only" in npsnn("train", "--other-data").error_line(2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("train", "--sigma", "abc"), "'abc' is not a valid number."),
        (("train", "--epochs", "2.5"), "'2.5' is not a valid integer."),
        (("checklist", "--limit", "many"), "'many' is not a valid integer."),
        (("attack", "--threads", "all"), "'all' is not a valid integer."),
    ],
)
def test_what_is_no_number_is_told_so(npsnn: Npsnn, options: tuple[str, ...], said: str) -> None:
    assert npsnn(*options).error_line(2).endswith(said)


def test_unknown_command(npsnn: Npsnn) -> None:
    assert npsnn("trian").error_line(2).endswith("No such command 'trian'. Did you mean train?")
    assert npsnn("data", "verfy").error_line(2).endswith("Did you mean verify?")
    assert "There are train, sweep, evaluate" in npsnn("xyz").error_line(2)
    assert "Did you mean digits?" in npsnn("data", "verify", "digit").err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "attack", "checklist"])
def test_noise_for_a_network_without_a_noise_layer_is_wrong_usage(
    npsnn: Npsnn, tmp_path: Path, data_dir: Path, command: str
) -> None:
    where = ("--runs-dir", tmp_path, "--data-dir", data_dir)
    npsnn("train", "--noise", "none", "--limit", 2, "--epochs", 1, "--name", "plain", *where)
    line = npsnn(command, "plain", *where, "--inference-sigma", 0.3).error_line(2)
    assert "--inference-sigma must be 0 for" in line and "plain, which has no noise layer, got 0.3" in line
