"""The heart: reductions over anchor-candidate pairs, pair rules, objectives, memory. It knows tensors, no modality."""
