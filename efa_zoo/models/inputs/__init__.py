"""What comes in: structures in any form, checked against a card, and dealt to batches."""
