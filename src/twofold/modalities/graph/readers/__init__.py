"""From files, tables and PyTorch Geometric's objects to graphs."""
