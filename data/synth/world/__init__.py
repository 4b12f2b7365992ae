"""What a street scene rests on: difficulty, camera, weather and light, the road's shape, colours in linear light."""
