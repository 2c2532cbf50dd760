"""LoRAs and their kin, and textual inversions: put on a loaded model, and taken off without a trace."""
