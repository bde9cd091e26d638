"""What a valid Event is: `rules` holds one tuple of rules, `verdict` judges candidates by it, `gate` the batch."""
