"""The command line: one short function a command. Heavy imports happen inside, so that ``--help`` is quick."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from twofold.errors import ConfigError, TwofoldError


class Commands(click.Group):
    """A group that prints our own errors as one message, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TwofoldError as error:
            exit_code = getattr(error, "exit_code", None)  # of a run that was asked to stop
            if not (error.told or (isinstance(error, ConfigError) and not _speaks())):
                click.echo(f"{'Error: ' if exit_code is None else ''}{error}", err=True)
            context.exit(1 if exit_code is None else exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="twofold")
def main() -> None:
    """Learn representations by contrast, from any kind of data.

    \b
    twofold train simclr photos/ --out runs/a     learn an encoder; again to resume
    twofold evaluate runs/a labelled/             how good it is, beside its baselines
    twofold embed runs/a photos/ --out v.parquet  use it
    """


_ANY_OPTION = {"ignore_unknown_options": True, "allow_extra_args": True}
"""For commands whose further options depend on what they are given."""


class TrainCommand(click.Command):
    """``twofold train RECIPE SOURCE...``: options, also those that ``--help`` shows, depend on the recipe."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        name = self.recipe_of(args)
        self.params = [p for p in self.params if not getattr(p, "derived", False)]
        if name is not None:
            from twofold.apps.options import chosen_modality, command_options
            from twofold.recipes import catalogue

            config, modality = self.value_of("--config", args), self.value_of("--modality", args)
            given = {"modality": modality}
            modality = chosen_modality(catalogue.get(name), given, Path(config) if config else None)
            self.params += command_options(name, modality)
        return super().parse_args(context, args)

    def value_of(self, flag: str, args: list[str]) -> str | None:
        """What is given with a flag, as ``flag value`` or ``flag=value``; the last one counts."""
        found = None
        for word, following in zip(args, [*args[1:], None], strict=True):
            if word == flag:
                found = following
            elif word.startswith(f"{flag}="):
                found = word.partition("=")[2]
        return found

    def recipe_of(self, args: list[str]) -> str | None:
        """The first word that is neither an option nor an option's value."""
        flags = {flag for p in self.params if getattr(p, "is_flag", False) for flag in p.opts} | {"-h", "--help"}
        words = iter(args)
        for word in words:
            if not word.startswith("-"):
                return word
            if word not in flags and "=" not in word:
                next(words, None)
        return None


@main.command(cls=TrainCommand, context_settings={"ignore_unknown_options": True})  # told with all other faults
@click.argument("recipe")
@click.argument("source", nargs=-1, type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; an unfinished run in it is resumed.")
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML file with any of the options."
)
@click.option("--quiet", is_flag=True, help="Print plain lines instead of a progress bar.")
def train(
    recipe: str, source: tuple[str, ...], out: Path | None, config: Path | None, quiet: bool, **given: Any
) -> None:
    """Train a RECIPE on a SOURCE: a folder, several folders, or a file, of the recipe's kind of data or of MODALITY.

    \b
    twofold train simclr photos/ --out runs/a --epochs 100 --temperature 0.2
    twofold train simclr sounds/ --modality audio
    twofold train simcse sentences.txt
    twofold train simclr --help     all options of a recipe
    twofold recipes                 all recipes
    """
    from twofold.apps import runs

    unknown = [word for word in source if word.startswith("--")]
    options = runs.merged_options(recipe, given, config, unknown=unknown)
    runs.train(recipe, list(source), out=out, quiet=quiet, command=_command(), options=options)


@main.command(context_settings=_ANY_OPTION)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", nargs=-1, required=True, type=click.Path())
@click.option("--test", type=click.Path(), help="Held-out data; without it, part of SOURCE is held out.")
@click.option("--test-fraction", default=0.3, show_default=True, help="Share of SOURCE that is held out.")
@click.option("--seed", default=0, show_default=True, help="Of the split, the probes and the bootstrap.")
@click.option("--task", help="Which task, where the kind of data has several of its own.")
@click.option("--device", default="cpu", show_default=True, help="Where to embed, such as cpu or cuda.")
@click.pass_context
def evaluate(context: click.Context, /, run: Path, source: tuple[str, ...], **options: Any) -> None:
    """Measure the encoder of RUN on labelled data, beside the untrained encoder and the raw inputs.

    Where the kind of data has a task of its own (pairs with scores, a graph with a split ...), by that. Further options
    are the reading options of the run's modality, such as --column or --label-column.
    """
    from twofold.apps import runs

    names, reading = _apart([*source, *context.args])
    text, page = runs.evaluate_and_report(run, names, extra=reading, **options)
    _say(f"{text}\n\nReport: {page}")


@main.command(context_settings=_ANY_OPTION)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", nargs=-1, required=True, type=click.Path())
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .parquet, .npy or .csv file.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples in a step; 256 unless the data wants more.")
@click.option("--device", default="cpu", show_default=True, help="Where to embed, such as cpu or cuda.")
@click.pass_context
def embed(
    context: click.Context, /, run: Path, source: tuple[str, ...], out: Path, batch_size: int | None, device: str
) -> None:
    """Write the embeddings of SOURCE, one row a sample, with its name (and label).

    Further options are the reading options of the run's modality, such as --column.
    """
    from twofold.apps import export

    names, reading = _apart([*source, *context.args])
    count, dim, skipped = export.embed(run, names, out, extra=reading, batch_size=batch_size, device=device)
    _say(f"{count:,} embeddings of {dim} numbers in {out}" + (f"; {skipped} skipped." if skipped else "."))


@main.command(context_settings=_ANY_OPTION)
@click.argument("recipes", nargs=-1, required=True)
@click.option("--data", "source", required=True, help="Labelled data: a folder, a file, or emoji or digits (built in).")
@click.option("--test", help="Held-out data; without it, part of the data is held out.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each recipe.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/compare"), show_default=True)
@click.pass_context
def compare(context: click.Context, /, recipes: tuple[str, ...], **options: Any) -> None:
    """Compare RECIPES at the same budget and views: paired differences with intervals, a table and a plot.

    \b
    twofold compare simclr dcl byol --data photos/ --seeds 3 --epochs 20
    Further options are training options, or RECIPE.OPTION for one recipe: --dcl.temperature 0.2
    """
    from twofold.apps import compare as app
    from twofold.apps.options import words_and_options

    names, extra = words_and_options([*recipes, *context.args])
    text, page = app.compare(names, extra=extra, command=_command(), **options)
    click.echo(text)
    click.echo(f"\nReport: {page}")


@main.command()
@click.option("--modality", help="Only those that run on this modality.")
def recipes(modality: str | None) -> None:
    """List all recipes: name, paper, modality, what is new, status."""
    from twofold.apps.catalogue import as_text

    click.echo(as_text(modality))


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write RUN's report.html anew."""
    from twofold.apps import runs

    click.echo(f"Report: {runs.report(run)}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("source", nargs=-1, type=click.Path())
@click.option("--device", default="cpu", show_default=True, help="Where to compute, such as cpu or cuda.")
def replay(file: Path, source: tuple[str, ...], device: str) -> None:
    """Compute a step again that came out NaN or infinite: what it was, and where it began.

    FILE is what the run left in its folder nonfinite/; SOURCE is its data, if that lies elsewhere now.
    """
    from twofold.apps import runs

    click.echo(runs.replay(file, list(source), device=device))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
def demo(out: Path) -> None:
    """Train on the built-in pictures, evaluate on held-out ones, write a report."""
    from twofold.apps import demo as app

    app.run(out, command=_command())


def _apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Sources and further options out of the words of a command line."""
    from twofold.apps.options import words_and_options

    sources, options = words_and_options(words)
    if not sources:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    return sources, options


def _say(text: str) -> None:
    """Print, once for all processes that work together."""
    if _speaks():
        click.echo(text)


def _speaks() -> bool:
    return os.environ.get("RANK", "0") == "0"  # as twofold.training.distributed.speaks, without torch


def _command() -> str:
    return shlex.join(["twofold", *sys.argv[1:]])


if __name__ == "__main__":
    main()
