"""The demo: tiny models with random weights, a llama-server if there is none, and a controller over `manifests/`."""
