"""Detection heads on a voxel network's features, and how their boxes are coded and assigned."""
