"""How long a person waits before anything happens: imports and the quick commands, each in a fresh process.

What is timed is a whole process, from its start to its end, with the files in the system's cache: Python itself (some
0.05 s) is part of every figure, and also timed alone. Peers are imported as their documentation's first lines do. That
is not the same work: they import torch there and then, ours only with the first name that needs it; ``twofold.SimCLR``
(torch and all that a recipe needs) is therefore timed as well, without a target. ``twofold.load`` gets a small text
encoder, in a process that has imported torch and the recipe already and subtracts that.

    python benchmarks/speed/imports.py
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from harness import Call, Row, Target, parser, race, start, value, write

import twofold

PEERS = {"lightly": "import lightly.loss", "sentence-transformers": "import sentence_transformers"}
LOADING = """
    import time
    import torch, twofold, twofold.recipes.saving, twofold.recipes.text.simcse
    began = time.perf_counter()
    twofold.load({run!r})
    print(time.perf_counter() - began)
"""


def main() -> None:
    arguments = parser(__doc__, "imports").parse_args()
    start(arguments)
    rounds = 2 if arguments.quick else 5
    peers = installed()[:1] if arguments.quick else installed()
    rows = [imports(peers, rounds=2 if arguments.quick else 3)]
    rows += [] if arguments.quick else [heavy(rounds=2)]
    rows += [
        command(["--help"], 0.5, rounds=rounds),
        command(["recipes"], 1.0, rounds=rounds),
        command(["train", "--help"], 0.5, rounds=rounds),
        command(["evaluate", "--help"], 0.5, rounds=rounds),
        loading(rounds=1 if arguments.quick else 3),
    ]
    write(arguments, title="Imports and quick commands", numbers=[13], rows=rows, peers=peers)


def imports(peers: list[str], *, rounds: int) -> Row:
    """``import twofold`` beside its peers and bare Python."""
    arms = {"twofold": python("-c", "import twofold")}
    arms |= {name: python("-c", PEERS[name]) for name in peers}
    absent = {name: "not installed" for name in PEERS if name not in installed()}
    arms["python"] = python("-c", "pass")
    return race({"what": "import"}, arms, rounds=rounds, absent=absent, targets=[Target(at_most=0.15)])


def heavy(*, rounds: int) -> Row:
    """The first recipe, which needs torch."""
    arms = {"twofold": python("-c", "import twofold; twofold.SimCLR"), "torch": python("-c", "import torch")}
    return race({"what": "import with torch and a recipe"}, arms, rounds=rounds)


def command(words: list[str], at_most: float, *, rounds: int) -> Row:
    """``twofold WORDS``."""
    case = {"what": f"twofold {' '.join(words)}"}
    call = python("-m", "twofold", *words)
    return race(case, {"twofold": call}, rounds=rounds, targets=[Target(at_most=at_most)])


def loading(*, rounds: int) -> Row:
    """``twofold.load`` of a small text encoder, without what was imported before; the median."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "sentences.txt"
        text.write_text("\n".join(f"sentence {number} of so many" for number in range(100)))
        recipe = twofold.SimCSE(encoder="transformer-w64-d2")
        reading = recipe.modality.reading_with(recipe.chosen_encoder)
        recipe.build(recipe.modality.read(str(text), **reading).spec).save(folder / "run")
        program = textwrap.dedent(LOADING).format(run=str(folder / "run"))
        seconds = sorted(float(output("-c", program)) for _ in range(rounds))
    return value({"what": "twofold.load, small text encoder"}, "s", {"twofold": seconds[rounds // 2]})


def python(*words: str) -> Call:
    """A call that runs Python with these words."""

    def call() -> None:
        output(*words)

    return call


def output(*words: str) -> str:
    """What Python prints, given these words."""
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


def installed() -> list[str]:
    """Those of the peers that are there."""
    return [name for name in PEERS if importlib.util.find_spec(name.replace("-", "_"))]


if __name__ == "__main__":
    main()
