"""What stands where in a street scene, decided before anything is painted."""
