"""The room of training: the fast layer, the loop, weights and logs."""
