"""entrack: measurements behind the executable book on entity tracking. Import from the submodules."""

__version__ = "0.1.0"
