"""Exact gradients of a large batch in the memory of a small one (Gao et al., RepL4NLP 2021, section 3).

A contrastive loss couples all samples, so gradients of micro-batches cannot simply be added. But the coupling is only
between representations, which are small: represent all micro-batches without a graph, take the gradient of the loss
with respect to the representations, then represent each micro-batch again, with a graph, and continue backwards from
its share of that gradient. Costs one more forward pass.

Batch normalisation sees one micro-batch at a time, so with it the result is the gradient of a batch normalised in
pieces, as on several devices without synchronised statistics. Running statistics are updated once a micro-batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from twofold.errors import RunError
from twofold.training.randomness import forked_rng

Named = dict[str, Tensor]

_Chunk = TypeVar("_Chunk")


def backward(
    module: nn.Module,
    represent: Callable[[_Chunk], Named],
    chunks: Sequence[_Chunk],
    objective: Callable[[Named], Named],
    *,
    seed: Callable[[int], None],
    dim: int = 1,
) -> tuple[Named, Named]:
    """Add to ``.grad`` the gradient of ``objective(represent(all chunks together))["total"]``.

    Args:
        module: What is trained; here only to find batch normalisation, whose running statistics must not be updated
            twice.
        represent: From a micro-batch to its representations by name, each ``(views, n, ...)``. Called twice a chunk,
            so it must do the same both times: random numbers come from torch's global state, and buffers other than
            running statistics are left alone. Outputs that require no gradient (a teacher's) are passed on as they are.
        chunks: Micro-batches, of any sizes. With only one, this is an ordinary forward and backward pass.
        objective: From the same names with the rows of all chunks to named scalars, of which ``total`` is minimised.
            Its own parameters (a temperature) get their gradient, too. Sees the global random state as the caller
            left it.
        seed: Seeds torch's global state for the chunk of that number; the state is put back afterwards.
        dim: The dimension of the outputs that counts samples.

    Returns:
        The outputs with the rows of all chunks, and the losses; without graph.

    Raises:
        ValueError: If there is no chunk, no output requires a gradient, or an output has too few dimensions.
        RunError: If the second representation of a chunk differs from the first.
    """
    if not chunks:
        raise ValueError("There is no micro-batch to represent")
    if len(chunks) == 1:
        with forked_rng():
            seed(0)
            outputs = represent(chunks[0])
        losses = objective(outputs)
        losses["total"].backward()
        return _detached(outputs), _detached(losses)
    with _frozen_running_statistics(module):
        cached, trained = _represent_all(represent, chunks, seed, dim)
    leaves = {name: torch.cat(parts, dim).requires_grad_(name in trained) for name, parts in cached.items()}
    losses = objective(leaves)
    losses["total"].backward()
    shares = _shares(leaves, cached, dim)
    for number, chunk in enumerate(chunks):
        with forked_rng():
            seed(number)
            outputs = represent(chunk)
        _check_replay(outputs, {name: cached[name][number] for name in shares}, number)
        torch.autograd.backward([outputs[name] for name in shares], [share[number] for share in shares.values()])
    return _detached(leaves), _detached(losses)


def _represent_all(
    represent: Callable[[_Chunk], Named], chunks: Sequence[_Chunk], seed: Callable[[int], None], dim: int
) -> tuple[dict[str, list[Tensor]], set[str]]:
    """The outputs of every chunk by name, without graph, and the names of those that need a gradient."""
    cached: dict[str, list[Tensor]] = {}
    trained: set[str] = set()
    for number, chunk in enumerate(chunks):
        # The first chunk builds a graph, which is dropped at once: only so is it known which outputs need a gradient.
        with forked_rng(), torch.set_grad_enabled(number == 0):
            seed(number)
            outputs = represent(chunk)
        for name, output in outputs.items():
            if output.ndim <= dim:
                raise ValueError(f"Output '{name}' has shape {tuple(output.shape)}; dimension {dim} must count samples")
            if output.requires_grad:
                trained.add(name)
            cached.setdefault(name, []).append(output.detach())
        del outputs  # and with it the first chunk's graph
    if not trained:
        raise ValueError("No output requires a gradient: nothing is trained, or represent() runs under no_grad")
    return cached, trained


def _shares(leaves: Named, cached: dict[str, list[Tensor]], dim: int) -> dict[str, tuple[Tensor, ...]]:
    """The gradient of every output that got one, split into its chunks' rows."""
    grads = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return {name: grad.split([part.shape[dim] for part in cached[name]], dim) for name, grad in grads.items()}


def _check_replay(outputs: Named, cached: Named, number: int) -> None:
    """A second pass that differs would give wrong gradients, silently. NaN passes: it is the trainer's to report."""
    for name, before in cached.items():
        difference = torch.linalg.vector_norm((outputs[name].detach() - before).float())
        if difference > 0.05 * torch.linalg.vector_norm(before.float()):  # far above rounding, also of bfloat16
            raise RunError(
                f"Micro-batch {number} was represented differently the second time ('{name}'), so its gradient would "
                "be wrong. Draw random numbers from torch's global state or before, and change no buffers meanwhile."
            )


@contextlib.contextmanager
def _frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation in training mode still uses the batch's statistics, but does not record them."""
    norms = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.training and part.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _detached(tensors: Named) -> Named:
    return {name: tensor.detach() for name, tensor in tensors.items()}
