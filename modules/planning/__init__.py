"""A request becomes a plan, or a list of what is wrong with it: pure and without torch."""
