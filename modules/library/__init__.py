"""What is on disk: model files, input pictures, finished pictures, and the index that finds them again."""
