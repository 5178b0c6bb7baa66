"""Operations on plain arrays: contractions, chunks, special functions. Imports `base`."""
