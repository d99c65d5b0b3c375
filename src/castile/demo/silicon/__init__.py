"""Silicon energies, forces and stresses from density-functional theory, and the scripts that made them."""
