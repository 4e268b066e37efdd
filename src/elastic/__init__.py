"""Elastic widths: one set of weights that serves every choice of channels of a traced network."""
