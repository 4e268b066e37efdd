"""What can be searched, independent of how: each space keeps the promises of `src.spaces.space.SearchSpace`."""
