"""deepbrain's small network for the brain on MR, run with numpy: graph (its file), network (its layers), brain (a volume), served (the engine)."""
