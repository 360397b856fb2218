"""Training: the trainer, and under it the order of samples, schedules, optimisers, checkpoints and logs."""
