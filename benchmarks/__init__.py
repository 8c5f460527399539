"""What the program costs, measured on real llama-servers: `python -m benchmarks`."""
