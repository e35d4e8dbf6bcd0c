"""The kinds of values that options take on the command line."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from npsnn.backend import check_device
from npsnn.cli.suggest import Choice, did_you_mean
from npsnn.files.paths import user_path
from npsnn.host import check_threads


class Epsilon(click.ParamType[float]):
    """A radius such as 0.1 or 8/255."""

    name = "eps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, *divisors = str(value).split("/")
        try:
            eps = float(number) / float(*divisors or (1,))
        except (ValueError, TypeError, ZeroDivisionError):
            self.fail(f"{value!r} is not a number such as 0.1 or 8/255", param, ctx)
        if not 0 <= eps < float("inf"):
            self.fail(f"{value!r} must be >= 0 and finite", param, ctx)
        return eps


class Number(click.FloatRange):
    """A number in a range."""

    name = "number"


class WholeNumber(click.IntRange):
    """A whole number in a range."""

    name = "integer"


class UserPath(click.Path):
    """A path in which ~ and ~user are home directories, wherever it was written."""

    def __init__(self, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            path = user_path(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self.exists and not path.exists() and path.parent.is_dir():
            beside = (file.name for file in path.parent.iterdir())
            self.fail(f"File {str(path)!r} does not exist.{did_you_mean(path.name, beside)}", param, ctx)
        return super().convert(path, param, ctx)


class DataSet(Choice):
    """The name of a data set, or the path of one."""

    name = "data set"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from npsnn.data import own

        if value in self.choices or not own.is_path(str(value)):
            return super().convert(value, param, ctx)
        try:
            return str(user_path(value).absolute())
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"{super().get_invalid_choice_message(value, ctx)} There is no such file or folder here either."

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names, and the files and folders that the shell finds."""
        return [CompletionItem(incomplete, type="file"), *super().shell_complete(ctx, param, incomplete)]


EXECUTORS = (
    "Who does the jobs: processes or threads, mpi for the ranks of a launcher (mpiexec -n 3 before the command), or "
    "the address of a scheduler of Dask, tcp://HOST:PORT."
)


class ExecutorName(Choice):
    """The name of an executor, or the address of a scheduler of Dask."""

    name = "executor"

    def __init__(self) -> None:
        from npsnn.jobs.executors import KINDS

        super().__init__(KINDS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from npsnn.jobs.executors import is_address

        return str(value) if is_address(str(value)) else super().convert(value, param, ctx)


class Threads(WholeNumber):
    """A number of threads that the machine could use."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        threads = super().convert(value, param, ctx)
        try:
            check_threads(threads)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return threads


class Device(click.ParamType[str]):
    """The name of a device; whether there is one is found out when it is used."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_device(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)
