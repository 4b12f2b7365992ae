"""What attention modules are made of: their base class, the registry, and operators with a fast backward.

A module's own file shows what its paper says; the operators' plain twins are in the tests.
"""
