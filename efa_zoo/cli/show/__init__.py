"""Commands that show models: the zoo, cards, learning curves and errors."""
