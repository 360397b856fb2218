"""Networks on graphs, from PyTorch Geometric's layers."""
