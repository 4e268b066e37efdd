"""What a network is made of, from torch.fx: channel groups, votes, costs, resizing."""
