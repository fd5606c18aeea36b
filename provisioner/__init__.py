"""Declarative, agentless bring-up and care of binary-deployed Kubernetes clusters over SSH."""

__version__ = "0.1.0"
