"""The gallery: what models are compared by, what they are to reach, their numbers, the page."""
