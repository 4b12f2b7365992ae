"""What attention costs: parameters, multiply-adds, latency and memory by module and place.

`python -m analysis.cost` measures, `cost_table` writes the page.
"""
