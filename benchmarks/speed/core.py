"""The contrastive losses alone, forward and backward, against the products they need and against other libraries.

    python benchmarks/speed/core.py [--part time|memory]

``time``: NT-Xent (n views in all), InfoNCE, CLIP and SupCon (n / 20 classes) on unit rows in float32. The bound is what
InfoNCE cannot do without: three products of matrices in tiles of 512 rows, into buffers that exist already. ``reduced``
is Twofold with products in bfloat16, where they were asked for (twofold.contrast.products). ``rule`` leaves out pairs
by an arbitrary yes-or-no rule, ``weights`` weighs them, ``temperatures`` has one for each sample: against the plain
form.

Peers do the same work through their public classes, with their defaults: lightly's NTXentLoss, open_clip's ClipLoss,
pytorch-metric-learning's NTXentLoss in SelfSupervisedLoss and its SupConLoss, and torch's cross entropy on the matrix
of all logits as everybody writes it. They get the rows normalized or not, as they ask for; ours normalizes in each
call.

``memory``: the most that a call held beyond what was there before, which had gradients of the same size (those of the
call before, freed first), with freed blocks returned to the system at once; and n = 131,072, ours alone, at a usual
temperature and at one so small that exponentials need the row's maximum. Sizes at which a peer would need more than
``--gib`` are left out and say so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from harness import Call, Row, Target, exponent, parser, peak_of, race, return_freed_memory, start, value, weigh, write
from torch import Tensor

from twofold.contrast import products
from twofold.contrast.layout import flatten_views
from twofold.contrast.objectives import info_nce, nt_xent, supervised, symmetric_info_nce
from twofold.contrast.pairs import both
from twofold.contrast.reductions import logsumexp

TAU = 0.1
PEERS = ("lightly", "open_clip_torch", "pytorch-metric-learning")
SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
BOUND = "three products"
KINDS = ("nt_xent", "info_nce", "clip", "supcon")
LIMITS = {"nt_xent": 1.1, "info_nce": 1.25, "clip": 1.8, "supcon": 1.4}
DENSE_COPIES = {"lightly": 4, "open_clip": 4, "cross entropy": 3, "pml": 4}
"""Matrices of n x n float32 that a peer holds at once, about, for the choice of what is tried."""
MOST_FOR_PML = 256
NOTE = (
    "The bound holds for InfoNCE, whose matrix is not symmetric: NT-Xent and SupCon can fall below it, since they "
    "compute each similarity once for both rows. Targets against peers are set at n = 8192; at other sizes the "
    "target is not to be slower than the best of them."
)
AGAIN = (
    "The sizes named after --again, at d = 128, were timed a second time; all other rows are those of a whole run "
    "before it, `python benchmarks/speed/core.py --part time`."
)
WIDE = (512, 2048, 8192, 32768)
"""Sizes with d = 512."""


def main() -> None:
    """Measure and write the results, each part into a file of its own."""
    arguments = _arguments()
    start(arguments)
    sizes = [n for n in SIZES if n <= arguments.largest] if not arguments.quick else [512, 2048]
    if arguments.part in ("all", "time"):
        measure_time(arguments, sizes)
    if arguments.part == "memory":
        arguments.out = arguments.out.with_name("core_memory.json")
        measure_memory(arguments, [n for n in sizes if n >= 2048])
    elif arguments.part == "all" and not arguments.quick:
        # In a process of its own: what libraries hold on to after the races would count as a loss's.
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", "memory"], check=True)


def measure_time(arguments: argparse.Namespace, sizes: Sequence[int]) -> None:
    """All losses at all sizes, and NT-Xent's variants; or some sizes anew, beside the other rows that are there."""
    if arguments.again:
        fresh = {str(row["case"]): row for n in arguments.again for row in times(n, 128, arguments)}
        rows = [fresh.get(str(row["case"]), row) for row in json.loads(arguments.out.read_text())["rows"]]
        write(arguments, title="Losses alone", numbers=[1, 3], rows=rows, peers=PEERS, notes=[NOTE, AGAIN])
        return
    rows = [row for n in sizes for row in times(n, 128, arguments)]
    if not arguments.quick:
        rows += [row for n in WIDE for row in times(n, 512, arguments)]
    rows.append(variants(2048 if arguments.quick else 8192, 128))
    write(arguments, title="Losses alone", numbers=[1, 3], rows=rows, peers=PEERS, notes=[NOTE])


def measure_memory(arguments: argparse.Namespace, sizes: Sequence[int]) -> None:
    """Peak memory of all losses, and NT-Xent of 131,072 rows."""
    return_freed_memory()
    rows: list[Row] = [row for n in sizes for row in memories(n, arguments)]
    slopes = {}
    for kind in KINDS:
        ours = [row for row in rows if row["case"]["loss"] == kind]
        costs = [row["arms"]["twofold"]["median"] for row in ours]
        slopes[f"memory of {kind} over n"] = exponent([row["case"]["n"] for row in ours], costs)
    print(slopes)
    if not arguments.quick:
        rows += [row for n in sizes if n in WIDE[2:] for row in memories(n, arguments, d=512)]
        rows += [large(tau) for tau in (0.1, 0.01)]
    rows += [row for kind in KINDS for row in errors(kind)]
    notes = [
        "Gradients of the rows are not counted: all give them back. Freed blocks go back to the system at once, which "
        "glibc by itself stops doing after large ones. Up to n = 4096 tiles are kept, up to 60 MB. Beyond that NT-Xent "
        "and CLIP hold a block of rows and a tile, whatever n is; SupCon a gradient more, for its positives; InfoNCE a "
        "tile of all candidates and, if that is no more than half of it, a copy of them.",
        "Errors are those of products in bfloat16 against float32 ones, at temperature 0.1: of the loss, and of the "
        "gradient as a share of its length.",
    ]
    write(
        arguments,
        title="Memory and precision of losses",
        numbers=[1, 2],
        rows=rows,
        peers=PEERS,
        exponents=slopes,
        notes=notes,
    )


def times(n: int, d: int, arguments: argparse.Namespace) -> list[Row]:
    """All losses at one size."""
    gib, rounds = arguments.gib, 2 if n * d > 2**22 else 3 if arguments.quick or n >= 8192 else 5
    found = []
    for kind in KINDS:
        peers, absent = _fitting(_peers(kind, n, d), n, gib)
        arms = {"twofold": _ours(kind, n, d), BOUND: _bound(n, d), "reduced": _reduced(_ours(kind, n, d)), **peers}
        targets = [Target(BOUND, at_most=LIMITS[kind])] if n >= 2048 else []
        if n == 8192:
            goals = {"lightly": 8.0, "open_clip": 4.0, "cross entropy": 2.5}
            targets += [Target(name, at_least=goals[name]) for name in peers if name in goals]
        else:
            targets += [Target(name, at_least=1.0) for name in peers]
        row = race({"loss": kind, "n": n, "d": d}, arms, rounds=rounds, absent=absent, targets=targets)
        if n >= 2048 and kind != "supcon":
            ratio = row["arms"]["reduced"]["median"] / row["arms"][BOUND]["median"]
            row["targets"].append({"against": f"reduced / {BOUND}", "at_most": 0.6, "got": ratio, "met": ratio <= 0.6})
        found.append(row)
    return found


def variants(n: int, d: int) -> Row:
    """Pair rules and temperatures against the plain form."""
    z = _views(n, d)
    flat = flatten_views(z)
    marks = torch.arange(n) % 7
    per_sample = torch.linspace(0.08, 0.15, n // 2)

    def ruled(weights: bool) -> Call:
        def rule(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
            kept = marks[rows, None] != (marks[None, columns] + 1) % 7
            return torch.where(kept, 1.0, 0.5) if weights else kept

        def call() -> Tensor:
            rows = F.normalize(flat.anchors, dim=1)
            chosen = both(flat.not_self(), rule)
            return logsumexp(rows, rows, scale=1 / TAU, rule=chosen, reduction="mean")

        return _step(call, z)

    arms = {
        "twofold": _step(lambda: nt_xent(z, temperature=TAU), z),
        "temperatures": _step(lambda: nt_xent(z, temperature=per_sample), z),
        "rule": ruled(weights=False),
        "weights": ruled(weights=True),
    }
    row = race({"loss": "nt_xent, varied", "n": n, "d": d}, arms, rounds=5)
    for name in ("temperatures", "rule", "weights"):
        got = row["ratios"][name]["median"]
        row["targets"].append({"against": f"{name} / plain", "at_most": 1.6, "got": got, "met": got <= 1.6})
    return row


def memories(n: int, arguments: argparse.Namespace, d: int = 128) -> list[Row]:
    """Peak memory of all losses at one size."""
    found = []
    for kind in KINDS:
        peers, absent = _fitting(_peers(kind, n, d), n, arguments.gib)
        arms = {"twofold": _ours(kind, n, d), **peers}
        targets = [Target(at_most=64.0 if n <= 8192 else 160.0)]
        targets += [Target(name, at_least=30.0) for name in peers if n == 8192]
        case = {"loss": kind, "n": n, "d": d}
        found.append(weigh(case, arms, absent=absent, targets=targets))
    return found


def errors(kind: str, n: int = 4096, d: int = 128) -> list[Row]:
    """By how much reduced products change the loss and its gradient."""
    loss, leaves = _loss(kind, n, d)
    found = []
    for context in (nullcontext, products.reduced):
        with context():
            result = loss()
            gradients = torch.autograd.grad(result, leaves)
        found.append((result.item(), torch.cat([gradient.flatten() for gradient in gradients])))
    (exact, direction), (rough, near) = found
    of_gradient = float((near - direction).norm() / direction.norm())
    case = {"loss": kind, "n": n, "d": d, "error of": "bfloat16 products"}
    return [
        value(case | {"in": "the loss"}, "absolute", {"twofold": abs(rough - exact)}),
        value(case | {"in": "the gradient"}, "of its length", {"twofold": of_gradient}),
    ]


def large(tau: float) -> Row:
    """Time and memory of NT-Xent at n = 131,072."""
    n, d = 131072, 128
    z = _views(n, d)
    peak = peak_of(_step(lambda: nt_xent(z, temperature=tau), z))
    assert z.grad is not None
    case = {"loss": "nt_xent", "n": n, "d": d, "temperature": tau, "finite": bool(z.grad.isfinite().all())}
    return value(case, "MB", {"twofold": peak}, targets=[Target(at_most=1024.0)])


def _views(n: int, d: int) -> Tensor:
    return F.normalize(torch.randn(2, n // 2, d, generator=torch.Generator().manual_seed(0)), dim=2).requires_grad_()


def _pair(n: int, d: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [F.normalize(torch.randn(n, d, generator=draw), dim=1).requires_grad_() for _ in range(2)]


def _labels(n: int) -> Tensor:
    return torch.randint(max(2, n // 20), (n,), generator=torch.Generator().manual_seed(2))


def _step(loss: Callable[[], Tensor], *leaves: Tensor) -> Call:
    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        loss().backward()

    return call


def _ours(kind: str, n: int, d: int) -> Call:
    loss, leaves = _loss(kind, n, d)
    return _step(loss, *leaves)


def _loss(kind: str, n: int, d: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
    if kind == "nt_xent":
        z = _views(n, d)
        return lambda: nt_xent(z, temperature=TAU), [z]
    if kind == "supcon":
        z, labels = _views(n, d), _labels(n // 2)
        return lambda: supervised(z, labels, temperature=TAU), [z]
    first, second = _pair(n, d)
    objective = info_nce if kind == "info_nce" else symmetric_info_nce
    return lambda: objective(first, second, temperature=TAU), [first, second]


def _reduced(call: Call) -> Call:
    def in_bfloat16() -> None:
        with products.reduced():
            call()

    return in_bfloat16


def _bound(n: int, d: int) -> Call:
    first, second = (rows.detach() for rows in _pair(n, d))
    tile = min(512, n)
    scores, left, right = torch.empty(tile, n), torch.empty_like(first), torch.zeros_like(second)

    def call() -> None:
        for begin in range(0, n, tile):
            rows = slice(begin, begin + tile)
            torch.mm(first[rows], second.T, out=scores)
            torch.mm(scores, second, out=left[rows])
            right.addmm_(scores.T, first[rows])

    return call


def _peers(kind: str, n: int, d: int) -> dict[str, Callable[[], Call]]:
    """Name → maker of the call, so that only what fits is imported and built."""
    return {
        "nt_xent": {"lightly": lambda: _lightly(n, d), "cross entropy": lambda: _plain_nt_xent(n, d)}
        | {"pml": lambda: _pml_nt_xent(n, d)},
        "info_nce": {"cross entropy": lambda: _plain_info_nce(n, d)},
        "clip": {"open_clip": lambda: _open_clip(n, d)},
        "supcon": {"pml": lambda: _pml_supcon(n, d)},
    }[kind]


def _fitting(peers: dict[str, Callable[[], Call]], n: int, gib: float) -> tuple[dict[str, Call], dict[str, str]]:
    calls, absent = {}, {}
    for name, make in peers.items():
        needed = DENSE_COPIES[name] * 4 * n**2 / 2**30
        if name == "pml" and n > MOST_FOR_PML:
            absent[name] = f"its lists of pairs grow with the cube of n: seconds and gigabytes beyond {MOST_FOR_PML}"
        elif needed > gib:
            absent[name] = f"would need about {needed:.0f} GiB"
        else:
            try:
                calls[name] = make()
            except ImportError as error:
                absent[name] = f"not installed: {error}"
    return calls, absent


def _lightly(n: int, d: int) -> Call:
    from lightly.loss import NTXentLoss

    z, loss = _views(n, d), NTXentLoss(temperature=TAU)
    return _step(lambda: loss(z[0], z[1]), z)


def _plain_nt_xent(n: int, d: int) -> Call:
    z = _views(n, d)
    target = torch.arange(n).roll(n // 2)

    def loss() -> Tensor:
        rows = F.normalize(z.flatten(0, 1), dim=1)
        logits = (rows @ rows.T / TAU).fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits, target)

    return _step(loss, z)


def _plain_info_nce(n: int, d: int) -> Call:
    first, second = _pair(n, d)
    target = torch.arange(n)

    def loss() -> Tensor:
        return F.cross_entropy(F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / TAU, target)

    return _step(loss, first, second)


def _open_clip(n: int, d: int) -> Call:
    from open_clip.loss import ClipLoss

    first, second = _pair(n, d)
    loss, scale = ClipLoss(), torch.tensor(1 / TAU)
    return _step(lambda: loss(F.normalize(first, dim=1), F.normalize(second, dim=1), scale), first, second)


def _pml_nt_xent(n: int, d: int) -> Call:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    z, loss = _views(n, d), SelfSupervisedLoss(NTXentLoss(temperature=TAU))
    return _step(lambda: loss(z[0], z[1]), z)


def _pml_supcon(n: int, d: int) -> Call:
    from pytorch_metric_learning.losses import SupConLoss

    z, loss, labels = _views(n, d), SupConLoss(temperature=TAU), _labels(n // 2).repeat(2)
    return _step(lambda: loss(z.flatten(0, 1), labels), z)


def _arguments() -> argparse.Namespace:
    made = parser(__doc__, "core")
    made.add_argument("--part", choices=["all", "time", "memory"], default="all")
    made.add_argument("--again", type=int, nargs="+", help="with --part time: only time these n, d = 128, anew")
    made.add_argument("--largest", type=int, default=SIZES[-1], help="largest n")
    made.add_argument("--gib", type=float, default=9.0, help="most memory that a peer may take")
    given = made.parse_args()
    if given.again and not given.out.is_file():
        made.error(f"--again keeps the other rows of {given.out}, which is not there; leave it out for a whole run")
    return given


if __name__ == "__main__":
    main()
