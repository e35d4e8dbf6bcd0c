"""The public repositories that rows were read from, each at one version."""

VERSIONS = {
    "peustr/A2SNN": "4f752b8",
    "peustr/foolbox": "63de32c",
    "yaodongyu/TRADES": "6e8e11b",
    "YisenWang/MART": "2d83e17",
    "val-iisc/BPFC": "9aa4ab3",
    "JHL-HUST/RLFAT": "861e8ae",
    "aamir-mustafa/pcl-adversarial-defense": "3724258",
    "xuanqing94/BayesianDefense": "c4c0be9",
    "xuanqing94/RobustNet": "e58bbe5",
    "elliothe/CVPR_2019_PNI": "031e24f",
    "ArmenJeddi/Learn2Perturb": "72f0436",
    "columbia/pixeldp": "68ad360",
    "P2333/Mixup-Inference": "6d164cb",
    "fra31/auto-attack": "a392200",
}
"""The version that was read, by owner and name of the repository on GitHub."""


def at(repository: str, file: str, lines: str, says: str) -> str:
    """A place in a public repository, such as "yaodongyu/TRADES@6e8e11b, trades.py:79-82: two passes".

    repository: one of VERSIONS.
    file: path of the file.
    lines: a line or a range of lines.
    says: content of the place, in other words.

    Raises KeyError for a repository that was not read.
    """
    return f"{repository}@{VERSIONS[repository]}, {file}:{lines}: {says}"


def issue(repository: str, number: int, says: str) -> str:
    """An issue of a public repository.

    repository: owner and name.
    number: number of the issue.
    says: content of the issue, in other words.
    """
    return f"{repository}, issue {number}: {says}"
