"""What stands between a model and a GPU on this machine: facts are gathered once, then judged by pure checks."""
