"""Low-rank structure of weights (CONet, arXiv 2108.06822): spectra, EVBMF, rank metrics, slopes and the width rule."""
