"""Variational dropout (Molchanov et al. 2017, VINNAS): Gaussian weights and gates, their KL terms, what they leave."""
