"""The things a street scene is painted from, each a function on a canvas."""
