"""The TFDS builders of data sets, a file each. Imports everything else of data_pipelines."""
