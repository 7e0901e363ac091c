"""The page at `/`: files as they are, with no build step and no requests to anywhere else."""
