"""The command line from end to end, on real picture files."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from twofold.cli import main
from twofold.training.trainer import InterruptedRunError

QUICK = ["--encoder", "convnet-w16", "--epochs", "2", "--batch-size", "16", "--precision", "float32"]


def twofold_command(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def good(*arguments):
    done = twofold_command(*arguments)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def bad(*arguments):
    """The one message of a refused command."""
    done = twofold_command(*arguments)
    assert done.exit_code == 1, f"{done.exit_code}: {done.output}\n{done.exception!r}"
    assert "Traceback" not in done.output
    assert sum(line.startswith("Error: ") for line in done.output.splitlines()) == 1
    return done.output


def write_pictures(folder, count, *, classes=("cross", "ring", "stripe")):
    """Coloured drawings of three shapes, 24 x 24, noisy."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    shapes = {
        "cross": (abs(x) < 0.25) | (abs(y) < 0.25),
        "ring": abs(np.hypot(x, y) - 0.6) < 0.2,
        "stripe": np.sin(9 * x) > 0,
    }
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = shapes[name][..., None] * draw.uniform(80, 200, 3) + draw.uniform(0, 50, (24, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "labelled data"
    write_pictures(folder, 16)
    (folder / "ring" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "a"
    return run, good("train", "simclr", photos, "--out", run, *QUICK)


def test_training_says_what_it_read_does_measure_and_report(trained, photos):
    run, said = trained
    assert "3 classes (cross, ring, stripe)" in said
    assert "Run:  simclr, 2 epochs" in said
    assert "Trained 6 steps" in said
    assert "SimCLR, trained" in said
    assert "same encoder, untrained" in said
    files = {"config.json", "model.safetensors", "metrics.jsonl", "evaluation.json", "report.html"}
    assert files <= {p.name for p in run.iterdir()}
    config = json.loads((run / "config.json").read_text())
    assert config["source"] == [str(photos)]
    page = (run / "report.html").read_text()
    assert "broken.png" in page
    assert "data:image/webp" in page


def test_the_same_command_again_has_nothing_to_do(trained, photos):
    run, said = trained
    before = (run / "model.safetensors").stat().st_mtime_ns
    again = good("train", "simclr", photos, "--out", run, *QUICK)
    assert "Nothing to do: all 6 steps are done." in again
    assert (run / "model.safetensors").stat().st_mtime_ns == before
    final = next(line for line in said.splitlines() if line.startswith("Trained"))
    assert final.rpartition(";")[2] in again, "the same final loss"
    assert "nan" not in final


def test_options_may_come_first(photos, tmp_path):
    good("train", "--out", tmp_path / "run", "--quiet", *QUICK, "simclr", photos)
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_configuration_file(photos, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('encoder = "convnet-w16"\n[training]\nepochs = 9\nbatch-size = 16\n')
    good("train", "dcl", photos, "--out", tmp_path / "run", "--config", config, "--epochs", "1")
    training = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    assert (training["epochs"], training["batch_size"]) == (1, 16)


def test_evaluating_again_with_another_split(trained, photos):
    run, _ = trained
    said = good("evaluate", run, photos, "--test-fraction", "0.5", "--seed", "3")
    assert "50% / 50%, stratified by class, seed 3" in said
    assert "Report: " in said
    apart = good("evaluate", run, photos, "--test", photos)
    assert "bank and test given apart" in apart


def test_embedding_to_files(trained, photos, tmp_path):
    run, _ = trained
    for ending in ("parquet", "npy", "csv"):
        said = good("embed", run, photos, "--out", tmp_path / f"v.{ending}", "--batch-size", "10")
        assert "48 embeddings of 64 numbers" in said
        assert "1 skipped" in said
    table = pq.read_table(tmp_path / "v.parquet")
    assert set(table["label"].to_pylist()) == {"cross", "ring", "stripe"}
    assert np.load(tmp_path / "v.npy").shape[0] == 48
    assert len((tmp_path / "v.csv").read_text().splitlines()) == 49


def test_reports_can_be_written_anew(trained):
    run, _ = trained
    (run / "report.html").unlink()
    assert f"Report: {run / 'report.html'}" in good("report", run)
    assert (run / "report.html").is_file()


def test_pictures_without_labels(tmp_path):
    write_pictures(tmp_path / "all", 20, classes=("ring",))
    flat = tmp_path / "all" / "ring"
    said = good("train", "simclr", flat, "--out", tmp_path / "run", *QUICK)
    assert "No labels." in said
    assert "Measuring" not in said
    assert not (tmp_path / "run" / "evaluation.json").exists()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "data:image/webp" in page
    assert "20-NN accuracy" not in page
    assert "learns from labels" in bad("train", "supcon", flat, "--out", tmp_path / "sup", *QUICK)


def test_comparing(photos, tmp_path):
    out = tmp_path / "compare"
    options = ["--data", photos, "--seeds", "2", "--out", out, "--encoder", "convnet-w16"]
    said = good("compare", "simclr", "dcl", *options, "--epochs", "1", "--batch-size", "16", "--dcl.temperature", "0.2")
    assert "paired difference from simclr" in said
    assert (out / "comparison.html").is_file()
    assert json.loads((out / "dcl" / "seed-1" / "config.json").read_text())["options"]["temperature"] == 0.2


def test_listing_recipes_and_their_options():
    assert "moco-v2" in good("recipes")
    assert "There is no modality 'imgae'" in bad("recipes", "--modality", "imgae")
    shown = " ".join(good("train", "isogclr", "--help").split())
    assert "--temperature-lr FLOAT" in shown
    assert "0.03 there (recipe; default 0.03)" in shown
    assert "--batch-size INT" in shown
    assert "--label-column STR" in shown
    plain = good("train", "--help")
    assert "--batch-size" not in plain
    assert "--out" in plain


def test_what_is_refused(trained, photos, tmp_path):
    run, _ = trained
    out = tmp_path / "out"
    said = bad("train", "simclr", photos, "--out", out, "--temperature", "-1", "--epochs", "many", "--size", "0.5")
    assert "3 problems" in said
    assert "temperature must be above 0, got -1.0" in said
    assert "epochs must be none or int, got 'many'" in said
    assert "does not exist" in bad("train", "simclr", tmp_path / "nowhere", "--out", out)
    assert "did you mean 'simclr'" in bad("train", "simclrr", photos, "--out", out)
    assert "Name the data" in bad("train", "simclr", "--out", out)
    assert "temperature is 0.1, not 0.3" in bad("train", "simclr", photos, "--out", run, *QUICK, "--temperature", "0.3")
    assert "no config.json" in bad("embed", photos, photos, "--out", tmp_path / "v.npy")
    assert "must be one of .parquet" in bad("embed", run, photos, "--out", tmp_path / "v.txt")
    assert not out.exists()


def test_foreign_folders_are_not_written_to(photos, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    assert "holds other files and no run" in bad("train", "simclr", photos, "--out", tmp_path, *QUICK)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_option_that_does_not_exist(photos):
    assert "There is no option --temprature; did you mean '--temperature'" in bad(
        "train", "simclr", photos, "--temprature", "1"
    )


def test_unknown_options_of_evaluate_and_embed(trained, photos, tmp_path):
    run, _ = trained
    assert "no option --test-frction; did you mean '--test-fraction'" in bad(
        "evaluate", run, photos, "--test-frction", "1"
    )
    said = bad("embed", run, photos, "--out", tmp_path / "v.npy", "--colum", "a", "--size", "big")
    assert "2 problems" in said
    assert "did you mean '--column'" in said
    assert "size must be int or none, got 'big'" in said


def test_what_click_refuses_itself(photos):
    assert twofold_command("evaluate", "run", "--seed", "1").exit_code == 2
    assert twofold_command("compare", "simclr", "--data", photos, "--seeds", "0").exit_code == 2
    assert twofold_command("embed", "run").exit_code == 2


def test_an_interrupted_run_has_its_own_exit_code(photos, monkeypatch, tmp_path):
    from twofold.apps import runs

    def interrupted(*arguments, **options):
        raise InterruptedRunError("Stopped after step 3 of 9; the same command resumes the run.")

    monkeypatch.setattr(runs, "train", interrupted)
    done = twofold_command("train", "simclr", photos, "--out", tmp_path / "run")
    assert done.exit_code == 130
    assert done.output.strip() == "Stopped after step 3 of 9; the same command resumes the run."
