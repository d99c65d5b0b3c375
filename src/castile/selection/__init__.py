"""Choice of sparse points: farthest point, CUR, k-means, random."""
