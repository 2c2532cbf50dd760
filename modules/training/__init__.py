"""Where models are made: the starter model's world, captions, networks and recipe, and small checkpoints for tests."""
