"""entrack: how language models track entities, measured by patching (Prakash et al., ICLR 2024)."""

__version__ = "0.1.0"
