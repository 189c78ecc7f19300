"""What happens: the single-writer loop, the execution of plans, the sampler, leases, the journal."""
