"""What every script needs of the machine: device, processes, memory, locks, the console.

The lowest room of the engine; it imports no other.
"""
