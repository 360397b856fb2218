"""What pictures and clips share: decoding of picture files, crops, colours and filters of whole batches.

Parameters are drawn for a whole batch, then applied; so the same ones can be applied to every frame of a clip.
"""
