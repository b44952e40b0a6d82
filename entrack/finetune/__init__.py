"""How the fine-tuned versions in `models/` were made: data, recipes, trainer."""
