"""Drawing: a result goes in, a figure with its alternative text comes out. Nothing is computed here."""
