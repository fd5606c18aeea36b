"""Images into a registry, over the distribution API, without a container engine."""
